"""Workers that are not like their client say so, and workers that do not get ready are not waited for."""

import subprocess
import sys
import time

import achar
import pytest


def test_another_interpreter_that_is_alike(tmp_path):
    with achar.Executor(1, python=sys.executable) as ex:
        assert ex.submit(lambda: sys.executable).result() == sys.executable
    with achar.Executor(1, python=["nice", "-n", "1", sys.executable]) as ex:
        assert ex.submit(sum, [1, 2]).result() == 3


def wrapper(tmp_path, statements):
    """An interpreter that runs these first."""
    script = tmp_path / "python"
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(statements)
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_another_version_of_python(tmp_path):
    python = wrapper(tmp_path, "import sys\nsys.version_info = (3, 99, 0, 'final', 0)\n")
    with achar.Executor(1, python=python) as ex:
        error = ex.submit(len, "x").exception()
    assert isinstance(error, achar.EnvironmentDiffers)
    minor = sys.version_info[1]
    assert f"Python is cpython 3.{minor} in the client ({sys.executable}) and cpython 3.99 in the worker" in str(error)


def test_another_version_of_achar(tmp_path):
    python = wrapper(tmp_path, "import achar._achar\nachar._achar.version = '9.8'\n")
    with achar.Executor(1, python=python) as ex, pytest.raises(achar.EnvironmentDiffers, match="and 9.8 in the worker"):
        ex.submit(len, "x").result()


def test_another_version_of_a_package(tmp_path, monkeypatch):
    for folder, version in (("client", "1.0"), ("site", "2.0")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "some_package.py").write_text(f"__version__ = {version!r}\ndef f(): return 1\n")
    (tmp_path / "site").rename(tmp_path / "kept")
    python = wrapper(tmp_path, "")
    (tmp_path / "kept/some_package.py").rename(tmp_path / "site/some_package.py")
    monkeypatch.syspath_prepend(str(tmp_path / "client"))
    import some_package

    with achar.Executor(1, python=python) as ex:
        for _ in range(2):
            error = ex.submit(some_package.f).exception()
            assert "some_package is 1.0 in the client" in str(error) and "2.0 in the worker" in str(error)
        assert ex.submit(len, "ab").result() == 2
    sys.modules.pop("some_package")


def test_a_worker_of_another_protocol():
    program = (
        "import os; words = os.environ['ACHAR_WORKER'].partition(':'); os.environ['ACHAR_WORKER'] = '2:' + words[2]; "
        "from achar._worker import main; main()"
    )
    shell = ["sh", "-c", f'exec "{sys.executable}" -c "{program}"']
    with achar.Executor(1, python=shell) as ex, pytest.raises(achar.WorkersCannotStart, match="of different versions"):
        ex.submit(len, "x").result()


def test_an_initializer_that_never_returns():
    began = time.monotonic()
    with achar.Executor(1, initializer=time.sleep, initargs=(1000,), start_timeout=0.5) as ex:
        with pytest.raises(achar.WorkersCannotStart, match="not ready within start_timeout"):
            ex.submit(len, "x").result(250)
        assert time.monotonic() - began < 250  # and not 1000
    with pytest.raises(ValueError, match="start_timeout"):
        achar.Executor(start_timeout=0)


def test_a_worker_whose_memory_a_task_has_limited_is_replaced():
    def limits():
        import os
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (1 << 45, 1 << 45))
        hoard = []
        import mmap

        try:
            while True:
                hoard.append(mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000))
        except OSError:
            raise MemoryError(os.getpid()) from None

    def limit():
        import os
        import resource

        return resource.getrlimit(resource.RLIMIT_AS)[0], os.getpid()

    with achar.Executor(1) as ex:
        before, pid = ex.submit(limit).result()
        with pytest.raises(MemoryError, match=str(pid)):
            ex.submit(limits).result()
        after, other = ex.submit(limit).result()
        assert after == before and other != pid
        with pytest.raises(MemoryError):
            list(ex.map(lambda n: limits(), range(3)))
        assert ex.submit(limit).result()[0] == before


def test_what_is_compared_costs_no_import():
    """Neither logging nor packages are imported by a worker that does not need them."""
    with achar.Executor(1) as ex:
        heavy = ex.submit(lambda: sorted({"logging", "importlib.metadata", "traceback"} & sys.modules.keys())).result()
    assert heavy == []
    done = subprocess.run([sys.executable, "-c", "import achar"], timeout=200)
    assert done.returncode == 0

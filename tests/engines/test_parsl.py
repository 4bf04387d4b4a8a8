"""achar.engines.parsl with the real Parsl."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

pytest.importorskip("parsl")

import achar  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGE_ROOT = str(pathlib.Path(achar.__file__).parent.parent)


def run(*arguments, stdin=None, timeout=280):
    """Runs this interpreter in a session of its own, all of which ends with it."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": PACKAGE_ROOT, "PATH": path}, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(stdin, timeout=timeout)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert process.returncode == 0, output
    return output


@pytest.mark.timeout(600)
def test_an_exception_that_only_the_worker_has_ends_its_task_and_no_other():
    output = run(ROOT / "examples" / "parsl_exceptions.py", "achar", 90)
    assert "double(1): 2\n" in output and "double(2): 4\n" in output
    assert "simulate(7): achar.errors.RemoteError: simulator.Diverged: diverged at step 7, residual 1e+09" in output
    assert "why: it cannot be rebuilt in this process: ModuleNotFoundError: No module named 'simulator'" in output
    assert "do:  make the module 'simulator' importable" in output
    assert "raise Diverged(step, residual=1e9)" in output and "has ended" not in output


@pytest.mark.timeout(600)
def test_with_parsls_own_serializer_it_hangs_and_so_do_later_tasks():
    output = run(ROOT / "examples" / "parsl_exceptions.py", "parsl", 8)
    assert "double(1): 2\n" in output
    assert "HTEX-Result-Queue-Thread has ended: ModuleNotFoundError: No module named 'simulator'" in output
    assert "simulate(7): no answer within" in output and "double(2): no answer within" in output


def both_sides(client, worker, after):
    """Runs three scripts, one after another: what the first writes to `out` the second reads from `data`, and so on."""
    begin = "import sys, pickle\nfrom parsl.serialize import facade\nout = None\n"
    begin += "line = sys.stdin.readline()\ndata = bytes.fromhex(line.strip())\n"
    end = "\nif out is not None: print('OUT', out.hex())\n"
    data, said = b"", []
    for text in (client, worker, after):
        output = run("-c", begin + text + end, stdin=data.hex() + "\n", timeout=200)
        said.append(output.partition("OUT")[0])
        data = bytes.fromhex(output.partition("OUT ")[2])
    return said


REGISTER = "import achar.engines.parsl; achar.engines.parsl.register()\n"


def test_a_worker_finds_it_and_answers_with_it():
    client = REGISTER + "n = 5\nout = facade.pack_apply_message(lambda x: x + n, (1,), {})"
    worker = "f, a, k = facade.unpack_apply_message(data)\nout = facade.serialize(f(*a, **k))\nprint(out[:31])"
    after = REGISTER + "print(facade.deserialize(data))"
    said = both_sides(client, worker, after)
    assert "achar.engines.parsl Serializer" in said[1] and said[2] == "6\n"


def test_a_result_that_the_client_cannot_read_is_an_exception():
    client = REGISTER + "out = facade.serialize((1,))"
    worker = (
        "facade.deserialize(data)\nimport types\nm = types.ModuleType('only_here'); sys.modules['only_here'] = m\n"
        "exec('class C: pass', m.__dict__)\nout = facade.serialize([m.C()])"
    )
    after = REGISTER + (
        "from parsl.app.errors import RemoteExceptionWrapper\nw = facade.deserialize(data)\n"
        "assert isinstance(w, RemoteExceptionWrapper)\ne = w.get_exception()\nprint(type(e).__name__, e)"
    )
    said = both_sides(client, worker, after)[2]
    assert said.startswith("Unreadable a task: its result cannot be read in this process\n")
    assert "ModuleNotFoundError: No module named 'only_here'" in said


def test_arguments_that_the_worker_cannot_read_are_raised_there():
    client = (
        "import types\nm = types.ModuleType('only_here'); sys.modules['only_here'] = m\n"
        "exec('class C: pass', m.__dict__)\n" + REGISTER + "out = facade.serialize((m.C(),))"
    )
    worker = "try: facade.deserialize(data)\nexcept ModuleNotFoundError as error: print(error)\nout = b'x'"
    assert both_sides(client, worker, "")[1] == "No module named 'only_here'\n"


def test_an_exception_that_cannot_be_pickled_says_so():
    client = REGISTER + "out = facade.serialize(())"
    worker = (
        "facade.deserialize(data)\nfrom parsl.app.errors import RemoteExceptionWrapper\nimport threading\n"
        "try: raise ValueError('has a lock', threading.Lock())\n"
        "except ValueError: out = facade.serialize(RemoteExceptionWrapper(*sys.exc_info()))"
    )
    after = REGISTER + "e = facade.deserialize(data).get_exception()\nprint(type(e).__name__, e, e.traceback)"
    said = both_sides(client, worker, after)[2]
    assert said.startswith("RemoteError ValueError: ('has a lock'")
    assert "why: it could not be pickled: PicklingError" in said and "in <module>" in said


def test_an_exception_arrives_as_itself_with_its_cause():
    client = REGISTER + "out = facade.serialize(())"
    worker = (
        "facade.deserialize(data)\nfrom parsl.app.errors import RemoteExceptionWrapper\n"
        "class Mine(Exception):\n  def __init__(self, a, *, b): super().__init__(a); self.b = b\n"
        "try:\n  try: 1/0\n  except ZeroDivisionError as zero: raise Mine(1, b=2) from zero\n"
        "except Mine: out = facade.serialize(RemoteExceptionWrapper(*sys.exc_info()))"
    )
    after = REGISTER + (
        "e = facade.deserialize(data).get_exception()\n"
        "print(type(e).__name__, e.args, e.b, repr(e.__cause__), e.__traceback__.tb_lineno > 0)"
    )
    assert both_sides(client, worker, after)[2] == "Mine (1,) 2 ZeroDivisionError('division by zero') True\n"


def test_what_others_wrote_is_still_read_and_twice_is_once():
    client = "out = facade.serialize({'a': 1})"
    worker = REGISTER + REGISTER + "print(facade.deserialize(data), len(facade.methods_for_data))\nout = b'x'"
    assert both_sides(client, worker, "")[1] == "{'a': 1} 1\n"


def test_what_achar_refuses_is_said_by_achar():
    text = REGISTER + "import threading\ntry: facade.serialize(([threading.Lock()],))\nexcept Exception as e: print(e)"
    said = both_sides(text, "", "")[0]
    assert "obj[0][0]: _thread.lock cannot be sent" in said and "why:" in said


def test_wrong_bytes_raise():
    text = REGISTER + (
        "s = achar.engines.parsl.Serializer()\n"
        "for bad in (b'', b'T', b'Tx', b'E', b'E' + bytes(20)):\n"
        "  try: s.deserialize(bad)\n  except Exception as e: print(type(e).__name__)"
    )
    assert len(both_sides(text, "", "")[0].split()) == 5

"""Executor.run(): programs, their output, and their end."""

import os
import subprocess
import time

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def sh(line):
    return ["/bin/sh", "-c", line]


def test_exit_code_output_and_error(ex, tmp_path):
    done = ex.run(sh("cat; echo no >&2; exit 3"), stdin="yes").result()
    assert (done.returncode, done.stdout, done.stderr) == (3, b"yes", b"no\n")
    assert isinstance(done, achar.Command) and done.args == sh("cat; echo no >&2; exit 3")
    with pytest.raises(subprocess.CalledProcessError):
        done.check_returncode()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        ex.run(sh("echo x; exit 1"), check=True).result()
    assert caught.value.stdout == b"x\n"
    done = ex.run(sh("pwd; echo $ACHAR_TEST; cat; kill -9 $$"), cwd=tmp_path, env={"ACHAR_TEST": "v"}).result()
    assert (done.returncode, done.stdout) == (-9, f"{tmp_path}\nv\n".encode())
    with pytest.raises(FileNotFoundError):
        ex.run(["/no/such/program"]).result()
    with pytest.raises(TypeError, match="list"):
        ex.run("echo")


def test_large_input_and_output(ex):
    data = os.urandom(20 << 20)
    done = ex.run(["cat"], stdin=data).result()
    assert done.stdout is None and done.stderr == b""
    with open(done.stdout_path, "rb") as file:
        assert file.read() == data
    os.unlink(done.stdout_path)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_all_that_it_started_is_killed(ex, tmp_path, how):
    path = tmp_path / "pids"
    line = f"trap '' TERM ALRM; sleep 1000 & echo $! >> {path}; echo $$ >> {path}; wait"
    for limit in (3, 12, 48) if how == "timeout" else (None,):  # on a busy machine it may pass before that is written
        path.write_text("")
        future = ex.run(sh(line), timeout=limit)
        while path.read_text().count("\n") < 2 and not future.done():
            time.sleep(0.01)
        if path.read_text().count("\n") == 2:
            break
    if how == "timeout":
        assert isinstance(future.exception(), TimeoutError)
    else:
        assert ex.cancel(future, force=True)
        assert ex.wait([future], timeout=120)[0] == [future] and future.cancelled()
    pids = [int(line) for line in path.read_text().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 120
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))
    assert ex.submit(pow, 2, 2).result() == 4
    assert ex.run(["true"]).result().returncode == 0


def test_many(ex):
    futures = [ex.run(["echo", str(n)]) for n in range(40)]
    assert [future.result().stdout for future in futures] == [f"{n}\n".encode() for n in range(40)]

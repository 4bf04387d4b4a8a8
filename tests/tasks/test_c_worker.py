"""Tasks that C programs do for Python: values, failures in words, and deaths that concern nobody else."""

import concurrent.futures
import os
import pickle
import random
import signal
import subprocess
import sys
import time

import achar
import pytest

pytestmark = pytest.mark.timeout(600)


def test_values(ex):
    assert ex.submit("add", 1, 2, 3).result() == 6
    assert ex.submit("add", 1, more=41).result() == 42
    assert ex.submit("nothing").result() is None
    for value in (
        None,
        True,
        2**70,
        -1,
        0.5,
        "é\0x",
        b"\xff",
        [1, [2]],
        {"a": (1, 2)},
        {1, 2},
        frozenset("ab"),
        range(3),
    ):
        assert ex.submit("echo", value).result() == value
    loop = []
    loop.append(loop)
    back = ex.submit("echo", loop).result()
    assert back[0] is back
    assert ex.submit("fill", 3_000_000).result() == b"a" * 3_000_000
    assert ex.submit("length", "x" * 2_000_000).result() == 2_000_000


def test_it_maps_no_libpython(ex):
    assert ex.submit("python_mappings").result() == 0


def test_map(ex):
    assert list(ex.map("add", range(1000), range(1000))) == [2 * n for n in range(1000)]
    for values in ([1, 2.5, "text", b"bytes", None, True, False, 2**65, ["x"], {}] * 20,):
        assert list(ex.map("echo", values)) == values
    results = ex.map("fail", [0, -3, 0])
    assert next(results) is None
    with pytest.raises(RuntimeError, match=r"the task 'fail' returned -3 \(invalid argument\)"):
        next(results)
    results = ex.map("exit", [7])
    with pytest.raises(achar.WorkerDied, match="code 7"):
        next(results)
    assert list(ex.map("add", range(50))) == list(range(50))


def test_futures_and_put(ex):
    a, b = ex.submit("add", 1, 2), ex.submit("fill", 100)
    assert ex.submit("add", a, a, more=a).result() == 9
    assert ex.submit("length", b).result() == 100
    assert ex.submit("total", [a, 10, a]).result() == 16
    assert ex.submit("length", ex.put("x" * 100_000)).result() == 100_000
    numpy = pytest.importorskip("numpy")
    assert ex.submit("length", ex.put(bytearray(200_000))).result() == 200_000
    assert ex.submit("length", pickle.PickleBuffer(bytearray(2_000_000))).result() == 2_000_000
    assert ex.submit("echo", bytearray(b"x" * 2_000_000)).result() == b"x" * 2_000_000
    assert ex.submit("length", ex.put(pickle.PickleBuffer(numpy.zeros(50_000, "u1")))).result() == 50_000
    with pytest.raises(achar.InputFailed, match="returned -3"):
        ex.submit("add", ex.submit("fail", -3)).result()


def test_exceptions(ex):
    with pytest.raises(KeyError, match="what é") as caught:
        ex.submit("raise", "KeyError", "what é").result()
    assert "task 'raise'" in str(caught.value.__cause__)
    with pytest.raises(subprocess.SubprocessError, match="far"):
        ex.submit("raise", "subprocess:SubprocessError", "far").result()
    with pytest.raises(achar.RemoteError, match=r"no\.such\.Error: text"):
        ex.submit("raise", "no.such:Error", "text").result()
    with pytest.raises(LookupError, match="no task 'nonsense'"):
        ex.submit("nonsense").result()
    with pytest.raises(ValueError, match="cannot be written"):
        ex.submit("broken_result").result()
    with pytest.raises(ValueError, match=r"caf\?"):
        ex.submit("raise_bytes").result()
    with pytest.raises(pickle.PicklingError):
        ex.submit("echo", sys._getframe()).result()
    assert ex.submit("add", 1).result() == 1


@pytest.mark.parametrize(
    "task, argument, text",
    [
        ("crash", 11, "SIGSEGV"),
        ("crash", 9, "SIGKILL"),
        ("abort", 0, "SIGABRT"),
        ("exit", 3, "code 3"),
        ("exit", 0, "code 0"),
    ],
)
@pytest.mark.parametrize("how", ["submit", "map", "put"])
def test_a_death_is_one_tasks(ex, how, task, argument, text):
    before = [ex.submit("add", n) for n in range(50)]
    if how == "submit":
        error = ex.submit(task, argument).exception()
    elif how == "put":
        error = ex.submit(task, ex.put(argument)).exception()
    else:
        with pytest.raises(achar.WorkerDied) as caught:
            list(ex.map(task, [argument] * 3))
        error = caught.value
    assert isinstance(error, achar.WorkerDied) and text in str(error)
    after = [ex.submit("add", n) for n in range(50)]
    assert [future.result() for future in before + after] == [*range(50)] * 2


def test_time_limits_and_cancelling(ex):
    limited = ex.options(timeout=0.2)
    for task in ("hang", "wait"):
        with pytest.raises(TimeoutError, match="time limit"):
            limited.submit(task).result()
    for task in ("hang", "wait"):
        future = ex.submit(task)
        while not future.running():
            time.sleep(0.01)
        assert ex.cancel(future, force=True)
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()
    with pytest.raises(achar.WorkerDied, match="tried 3 times"):
        ex.options(retries=2, backoff=0).submit("exit", 1).result()
    assert ex.submit("add", 5).result() == 5


def test_killed_from_outside(ex):
    pid = ex.submit("pid").result()
    waiting = [ex.submit("wait") for _ in range(2)]
    while not all(future.running() for future in waiting):
        time.sleep(0.01)
    for victim in ex._pool.pids():
        os.kill(victim, 9)
    for future in waiting:
        assert future.exception().signal == "SIGKILL"
    assert ex.submit("pid").result() != pid


def test_a_thousand_mixed_tasks(ex):
    chance = random.Random(6)
    wanted = []
    for n in range(1000):
        kind = chance.choice(
            ["add", "add", "echo", "fill", "raise", "fail", "exit", "crash", "nonsense"] + ["add"] * 30
        )
        if kind == "add":
            wanted.append((ex.submit("add", n, 1), n + 1))
        elif kind == "echo":
            wanted.append((ex.submit("echo", {"n": [n] * 20}), {"n": [n] * 20}))
        elif kind == "fill":
            wanted.append((ex.submit("fill", n * 50), b"a" * (n * 50)))
        else:
            arguments = {"raise": ("OSError", "x"), "fail": (5,), "exit": (4,), "crash": (11,), "nonsense": ()}[kind]
            error = {"raise": OSError, "fail": RuntimeError, "nonsense": LookupError}.get(kind, achar.WorkerDied)
            wanted.append((ex.submit(kind, *arguments), error))
    for future, outcome in wanted:
        if isinstance(outcome, type):
            assert type(future.exception()) is outcome
        else:
            assert future.result() == outcome
    assert len({type(outcome) for _, outcome in wanted}) == 4


def test_what_is_refused(ex, worker):
    with pytest.raises(TypeError, match="called by their names"):
        ex.submit(len, "x")
    with pytest.raises(TypeError, match="called by their names"):
        ex.map(len, ["x"])
    with pytest.raises(TypeError, match="called by their names"):
        ex.options(retries=1).submit(len, "x")
    for refused in (
        lambda: ex.run(["true"]),
        lambda: ex.actor(list),
        lambda: ex.options(cwd="/"),
        lambda: achar.Executor(program=[worker], initializer=print),
        lambda: achar.Executor(program=[worker], serializer=pickle),
        lambda: achar.Executor(program=[worker], kind="thread"),
    ):
        with pytest.raises(ValueError):
            refused()
    for wrong in (worker, [], b"x"):
        with pytest.raises(TypeError, match="command line"):
            achar.Executor(program=wrong)
    with pytest.raises(FileNotFoundError):
        achar.Executor(program=["no-such-program-anywhere"])
    assert ex.options(env={"X": "1"}).submit("add", 2).result() == 2  # workers of its own


def test_a_program_that_does_not_start(worker):
    with achar.Executor(1, program=[worker, "--refuse"]) as ex, pytest.raises(achar.WorkersCannotStart, match="code 3"):
        ex.submit("add").result()
    with achar.Executor(1, program=["/no/such"]) as ex, pytest.raises(achar.WorkersCannotStart, match="No such file"):
        ex.submit("add").result()
    done = subprocess.run([worker], timeout=100)  # by hand
    assert done.returncode == 2


@pytest.mark.parametrize("state", ["idle", "busy", "stopped"])
def test_the_client_is_killed(worker, tmp_path, state):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "import achar\n"
        "ex = achar.Executor(2, program=[sys.argv[1]])\n"
        "ex.submit('pid').result()\n"
        "waiting = [ex.submit('wait') for _ in range(2 if sys.argv[2] == 'busy' else 0)]\n"
        "while not all(future.running() for future in waiting): time.sleep(0.01)\n"
        "while len(ex._pool.pids()) < 2: time.sleep(0.01)\n"
        "pids = ex._pool.pids()\n"
        "for pid in pids if sys.argv[2] == 'stopped' else (): os.kill(pid, signal.SIGSTOP)\n"
        "print(*pids, flush=True)\n"
        "time.sleep(600)\n"
    )
    end_with_the_client([sys.executable, script, worker, state], 2)


def test_the_client_is_killed_while_a_worker_begins(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "import achar\n"
        "ex = achar.Executor(1, program=['sleep', '600'])\n"  # never asks for a task
        "future = ex.submit('pid')\n"
        "while not ex._pool.pids(): time.sleep(0.01)\n"
        "print(*ex._pool.pids(), flush=True)\n"
        "time.sleep(600)\n"
    )
    end_with_the_client([sys.executable, script], 1)


def end_with_the_client(command, worker_count):
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as client:
        workers = client.stdout.readline().split()
        client.kill()
    assert len(workers) == worker_count
    end = time.monotonic() + 150
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < end, [open(f"/proc/{pid}/status").read() for pid in workers if is_alive(pid)]
        time.sleep(0.01)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_stopped_worker_is_ended_by_the_time_limit(ex):
    pids = {ex.submit("pid").result()}  # were all stopped, nothing would start, and no limit begin
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    stopped = [ex.options(timeout=0.3).submit("add", n) for n in range(4)]
    assert ex.submit("add", 5).result(200) == 5
    for n, future in enumerate(stopped):
        assert isinstance(future.exception(200), TimeoutError) or future.result() == n
    for pid in pids & set(ex._pool.pids()):  # one that had no task stands still
        os.kill(pid, signal.SIGCONT)

"""Every fault × every way to run a task: submit, map, an actor, a task that reads what was put.

Each pair has a process of its own with a time limit. The fault's future ends, with the exception that
docs/guarantees.md names; its siblings' results are right; the next task succeeds; the executor ends, and
leaves no process behind. A fault is a function that is given None, or a file's path.
"""

import os

import pytest

PROGRAM = """
import os, signal, sys, threading, time
import achar

def killed(x): os.kill(os.getpid(), signal.SIGKILL)
def crashed(x): os.kill(os.getpid(), signal.SIGSEGV)
def exited(x): os._exit(7)
def thread_exited(x):
    threading.Thread(target=os._exit, args=(7,)).start()
    time.sleep(60)
def system_exit(x): sys.exit(3)
def keyboard(x): raise KeyboardInterrupt
def unpicklable(x): return threading.Lock()
def deep(x):
    value = []
    for _ in range(100_000): value = [value]
    return value
class Required(Exception):
    def __init__(self, a, b): super().__init__("text")
def required(x): raise Required(1, 2)
def load_fails_in(where):
    if (os.getpid() == client) == (where == "client"): raise ValueError("not here")
    return 1
class Unreadable:
    def __init__(self, where): self.where = where
    def __reduce__(self): return load_fails_in, (self.where,)
client = os.getpid()
def unreadable(x):
    class There:
        def __reduce__(self):
            def only_there(pid):
                import os
                if os.getpid() != pid: raise ValueError("not here")
            return only_there, (os.getpid(),)
    return There()
def closes_all(x):
    os.closerange(0, 200)
    return "fine"
def writes_to_all(x):
    for fd in range(3, 200):
        try: os.write(fd, b"garbage" * 100)
        except OSError: pass
    return "fine"
def forks(x):
    if os.fork() == 0:
        os._exit(0)
    return "fine"
def fork_returns(x):
    os.fork()  # the child comes back into the worker's loop, and must be inert there
    return "fine"
def daemonises(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            time.sleep(1)  # it outlives the task, and perhaps the executor
        os._exit(0)
    return "fine"
def leaves_a_child(x):
    import subprocess
    subprocess.Popen(["sleep", "600"])
    return "fine"
def allocates(x):
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 45, 1 << 45))
    hoard = []
    import mmap
    while True: hoard.append(mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000))
def recurses(x): return recurses(x)
def raises_group(x):
    if sys.version_info < (3, 11): raise KeyboardInterrupt
    raise BaseExceptionGroup("g", [KeyboardInterrupt()])

EXPECTED = {
    killed: ("WorkerDied", "SIGKILL"), crashed: ("WorkerDied", "SIGSEGV"), exited: ("WorkerDied", "code 7"),
    thread_exited: ("WorkerDied", "code 7"), system_exit: ("SystemExit", "3"), keyboard: ("KeyboardInterrupt", ""),
    unpicklable: ("PicklingError", "lock"), deep: None, required: ("Required", "text"),
    unreadable: ("Unreadable", "not here"), closes_all: "fine", writes_to_all: "fine", forks: "fine",
    fork_returns: "fine", daemonises: "fine", leaves_a_child: "fine", allocates: (("OSError", "MemoryError"), ""),
    recurses: ("RecursionError", ""), raises_group: (("BaseExceptionGroup", "KeyboardInterrupt"), ""),
}

def outcome(get):
    try:
        return get()
    except BaseException as error:
        return error

def check(fault, value):
    wanted = EXPECTED[fault]
    if wanted is None:
        assert isinstance(value, list), value
    elif isinstance(wanted, str):
        assert value == wanted, repr(value)
    else:
        names = wanted[0] if isinstance(wanted[0], tuple) else (wanted[0],)
        names += ("RemoteError",) if fault in (required, raises_group) else ()
        assert type(value).__name__ in names, repr(value)
        assert wanted[1] in str(value), str(value)

def square(x): return x * x
def either(fault, x): return fault(None) if x == "fault" else x * x

class Actor:
    def __init__(self): self.calls = 0
    def do(self, fault, x):
        self.calls += 1
        return either(fault, x)

def run(how, fault):
    with achar.Executor(2) as ex:
        before = [ex.submit(square, n) for n in range(50)]
        if how == "submit":
            value = outcome(ex.submit(fault, None).result)
        elif how == "map":
            results = ex.map(either, [fault] * 41, [*range(40), "fault"])
            assert [next(results) for _ in range(40)] == [n * n for n in range(40)]
            value = outcome(lambda: next(results))
        elif how == "actor":
            actor = ex.actor(Actor, restarts=1)
            calls = [actor.do(fault, n) for n in range(20)]
            future = actor.do(fault, "fault")
            calls += [actor.do(fault, n) for n in range(20)]
            value = outcome(future.result)
            assert [call.result() for call in calls] == [*map(square, range(20))] * 2
        else:
            ref = ex.put([bytearray(100_000), 3])
            sums = [ex.submit(lambda x: len(x[0]) + x[1], ref) for _ in range(10)]
            value = outcome(ex.submit(fault, ref).result)
            sums += [ex.submit(lambda x: len(x[0]) + x[1], ref) for _ in range(10)]
            assert [future.result() for future in sums] == [100_003] * 20
            assert ref.result()[1] == 3
        check(fault, value)
        after = [ex.submit(square, n) for n in range(50)]
        assert [future.result() for future in before + after] == [n * n for n in range(50)] * 2
        pids = ex._pool.pids()
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}"), pid
    print("well")
"""

FAULTS = [
    "killed crashed exited thread_exited system_exit keyboard unpicklable deep required unreadable closes_all",
    "writes_to_all forks fork_returns daemonises leaves_a_child allocates recurses raises_group",
]


@pytest.mark.parametrize("fault", " ".join(FAULTS).split())
@pytest.mark.parametrize("how", ["submit", "map", "actor", "put"])
def test_fault(run, how, fault):
    assert run(f"{PROGRAM}\nrun({how!r}, {fault})\n", stderr_empty=False, limit=120).endswith("well\n")


CGROUPS = [  # version 1, version 2: the folder, the file with the limit
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ("/sys/fs/cgroup", "memory.max"),
]


@pytest.fixture
def small_cgroup():
    """A cgroup whose processes the kernel kills when they have more than 200 MiB."""
    for folder, limit in CGROUPS:
        path = f"{folder}/achar-test-{os.getpid()}"
        try:
            os.mkdir(path)
        except OSError:
            continue
        try:
            with open(f"{path}/{limit}", "w") as file:
                file.write(str(200 << 20))
            yield path
            return
        except OSError:
            continue
        finally:
            os.rmdir(path)
    pytest.skip("no memory cgroup can be made here")


def test_a_task_allocates_until_it_is_killed(run, small_cgroup):
    run(
        f"""{PROGRAM}
def hoard(x):
    with open({small_cgroup!r} + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
    kept = []
    while True:
        kept.append(bytearray(b"x") * (1 << 20))
with achar.Executor(2) as ex:
    siblings = [ex.submit(square, n) for n in range(200)]
    error = ex.submit(hoard, None).exception(60)
    assert isinstance(error, achar.WorkerDied) and error.signal == "SIGKILL", repr(error)
    siblings += [ex.submit(square, n) for n in range(200)]
    assert [future.result(60) for future in siblings] == [n * n for n in range(200)] * 2
""",
        limit=120,
    )


def test_arguments_that_cannot_be_read_there(run):
    run(
        f"""{PROGRAM}
with achar.Executor(2) as ex:
    for future in (ex.submit(square, Unreadable("worker")), ex.submit(len, [Unreadable("worker")])):
        assert isinstance(outcome(future.result), achar.Unreadable), outcome(future.result)
    assert isinstance(outcome(lambda: list(ex.map(square, [Unreadable("worker")]))), achar.Unreadable)
    assert isinstance(outcome(ex.submit(len, ex.put(Unreadable("worker"))).result), achar.Unreadable)
    assert ex.submit(square, 3).result() == 9
"""
    )


def test_workers_that_are_stopped(run):
    """SIGSTOP: the others go on; a time limit ends what stands still."""
    run(
        f"""{PROGRAM}
with achar.Executor(2) as ex:
    stopped = ex.options(timeout=1).submit(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    assert [future.result() for future in [ex.submit(square, n) for n in range(200)]] == [n * n for n in range(200)]
    assert isinstance(stopped.exception(60), TimeoutError)
    assert ex.submit(square, 3).result() == 9
""",
        limit=120,
    )


def test_no_descriptors_left(run):
    """A worker that cannot be replaced for lack of descriptors is replaced when there are some."""
    run(
        f"""{PROGRAM}
with achar.Executor(2) as ex:
    ex.submit(square, 1).result()
    taken = []
    try:
        while True: taken.append(os.dup(0))
    except OSError:
        pass
    died = ex.submit(killed, None)
    assert isinstance(died.exception(60), achar.WorkerDied)
    assert ex.submit(square, 2).result(60) == 4
    for fd in taken: os.close(fd)
    assert isinstance(ex.submit(killed, None).exception(60), achar.WorkerDied)
    assert [ex.submit(square, n).result(60) for n in range(20)] == [n * n for n in range(20)]
""",
        limit=120,
    )

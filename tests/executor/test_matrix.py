"""Every fault × every way to run a task: submit, map, an actor, a task that reads what was put.

Each pair has a process of its own with a time limit. The fault's future ends, with the exception that
docs/guarantees.md names; its siblings' results are right; the next task succeeds; the executor ends, and
leaves no process behind. A fault is a function that is given None, or a file's path.
"""

import os
import subprocess
import sys
import time

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
def class_missing(x):  # there it can be imported, here not
    import types
    module = sys.modules["only_there"] = types.ModuleType("only_there")
    exec("class Thing: pass", module.__dict__)
    return module.Thing()
class NoWay(Exception):
    def __reduce__(self): return load_fails_in, ("client",)
def raises_unreadable(x): raise NoWay("text")
def raises_unpicklable(x):
    error = ValueError("text")
    error.lock = threading.Lock()
    raise error
def cannot_be_sent(x): return x  # what it is given cannot be pickled
def becomes_another(x): os.execv("/bin/true", ["true"])
def shuts_the_door(x):
    import socket
    with socket.socket(fileno=os.dup(6)) as door: door.shutdown(socket.SHUT_RDWR)
    return "fine"
def takes_all_descriptors(x):
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True: os.dup(0)
    except OSError: return "fine"
def closes_all(x):
    os.closerange(0, 200)
    return "fine"
def writes_to_all(x):
    for fd in range(3, 200):
        try: os.write(fd, b"garbage" * 100)
        except OSError: pass
    return "fine"
def nested_length(): return achar.current_executor().submit(len, b"abc").result(60)
def writes_when_nested(x):  # with a connection of this worker to the client
    nested_length()
    return writes_to_all(x)
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
def is_read(x): return x  # and what it is given cannot be read there
def overdue(x):
    time.sleep(600)
def stopped(x):
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)
def raises_group(x):
    if sys.version_info < (3, 11): raise KeyboardInterrupt
    raise BaseExceptionGroup("g", [KeyboardInterrupt()])

EXPECTED = {
    killed: ("WorkerDied", "SIGKILL"), crashed: ("WorkerDied", "SIGSEGV"), exited: ("WorkerDied", "code 7"),
    thread_exited: ("WorkerDied", "code 7"), system_exit: ("SystemExit", "3"), keyboard: ("KeyboardInterrupt", ""),
    unpicklable: ("PicklingError", "lock"), deep: None, required: ("Required", "text"),
    unreadable: ("Unreadable", "not here"), closes_all: "fine", writes_to_all: "fine",
    class_missing: ("Unreadable", "only_there"), raises_unreadable: ("RemoteError", "text"),
    raises_unpicklable: (("RemoteError", "ValueError"), "text"), cannot_be_sent: ("PicklingError", "lock"),
    becomes_another: ("WorkerDied", "code 0"), shuts_the_door: "fine", takes_all_descriptors: "fine",
    writes_when_nested: "fine", forks: "fine",
    fork_returns: "fine", daemonises: "fine", leaves_a_child: "fine", allocates: (("OSError", "MemoryError"), ""),
    is_read: ("Unreadable", "not here"), overdue: (("TimeoutError", "CancelledError"), ""),
    stopped: (("TimeoutError", "CancelledError"), ""),
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
def either(fault, x): return x * x if type(x) is int else fault(x)

class Actor:
    def __init__(self): self.calls = 0
    def do(self, fault, x):
        self.calls += 1
        return either(fault, x)

def run(how, fault):
    argument = {is_read: Unreadable("worker"), cannot_be_sent: threading.Lock()}.get(fault, "fault")
    ends = fault in (overdue, stopped)
    with achar.Executor(2) as ex:
        before = [ex.submit(square, n) for n in range(50)]
        options = ex.options(timeout=0.5) if ends else ex
        if how == "submit":
            value = outcome(options.submit(fault, argument).result)
        elif how == "map":
            for limit in (0.5, 5, 50) if ends else (None,):  # each of the others has to get a processor in time
                way = ex.options(timeout=limit) if ends else ex
                results = way.map(either, [fault] * 41, [*range(40), argument])
                squares = outcome(lambda: [next(results) for _ in range(40)])
                value = outcome(lambda: next(results))
                if not ends or type(squares) is not TimeoutError:
                    break
            assert squares == [n * n for n in range(40)], squares
        elif how == "actor":
            actor = ex.actor(Actor, restarts=1)
            calls = [actor.do(fault, n) for n in range(20)]
            future = actor.do(fault, argument)
            while ends and not future.running(): time.sleep(0.01)
            assert not ends or ex.cancel(future, force=True)  # a call of an actor has no time limit
            calls += [actor.do(fault, n) for n in range(20)]
            value = outcome(future.result)
            assert [call.result() for call in calls] == [*map(square, range(20))] * 2
        else:
            ref = ex.put([bytearray(100_000), 3])
            sums = [ex.submit(lambda x: len(x[0]) + x[1], ref) for _ in range(10)]
            given = (lambda: ex.put(argument)) if fault in (is_read, cannot_be_sent) else (lambda: ref)
            value = outcome(lambda: options.submit(fault, given()).result())
            sums += [ex.submit(lambda x: len(x[0]) + x[1], ref) for _ in range(10)]
            assert [future.result() for future in sums] == [100_003] * 20
            assert ref.result()[1] == 3
        check(fault, value)
        after = [ex.submit(square, n) for n in range(50)]
        assert [future.result() for future in before + after] == [n * n for n in range(50)] * 2
        if fault is writes_when_nested:
            assert [future.result() for future in [ex.submit(nested_length) for _ in range(6)]] == [3] * 6
        pids = ex._pool.pids()
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}"), pid
    print("well")
"""

FAULTS = [
    "killed crashed exited thread_exited system_exit keyboard unpicklable deep required unreadable closes_all",
    "writes_to_all writes_when_nested forks fork_returns daemonises leaves_a_child allocates recurses raises_group",
    "class_missing raises_unreadable raises_unpicklable cannot_be_sent becomes_another shuts_the_door",
    "is_read overdue stopped takes_all_descriptors",
]


@pytest.mark.parametrize("fault", " ".join(FAULTS).split())
@pytest.mark.parametrize("how", ["submit", "map", "actor", "put"])
def test_fault(run, how, fault):
    assert run(f"{PROGRAM}\nrun({how!r}, {fault})\n", stderr_empty=False, limit=200).endswith("well\n")


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
    error = ex.submit(hoard, None).exception(150)
    assert isinstance(error, achar.WorkerDied) and error.signal == "SIGKILL", repr(error)
    siblings += [ex.submit(square, n) for n in range(200)]
    assert [future.result(60) for future in siblings] == [n * n for n in range(200)] * 2
""",
        limit=200,
    )


def test_a_stopped_worker_goes_on_when_it_is_told_to(run):
    """SIGSTOP: the others go on meanwhile, and nothing is lost."""
    run(
        f"""{PROGRAM}
with achar.Executor(2) as ex:
    ex.submit(square, 1).result()
    stopped_pid = ex._pool.pids()[0]
    os.kill(stopped_pid, signal.SIGSTOP)
    futures = [ex.submit(square, n) for n in range(200)]
    results = ex.map(square, range(200))
    while sum(future.done() for future in futures) < 150:
        time.sleep(0.01)
    os.kill(stopped_pid, signal.SIGCONT)
    assert [future.result(60) for future in futures] == [n * n for n in range(200)] == list(results)
""",
        limit=200,
    )


CLIENTS = {
    "submit": "futures = [ex.submit(time.sleep, 600) for _ in range(4)]",
    "map": "results = ex.map(time.sleep, [600] * 40)",
    "actor": "class A:\n    def sleep(self): time.sleep(600)\nactor = ex.actor(A)\ncall = actor.sleep()\nfuture = call",
    "put": "ref = ex.put(bytes(1 << 20))\nfutures = [ex.submit(lambda data: time.sleep(600), ref) for _ in range(2)]",
    "tasks of tasks": "futures = [ex.submit(lambda: ex.submit(time.sleep, 600).result()) for _ in range(2)]",
    "a program": "futures = [ex.run(['sleep', '600']) for _ in range(2)]",
    "exec": "futures = [ex.submit(os.execvp, 'sleep', ['sleep', '600']) for _ in range(2)]",
    "stopped": "ex.submit(int).result()\nfor pid in ex._pool.pids(): os.kill(pid, signal.SIGSTOP)",
}


@pytest.mark.parametrize("how", CLIENTS)
def test_the_client_is_killed(tmp_path, how):
    """Its workers, their actors and programs end at once, whatever they are doing."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, signal, time\nimport achar\nex = achar.Executor(2)\n{CLIENTS[how]}\ntime.sleep(600)\n"
    )
    client = subprocess.Popen([sys.executable, script], start_new_session=True)
    try:
        wanted = {"tasks of tasks": 4, "actor": 3, "a program": 4}.get(how, 2)
        wait_until(lambda: len(processes_below(client.pid)) >= wanted)
        time.sleep(0.2)  # into the tasks
        left = processes_below(client.pid)
    finally:
        client.kill()
        client.wait()
    wait_until(lambda: not any(map(is_alive, left)))


EXECS = {
    "a program": CLIENTS["a program"],
    # Both have started: one that is stopped while it starts has asked for nothing yet.
    "stopped": "pids = set()\nwhile len(pids) < 2:\n"
    "    pids |= {f.result() for f in [ex.submit(lambda: time.sleep(0.01) or os.getpid()) for _ in range(4)]}\n"
    "for pid in pids: os.kill(pid, signal.SIGSTOP)",
    "deaf": "def deaf():\n    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n    time.sleep(600)\n"
    "futures = [ex.submit(deaf) for _ in range(2)]\nwhile not all(f.running() for f in futures): time.sleep(0.01)",
    "starting": "ex.submit(int)\nwhile not ex._pool.pids(): time.sleep(0.001)",
}


@pytest.mark.parametrize("how", EXECS)
def test_the_client_becomes_another_program(tmp_path, how):
    """By exec the process goes on, but nobody is left there who would end the workers and their programs."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, signal, sys, time\nimport achar\nex = achar.Executor(2)\n{EXECS[how]}\n"
        "print(*ex._pool.pids(), flush=True)\n"
        "if sys.argv[1] != 'starting': sys.stdin.readline()\n"
        "os.execvp('sleep', ['sleep', '600'])"
    )
    with subprocess.Popen(
        [sys.executable, script, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as client:
        try:
            left = list(map(int, client.stdout.readline().split()))
            assert left
            if how != "starting":  # that one has gone on, and its workers may have ended
                wait_until(lambda: len(processes_below(client.pid)) >= (4 if how == "a program" else 2))
                time.sleep(0.2)  # into the tasks
                left = processes_below(client.pid)
                if how == "stopped":
                    wait_until(lambda: all(stat_of(pid)[:1] == ["T"] for pid in left))
                client.stdin.write("\n")
                client.stdin.flush()
            wait_until(lambda: is_named(client.pid, "sleep"))
            wait_until(lambda: not processes_below(client.pid) and not any(map(is_alive, left)))
            assert client.poll() is None
        finally:
            client.kill()


def is_named(pid, name):
    with open(f"/proc/{pid}/comm") as file:
        return file.read() == f"{name}\n"


def processes_below(pid):
    """Those that live."""
    children, below = {}, []
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = stat_of(name)
        if fields and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(name))
    to_look_at = [pid]
    while to_look_at:
        found = children.get(to_look_at.pop(), [])
        below += found
        to_look_at += found
    return below


def stat_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_alive(pid):
    return stat_of(pid)[:1] not in ([], ["Z"])


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "the time is up"
        time.sleep(0.01)


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
        limit=200,
    )

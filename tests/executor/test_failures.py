"""Every way in which a task can fail: it fails alone, says how, and the executor goes on.

Each failure × {submit, map} runs in a process of its own with a time limit, in a script without a
__main__ guard, and is followed by a check that siblings and the next task succeed.
"""

import pytest

PROLOGUE = """
import os, pickle, signal, sys, threading, time
import achar
from concurrent.futures import BrokenExecutor

class MyError(Exception):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code

def sibling(n):
    time.sleep(0.002)
    return n * n

"""

# name: (what the task 'fail' is, what must hold of 'error')
FAILURES = {
    "raises": (
        "def fail(_):\n    raise MyError(code=5)",
        "type(error) is MyError and error.code == 5 and 'in fail' in str(error.__cause__)",
    ),
    "killed": (
        "def fail(_):\n    os.kill(os.getpid(), signal.SIGKILL)",
        "type(error) is achar.WorkerDied and error.signal == 'SIGKILL' and error.exitcode is None "
        "and error.pid > 0 and error.task == 'fail' and 'SIGKILL' in str(error)",
    ),
    "terminated": (
        "def fail(_):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(600)",
        "type(error) is achar.WorkerDied and error.signal == 'SIGTERM'",
    ),
    "os._exit": (
        "def fail(_):\n    os._exit(3)",
        "type(error) is achar.WorkerDied and error.exitcode == 3 and error.signal is None "
        "and 'exited with code 3' in str(error)",
    ),
    "os._exit(0)": (
        "def fail(_):\n    os._exit(0)",
        "type(error) is achar.WorkerDied and error.exitcode == 0",
    ),
    "os._exit in a thread": (
        "def fail(_):\n    threading.Thread(target=os._exit, args=(4,)).start()\n    time.sleep(600)",
        "type(error) is achar.WorkerDied and error.exitcode == 4",
    ),
    "abort": (
        "def fail(_):\n    os.abort()",
        "type(error) is achar.WorkerDied and error.signal == 'SIGABRT'",
    ),
    "segmentation fault": (
        "def fail(_):\n    import ctypes\n    ctypes.string_at(0)",
        "type(error) is achar.WorkerDied and error.signal == 'SIGSEGV'",
    ),
    "stack overflow": (
        "def fail(_):\n"
        "    import resource\n"
        "    resource.setrlimit(resource.RLIMIT_STACK, (65536, -1))\n"
        "    def recurse(_=0): return sorted([0], key=recurse)\n"
        "    recurse()",
        "type(error) is achar.WorkerDied and error.signal == 'SIGSEGV'",
    ),
    "exec": (
        "def fail(_):\n    os.execv('/bin/sh', ['sh', '-c', 'exit 9'])",
        "type(error) is achar.WorkerDied and error.exitcode == 9",
    ),
    "sys.exit": (
        "def fail(_):\n    sys.exit(7)",
        "type(error) is SystemExit and error.code == 7",
    ),
    "KeyboardInterrupt": (
        "def fail(_):\n    raise KeyboardInterrupt",
        "type(error) is KeyboardInterrupt",
    ),
    "RecursionError": (
        "def fail(_):\n    def deeper(): deeper()\n    deeper()",
        "type(error) is RecursionError",
    ),
    "MemoryError": (
        "def fail(_):\n    return bytes(1 << 60)",
        "type(error) is MemoryError",
    ),
    "argument that cannot be pickled": (
        "def fail(_):\n    return 1\nitem = {'deep': [1, threading.Lock()]}",
        "isinstance(error, (pickle.PicklingError, TypeError)) "
        "and 'args[0]' in str(error) and 'deep' in str(error) and 'lock' in str(error)",
    ),
    "function that cannot be pickled": (
        "item = 0\nlock = threading.Lock()\ndef fail(_):\n    return lock",
        "isinstance(error, (pickle.PicklingError, TypeError)) and 'lock' in str(error)",
    ),
    "argument that cannot be read": (
        "class Bad:\n"
        "    def __reduce__(self): return explode, (os.getpid(),)\n"
        "def explode(pid):\n    raise LookupError('while reading')\n"
        "def fail(_):\n    return 1\nitem = Bad()",
        "type(error) is achar.errors.Unreadable and error.what == 'arguments' "
        "and 'LookupError: while reading' in str(error) and 'in the worker' in str(error)",
    ),
    "argument whose reading kills": (
        "class Bad:\n    def __reduce__(self): return os._exit, (6,)\ndef fail(_):\n    return 1\nitem = Bad()",
        "type(error) is achar.WorkerDied and error.exitcode == 6",
    ),
    "argument whose reading exits": (
        "class Bad:\n    def __reduce__(self): return sys.exit, (6,)\ndef fail(_):\n    return 1\nitem = Bad()",
        "type(error) is achar.errors.Unreadable and type(error.__cause__) is not SystemError "
        "and 'SystemExit' in str(error)",
    ),
    "result that cannot be pickled": (
        "def fail(_):\n    return {'deep': [1, threading.Lock()]}",
        "isinstance(error, (pickle.PicklingError, TypeError)) and 'result' in str(error) "
        "and 'deep' in str(error) and 'lock' in str(error)",
    ),
    "result that raises while pickled": (
        "class Bad:\n    def __reduce__(self): raise MyError(code=9)\ndef fail(_):\n    return Bad()",
        "type(error) is MyError and error.code == 9",
    ),
    "result whose pickling kills": (
        "class Bad:\n    def __reduce__(self): os._exit(8)\ndef fail(_):\n    return Bad()",
        "type(error) is achar.WorkerDied and error.exitcode == 8",
    ),
    "result that cannot be read": (
        "def explode():\n    raise LookupError('while reading')\n"
        "class Bad:\n    def __reduce__(self): return explode, ()\n"
        "def fail(_):\n    return Bad()",
        "type(error) is achar.errors.Unreadable and error.what == 'result' "
        "and type(error.__cause__) is LookupError and 'in this process' in str(error)",
    ),
    "result of a module that is missing here": (
        "def fail(_):\n"
        "    import types\n"
        "    module = sys.modules['only_there'] = types.ModuleType('only_there')\n"
        "    exec('class Thing: pass', module.__dict__)\n"
        "    return module.Thing()",
        "type(error) is achar.errors.Unreadable and 'only_there' in str(error) "
        "and 'do:' in str(error) and isinstance(error.__cause__, ImportError)",
    ),
    "exception that cannot be pickled": (
        "def fail(_):\n    raise ValueError('text', threading.Lock())",
        "type(error) is achar.errors.RemoteError and error.type_name == 'ValueError' "
        "and 'text' in error.text and 'in fail' in error.traceback and 'lock' in error.reason "
        "and 'in fail' in str(error.__cause__)",
    ),
    "exception that is raised from one that cannot be pickled": (
        "def fail(_):\n    raise ValueError('text') from KeyError(threading.Lock())",
        "type(error) is ValueError and error.args == ('text',) and 'KeyError' in str(error.__cause__) "
        "and 'in fail' in str(error.__cause__)",
    ),
    "exception that cannot be read": (
        "def explode():\n    raise LookupError('while reading')\n"
        "class BadError(Exception):\n    def __reduce__(self): return explode, ()\n"
        "def fail(_):\n    raise BadError('text')",
        "type(error) is achar.errors.RemoteError and error.type_name == 'BadError' "
        "and error.text == 'text' and 'LookupError: while reading' in error.reason "
        "and 'in fail' in error.traceback",
    ),
    "exception of a module that is missing here": (
        "def fail(_):\n"
        "    import types\n"
        "    module = sys.modules['only_there'] = types.ModuleType('only_there')\n"
        "    exec('class ThereError(Exception): pass', module.__dict__)\n"
        "    raise module.ThereError('text')",
        "isinstance(error, achar.errors.RemoteError) and error.type_name == 'only_there.ThereError' "
        "and error.text == 'text'",
    ),
    "exception that is read as something else": (
        "class BadError(Exception):\n    def __reduce__(self): return int, ()\n"
        "def fail(_):\n    raise BadError('text')",
        "type(error) is achar.errors.RemoteError and 'int' in error.reason",
    ),
    "exception whose str raises": (
        "class BadError(Exception):\n"
        "    def __str__(self): raise LookupError\n"
        "    def __reduce__(self): raise LookupError\n"
        "def fail(_):\n    raise BadError('text')",
        "type(error) is achar.errors.RemoteError and error.type_name == 'BadError' and 'LookupError' in error.text",
    ),
    "closes stdout": (
        "def fail(_):\n    sys.stdout.close()\n    raise MyError(code=1)",
        "type(error) is MyError",
    ),
    "closes every descriptor": (
        "def fail(_):\n    os.closerange(0, 1000)\n    raise MyError(code=2)",
        "type(error) is MyError and error.code == 2",
    ),
}

SUBMIT = """
with achar.Executor(2) as ex:
    before = [ex.submit(sibling, n) for n in range(10)]
    failing = [ex.submit(fail, item) for _ in range(3)]
    after = [ex.submit(sibling, n) for n in range(10)]
    for future in failing:
        error = future.exception(timeout=120)
        assert {check}, repr(error) + "\\n" + str(error)
    assert [f.result(120) for f in before + after] == [n * n for n in range(10)] * 2
    assert ex.submit(sibling, 12).result(120) == 144
print("ok")
"""

MAP = """
def fail_at_three(n):
    return fail(item) if n == 3 else sibling(n)

with achar.Executor(2) as ex:
    beside = [ex.submit(sibling, n) for n in range(10)]
    if item is None:
        results = ex.map(fail_at_three, range(20))
        for n in range(3):
            assert next(results) == n * n
    else:
        results = ex.map(fail, [item] * 3)
    try:
        returned = next(results)
    except BaseException as caught:
        error = caught
    else:
        raise SystemExit(f"nothing was raised but {{returned!r}} returned")
    assert {check}, repr(error) + "\\n" + str(error)
    assert [f.result(120) for f in beside] == [n * n for n in range(10)]
    assert list(ex.map(sibling, range(20))) == [n * n for n in range(20)]
print("ok")
"""


@pytest.mark.parametrize("way", ["submit", "map"])
@pytest.mark.parametrize("name", FAILURES)
def test_failure_stays_with_its_task(run, name, way):
    task, check = FAILURES[name]
    check = check.replace("error.task == 'fail'", f"error.task == {'fail' if way == 'submit' else 'fail_at_three'!r}")
    source = PROLOGUE + "item = None\n" + task + (SUBMIT if way == "submit" else MAP).format(check=check)
    assert run(source, stderr_empty=False) == "ok\n"


def test_deep_results_and_arguments(run):
    """Nesting 100,000 deep goes there and back; only what Python itself does with it recurses."""
    out = run("""
        import achar

        def nest(depth):
            nested = []
            for _ in range(depth):
                nested = [nested]
            return nested

        def depth_of(nested):
            depth = 0
            while nested:
                nested = nested[0]
                depth += 1
            return depth

        with achar.Executor(1) as ex:
            future = ex.submit(nest, 100_000)
            assert depth_of(future.result(120)) == 100_000
            assert ex.submit(depth_of, nest(100_000)).result(120) == 100_000
        print("ok")
        """)
    assert out == "ok\n"


def test_result_larger_than_the_memory_that_there_is(run):
    out = run("""
        import achar, resource
        def huge():
            return bytearray(300 << 20)
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
        with achar.Executor(1) as ex:
            print(len(ex.submit(huge).result(120)))
        """)
    assert out == f"{300 << 20}\n"


def test_workers_that_cannot_start(run):
    out = run("""
        import sys
        import achar
        sys.executable = "/nowhere/python"
        with achar.Executor(2) as ex:
            futures = [ex.submit(len, "") for _ in range(5)]
            for future in futures:
                error = future.exception(120)
                assert type(error) is achar.errors.WorkersCannotStart, repr(error)
                assert "No such file" in str(error)
        print("ok")
        """)
    assert out == "ok\n"


def test_workers_that_end_at_once(run):
    out = run("""
        import sys
        import achar
        from concurrent.futures import BrokenExecutor
        sys.executable = "/bin/false"
        with achar.Executor(2) as ex:
            futures = [ex.submit(len, "") for _ in range(5)]
            for future in futures:
                error = future.exception(120)
                assert isinstance(error, BrokenExecutor), repr(error)
                assert "exited with code 1" in str(error)
            try:
                list(ex.map(len, ["a", "b"]))
            except (BrokenExecutor, RuntimeError):
                print("ok")
        """)
    assert out == "ok\n"


def test_initializer_that_raises(run):
    out = run("""
        import achar
        from concurrent.futures import BrokenExecutor
        def initialize(x):
            raise LookupError("not " + x)
        with achar.Executor(2, initializer=initialize, initargs=("there",)) as ex:
            futures = [ex.submit(len, "") for _ in range(5)]
            for future in futures:
                error = future.exception(120)
                assert type(error) is achar.errors.InitializerFailed, repr(error)
                assert isinstance(error, BrokenExecutor)
                assert str(error) == "the executor's initializer raised LookupError: not there"
                assert "in initialize" in str(error.__cause__.__cause__), repr(error.__cause__)
        print("ok")
        """)
    assert out == "ok\n"


def test_initializer_that_cannot_be_pickled(run):
    out = run("""
        import achar, pickle, threading
        lock = threading.Lock()
        try:
            achar.Executor(1, initializer=print, initargs=(lock,))
        except (pickle.PicklingError, TypeError) as error:
            assert str(error).startswith("initargs[0]: _thread.lock cannot be sent\\n  why: "), error
            assert error.__cause__ is None
            print("ok")
        """)
    assert out == "ok\n"


def test_errors_can_be_sent_on(run):
    """An error of achar's that a task raises, or returns, arrives whole."""
    out = run("""
        import os, pickle
        import achar
        def inner():
            with achar.Executor(1) as ex:
                ex.submit(os._exit, 5).result()
        with achar.Executor(1) as ex:
            error = ex.submit(inner).exception(120)
            assert type(error) is achar.WorkerDied and error.exitcode == 5 and error.task == "_exit"
        copy = pickle.loads(pickle.dumps(error))
        assert copy.pid == error.pid and str(copy) == str(error)
        print("ok")
        """)
    assert out == "ok\n"


def test_storm(run):
    """Workers are killed all the time; every result is right or says that its worker died."""
    out = run("""
        import os, random, signal
        import achar
        def work(n):
            return n + 1
        def kill_one(ex):
            pids = ex._pool.pids()
            if pids:
                try:
                    os.kill(random.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        died = 0
        with achar.Executor(2) as ex:
            for _ in range(10):
                futures = [ex.submit(work, n) for n in range(1000)]
                for n, future in enumerate(futures):
                    try:
                        assert future.result(120) == n + 1
                    except achar.WorkerDied as error:
                        assert error.signal == "SIGKILL"
                        died += 1
                    if n % 100 == 50:
                        kill_one(ex)
            assert ex.submit(work, 1).result(120) == 2
        assert died <= 100, died
        print("ok")
        """)
    assert out == "ok\n"

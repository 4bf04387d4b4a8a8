"""Nothing hangs and nothing stays: leaving, collecting, Ctrl-C, fork, the client's death."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

SLEEPER = """
import sys, time
import achar

def sleep(seconds):
    time.sleep(seconds)
    return seconds

"""


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "the time is up"
        time.sleep(0.01)


# ---- leaving the interpreter


def test_leaving_waits_for_what_was_submitted(run, tmp_path):
    run(f"""
        import os, time
        import achar
        def task(n):
            time.sleep(0.05)
            open(os.path.join({str(tmp_path)!r}, f"done{{n}}"), "w").close()
        ex = achar.Executor(2)
        for n in range(6):
            ex.submit(task, n)
        """)
    assert sorted(p.name for p in tmp_path.glob("done*")) == [f"done{n}" for n in range(6)]


def test_leaving_runs_callbacks(run):
    out = run(SLEEPER + "ex = achar.Executor(1)\nex.submit(sleep, 0.1).add_done_callback(lambda f: print(f.result()))")
    assert out == "0.1\n"


def test_leaving_waits_for_a_collected_executors_tasks(run, tmp_path):
    run(f"""
        import time, pathlib
        import achar
        def task():
            time.sleep(0.2)
            pathlib.Path({str(tmp_path / "done")!r}).touch()
        achar.Executor(1).submit(task)
        """)
    assert (tmp_path / "done").exists()


def test_leaving_with_an_exception(run):
    run(SLEEPER + "ex = achar.Executor(1)\nex.submit(sleep, 0.1)\nsys.exit(3)", returncode=3)
    run(
        SLEEPER + "with achar.Executor(1) as ex:\n    ex.submit(sleep, 0.1)\n    raise LookupError",
        returncode=1,
        stderr_empty=False,
    )


def test_leaving_with_futures_that_nobody_read(run):
    run(SLEEPER + "ex = achar.Executor(2)\nfs = [ex.submit(list, range(n)) for n in range(100)]\n")


def test_leaving_at_once(run):
    run("import achar\nex = achar.Executor(2)")
    run("import achar\nachar.Executor(2)")
    run("import achar\nex = [achar.Executor(1) for _ in range(8)]")


def test_leaving_from_a_thread_that_waits(run):
    """A thread waits for a future while the main thread leaves."""
    out = run(
        SLEEPER
        + "import threading\n"
        + "ex = achar.Executor(1)\n"
        + "f = ex.submit(sleep, 0.2)\n"
        + "threading.Thread(target=lambda: print(f.result())).start()\n"
    )
    assert out == "0.2\n"


def test_leaving_with_a_daemon_thread_that_waits(run):
    run(
        SLEEPER
        + "import threading\n"
        + "f = achar.Future()\n"
        + "ex = achar.Executor(1)\n"
        + "g = ex.submit(sleep, 0.2)\n"
        + "threading.Thread(target=f.result, daemon=True).start()\n"
        + "threading.Thread(target=g.result, daemon=True).start()\n"
    )


def test_submit_at_exit(run):
    out = run(
        """
        import atexit
        import achar
        ex = achar.Executor(1)
        def late():
            for call in (lambda: ex.submit(len, ""), lambda: achar.Executor(1)):
                try:
                    call()
                except RuntimeError as error:
                    print(error)
        atexit.register(late)
        """
    )
    assert out == "cannot schedule new futures after shutdown\ncannot make an executor at interpreter shutdown\n"


# ---- shutting down from odd places


def test_shutdown_in_a_callback(run):
    out = run(
        SLEEPER
        + "ex = achar.Executor(2)\n"
        + "fs = [ex.submit(sleep, 0.01) for _ in range(10)]\n"
        + "fs[0].add_done_callback(lambda f: (ex.shutdown(), sys.stdout.write('down\\n')))\n"
        + "sys.stdout.write(f'{len([f.result() for f in fs])}\\n')\n"  # print() is two writes, and so is the callback's
        + "ex.shutdown()\n"
    )
    assert sorted(out.split()) == ["10", "down"]


def test_shutdown_in_many_threads(run):
    out = run(
        SLEEPER
        + "import threading\n"
        + "ex = achar.Executor(2)\n"
        + "fs = [ex.submit(sleep, 0.01) for _ in range(10)]\n"
        + "ts = [threading.Thread(target=ex.shutdown) for _ in range(8)]\n"
        + "[t.start() for t in ts]; [t.join() for t in ts]\n"
        + "print(all(f.done() for f in fs))\n"
    )
    assert out == "True\n"


def test_executor_dropped_in_a_callback(run):
    out = run(
        SLEEPER
        + "holder = [achar.Executor(1)]\n"
        + "f = holder[0].submit(sleep, 0.05)\n"
        + "f.add_done_callback(lambda f: holder.clear())\n"
        + "print(f.result())\n"
    )
    assert out == "0.05\n"


def test_workers_leave_after_shutdown(run):
    out = run("""
        import os
        import achar
        ex = achar.Executor(2)
        pids = set(ex.map(lambda n: __import__("os").getpid(), range(20)))
        ex.shutdown()
        def alive(pid):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
            return True
        print([pid for pid in pids if alive(pid)])
        """)
    assert out == "[]\n"


def test_task_that_leaves_a_thread(run):
    run("""
        import threading, time
        import achar
        def task():
            threading.Thread(target=time.sleep, args=(600,)).start()
        with achar.Executor(1) as ex:
            ex.submit(task).result()
        """)


# ---- Ctrl-C


def start(tmp_path, source):
    script = tmp_path / "script.py"
    script.write_text(SLEEPER + textwrap.dedent(source))
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


SUBMITTED = "{indent}fs = [ex.submit(sleep, 600) for _ in range(50)]\n{indent}print('ready', flush=True)\n"
WITH = "with achar.Executor(2) as ex:\n" + SUBMITTED.format(indent="    ")
WITHOUT = "ex = achar.Executor(2)\n" + SUBMITTED.format(indent="")
WAITS = {
    "result": WITH + "    fs[0].result()",
    "result without with": WITHOUT + "fs[0].result()",
    "map": "with achar.Executor(2) as ex:\n    it = ex.map(sleep, [600] * 50)\n"
    "    print('ready', flush=True)\n    list(it)",
    "shutdown": WITHOUT + "ex.shutdown()",
    "leaving the with": WITH,
    "inside the with": WITH + "    time.sleep(600)",
    "outside": WITHOUT + "time.sleep(600)",
    "wait": WITH + "    import concurrent.futures\n    concurrent.futures.wait(fs)",
    "as_completed": WITH + "    import concurrent.futures\n    list(concurrent.futures.as_completed(fs))",
    "leaving the interpreter": WITHOUT,
    "leaving the interpreter, two executors": "a, b = achar.Executor(1), achar.Executor(1)\n"
    "fs = [ex.submit(sleep, 600) for ex in (a, b) for _ in range(25)]\nprint('ready', flush=True)\n",
}


@pytest.mark.parametrize("name", WAITS)
def test_ctrl_c(tmp_path, children_of, name):
    process = start(tmp_path, WAITS[name])
    try:
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: len(children_of(process.pid)) == 2)
        time.sleep(0.2)  # into the wait
        workers = children_of(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        out, err = process.communicate(timeout=150)
    finally:
        process.kill()
    assert err.count("KeyboardInterrupt") == 1, err
    assert "Traceback" in err and out == ""
    wait_until(lambda: all(map(gone, workers)))
    if not name.startswith("leaving the interpreter"):
        assert process.returncode == -signal.SIGINT


def test_executor_goes_on_after_ctrl_c(run):
    out = run(
        SLEEPER
        + """
import os, signal, threading
ex = achar.Executor(2)
fs = [ex.submit(sleep, 600) for _ in range(10)]
while not fs[1].running():
    time.sleep(0.01)
for seconds in (0.2, 2, 20, 60):
    try:
        threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGINT]).start()
        fs[0].result()
    except KeyboardInterrupt:
        if fs[9].cancelled():  # else it came before this thread waited for the result
            print("interrupted")
            break
print(type(fs[0].exception()).__name__, "Ctrl-C" in str(fs[0].exception()), fs[9].cancelled())
print(ex.submit(len, "abc").result(), list(ex.map(len, ["a"] * 3)))
"""
    )
    assert out == "interrupted\nWorkerDied True True\n3 [1, 1, 1]\n"


def test_signal_handlers_run_while_waiting(run):
    out = run(
        SLEEPER
        + """
import os, signal, threading
def wait(path):
    import os
    while not os.path.exists(path):
        time.sleep(0.01)
    return path
signal.signal(signal.SIGUSR1, lambda *info: (print("handled"), open("one", "w").close()))
ex = achar.Executor(1)
f = ex.submit(wait, "one")
threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1]).start()
print(f.result())
signal.signal(signal.SIGALRM, lambda *info: sys.exit("left by a handler"))
f = ex.submit(wait, "two")
try:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    f.result()
except SystemExit as error:
    print(error)
open("two", "w").close()
"""
    )
    assert out == "handled\none\nleft by a handler\n"


# ---- the client's death, and its forks


def test_workers_die_with_the_client(tmp_path, children_of):
    process = start(
        tmp_path,
        "ex = achar.Executor(2)\nfs = [ex.submit(sleep, 1000) for _ in range(5)]\n"
        "print('ready', flush=True)\nfs[0].result()",
    )
    try:
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: len(children_of(process.pid)) == 2)
        workers = children_of(process.pid)
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: all(map(gone, workers)))


def test_fork_of_the_client_is_inert(run):
    out = run(
        SLEEPER
        + """
import os
ex = achar.Executor(1)
done = ex.submit(len, "abc")
done.result()
def wait():
    while not os.path.exists("go"):
        time.sleep(0.01)
    return "waited"
f = ex.submit(wait)
f.add_done_callback(lambda f: os.write(1, b"callback\\n"))  # print() is two writes, in another thread
pid = os.fork()
if pid == 0:
    try:
        ex.submit(len, "")
    except RuntimeError as error:
        print("child submit refused:", error, flush=True)
    try:
        f.result()
    except RuntimeError as error:
        print("child result refused", flush=True)
    print("child has", done.result(), flush=True)
    ex.shutdown()
    with achar.Executor(1) as own:
        print("child's own", own.submit(len, "ab").result(), flush=True)
    del f, done, ex
    sys.exit(0)
print("child left", os.waitpid(pid, 0)[1], flush=True)
open("go", "w").close()
print("client", f.result(), ex.submit(len, "a").result(), flush=True)
""",
        stderr_empty=False,  # CPython 3.12 on warns of forks beside threads
    )
    lines = out.splitlines()
    assert lines.count("callback") == 1
    lines.remove("callback")
    assert lines == [
        "child submit refused: this executor belongs to the process that forked this one; make one of your own here",
        "child result refused",
        "child has 3",
        "child's own 2",
        "child left 0",
        "client waited 1",
    ]


# ---- nothing is left over


def test_steady(run):
    out = run(
        """
        import gc, os, resource, threading
        import achar
        def rss():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096
        def descriptors():
            return len(os.listdir("/proc/self/fd"))
        def fail():
            raise ValueError("x" * 1000)
        def round(ex):
            for _ in range(5):
                fs = [ex.submit(bytes, 2000) for _ in range(400)] + [ex.submit(fail) for _ in range(20)]
                for f in fs[::2]:
                    f.add_done_callback(lambda f: None)
                assert [len(f.result()) for f in fs[:400]] == [2000] * 400
                assert len(list(ex.map(len, ["abc"] * 400))) == 400
                assert len(ex.submit(bytes.swapcase, bytes(3 << 20)).result()) == 3 << 20
        # What the allocators keep grows for a while, and then no more; a leak grows in every window.
        with achar.Executor(2) as ex:
            round(ex)
            files, threads, grown = descriptors(), threading.active_count(), []
            while len(grown) < 8 and min(grown, default=1 << 30) > 512 << 10:
                gc.collect()
                before = rss()
                for _ in range(5):
                    round(ex)
                gc.collect()
                grown.append(rss() - before)
            assert descriptors() == files and threading.active_count() == threads
        assert min(grown) <= 512 << 10, grown
        with achar.Executor(1) as ex:
            ex.submit(len, "").result()
        del ex
        gc.collect()
        files, threads = descriptors(), threading.active_count()
        for _ in range(10):
            with achar.Executor(1) as ex:
                f = ex.submit(len, "")
                f.add_done_callback(lambda f: None)
                f.result()
        del ex, f
        gc.collect()
        assert descriptors() == files, (descriptors(), files)
        assert threading.active_count() == threads
        print("ok")
        """,
        limit=250,
    )
    assert out == "ok\n"


def test_nothing_in_shared_memory_folder(run):
    before = set(os.listdir("/dev/shm"))
    run(
        """
        import os, signal
        import achar
        ex = achar.Executor(2)
        ex.submit(bytes, 10 << 20).result()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        returncode=-signal.SIGKILL,
    )
    assert [name for name in set(os.listdir("/dev/shm")) - before if "achar" in name] == []


def test_idle_costs_nothing(run):
    """No thread of the client and no worker runs while there is nothing to do."""
    out = run("""
        import os, time
        import achar
        def ticks(pid):
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])
        with achar.Executor(2) as ex:
            pids = [os.getpid(), *set(ex.map(lambda n: __import__("os").getpid(), range(10)))]
            for _ in range(10):  # the end of a start may be in the first ones, on a busy machine
                time.sleep(0.3)
                before = sum(map(ticks, pids))
                time.sleep(1)
                if sum(map(ticks, pids)) - before <= 2:
                    print(True)
                    break
        """)
    assert out == "True\n"

"""shared_task.py PATH: tasks of two executors, of two processes, and direct calls, of the same at once."""

import os
import subprocess
import sys
import threading
import time

import achar

path = sys.argv[1]
memo = achar.Memo(path)


def computed(x, until):
    """'until': so many seconds later, or when there is such a file."""
    descriptor = os.open(path + ".log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{x}\n".encode())
    os.close(descriptor)
    while isinstance(until, str) and not os.path.exists(until):
        time.sleep(0.005)
    time.sleep(0 if isinstance(until, str) else until)
    return x


f = memo(key="name", ignore=["until"])(computed)


def lines():
    try:
        with open(path + ".log") as file:
            return [int(line) for line in file.read().split()]
    except FileNotFoundError:
        return []


def begun(x):
    while x not in lines():
        time.sleep(0.005)


if sys.argv[2:] == ["submits"]:
    with achar.Executor(1) as ex:
        print(ex.options(memo=memo).submit(f, 5, 0).result())
elif sys.argv[2:] == ["calls"]:
    print(f(5, 0))
elif sys.argv[2:] == ["hangs"]:
    with achar.Executor(1) as ex:
        ex.options(memo=memo).submit(f, 6, 600).result()
else:
    with achar.Executor(1) as one, achar.Executor(1, kind="thread") as other:
        # A task, and then a direct call, and tasks of another executor.
        task = one.options(memo=memo).submit(f, 1, 0.2)
        begun(1)
        later = [other.options(memo=memo).submit(f, 1, 0.2) for _ in range(3)]
        assert f(1, 0.2) == 1 and task.done() and {task.result(), *(each.result() for each in later)} == {1}
        # A direct call, and then tasks; one of them is cancelled, and nobody misses it.
        go = path + ".go"
        thread = threading.Thread(target=f, args=(2, go))
        thread.start()
        begun(2)
        tasks = [ex.options(memo=memo).submit(f, 2, go) for ex in (one, other)]
        assert tasks[1].cancel()
        open(go, "w").close()
        assert tasks[0].result() == 2
        thread.join()
        # What raises is computed by the next.
        failing = one.options(memo=memo).submit(f, 3, None)
        after = other.options(memo=memo).submit(f, 3, 0)
        assert isinstance(failing.exception(), TypeError) and after.result() == 3
        assert sorted(lines()) == [1, 2, 3, 3], lines()

        # A call inside of which one is waited for that another thread has submitted: nobody waits for ever.
        @memo(key="name")
        def offers(x):
            return one.options(memo=memo).submit(offers.__wrapped__ if x else abs, x - 1).result()

        task = one.options(memo=memo).submit(f, 4, 0.3)
        assert offers(0) == 1 and task.result() == 4
        # Other processes.
        task = one.options(memo=memo).submit(f, 5, 0.6)
        begun(5)
        commands = [[sys.executable, __file__, path, what] for what in ("submits", "calls")]
        others = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
        assert [int(each.communicate(timeout=150)[0]) for each in others] == [5, 5]
        assert lines().count(5) == 1 and task.result() == 5
    # Whose process dies, for him others compute.
    owner = subprocess.Popen([sys.executable, __file__, path, "hangs"])
    begun(6)
    with achar.Executor(1) as ex:
        task = ex.options(memo=memo).submit(f, 6, 0)
        assert not task.done() and lines().count(6) == 1
        owner.kill()
        owner.wait()
        assert task.result() == 6 and lines().count(6) == 2

    # A task calls what is queued behind it; a call waits for what is queued behind a task that waits for the call.
    @memo(key="name")
    def h(x):
        begun(8)
        return f(x, 0)

    def calls_what_is_queued():
        return f(7, 0)

    def calls_what_waits():
        computed(8, 0)
        return h(9)

    with achar.Executor(1) as ex:
        first = ex.submit(calls_what_is_queued)
        assert ex.options(memo=memo).submit(f, 7, 0).result() == first.result() == 7
        first, second = ex.submit(calls_what_waits), ex.options(memo=memo).submit(f, 9, 0)
        assert h(9) == first.result() == second.result() == 9

    # A call does not wait for a task whose worker is busy with what waits for the caller.
    def waits_for_caller():
        begun(10)

    with achar.Executor(1) as ex:
        first, second = ex.submit(waits_for_caller), ex.options(memo=memo).submit(f, 11, 0)
        assert f(11, 0) == 11 and not second.done()
        computed(10, 0)
        assert second.result() == 11
    print("each computed once, and taken over; no circle")

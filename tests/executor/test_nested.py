"""Tasks that submit tasks: results, arguments, depth, and whatever goes wrong there."""

import concurrent.futures
import os
import sys
import time

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def test_submit_and_wait(ex):
    def parent(n):
        children = [ex.submit(pow, i, 2) for i in range(n)]
        return sum(child.result() for child in children)

    assert ex.submit(parent, 10).result() == 285

    def parent_here(n):
        here = achar.current_executor()
        assert concurrent.futures.wait([here.options(name="c", retries=1).submit(int)], 120).not_done == set()
        return here.submit(lambda x, y: (x, y), n, y=[n]).result()

    assert ex.submit(parent_here, 3).result() == (3, [3])
    assert list(ex.map(parent, range(5))) == [0, 0, 1, 5, 14]
    with pytest.raises(RuntimeError, match="is for tasks"):
        achar.current_executor()


def test_recursion_deeper_than_there_are_workers(ex):
    def fibonacci(n):
        if n < 2:
            return n
        left = ex.submit(fibonacci, n - 1)
        return left.result() + fibonacci(n - 2)

    def down(n):
        return n if n == 0 else ex.submit(down, n - 1).result() + 1

    assert [f.result() for f in [ex.submit(fibonacci, 5) for _ in range(4)]] == [5] * 4
    assert ex.submit(down, 6).result() == 6


def test_too_deep_is_said():
    with achar.Executor(1) as ex:

        def down(n):
            try:
                return ex.submit(down, n + 1).result()
            except RecursionError as error:
                return n, str(error)

        depth, text = ex.submit(down, 0).result(250)
        assert depth == 32 and "nested" in text


def test_a_task_may_return_a_future(ex):
    assert ex.submit(lambda: ex.submit(pow, 2, 5)).result() == 32
    assert ex.submit(len, ex.submit(lambda: ex.submit(lambda: ex.submit(str, 12345)))).result() == 5

    def failing():
        return ex.submit(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        ex.submit(failing).result()


def test_futures_as_arguments_there(ex):
    def graph():
        first = ex.submit(lambda: [1, 2, 3])
        second = ex.submit(lambda x: sum(x["in"][0]), {"in": [first]})
        bad = ex.submit(lambda x: 1 / x, 0)
        try:
            ex.submit(len, bad).result()
        except achar.InputFailed as error:
            return second.result(), type(error.__cause__).__name__

    assert ex.submit(graph).result() == (6, "ZeroDivisionError")


def test_failures_there(ex, tmp_path):
    path = str(tmp_path / "go")

    def wait():
        while not os.path.exists(path):
            time.sleep(0.01)

    def parent():
        held = [ex.submit(wait) for _ in range(2)]  # as many as there are workers
        queued = ex.submit(time.sleep, 600)
        cancelled = queued.cancel()
        open(path, "w").close()
        concurrent.futures.wait(held)
        died = ex.submit(os._exit, 7)
        slow = ex.options(timeout=0.2).submit(time.sleep, 600)
        others = [ex.submit(pow, n, 2) for n in range(4)]
        assert isinstance(slow.exception(), TimeoutError)
        try:
            ex.submit(lambda: open)
            unpicklable = ex.submit(len, (n for n in [1])).exception()
        finally:
            died = died.exception()
        return type(died).__name__, died.exitcode, cancelled, [o.result() for o in others], type(unpicklable).__name__

    assert ex.submit(parent).result(120) == ("WorkerDied", 7, True, [0, 1, 4, 9], "PicklingError")


def test_children_of_the_dead_are_ended(ex, tmp_path):
    path = str(tmp_path / "child")

    def child(path):
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)

    def parent(path):
        ex.submit(child, path)
        while not os.path.exists(path) or not os.path.getsize(path):
            time.sleep(0.01)
        os._exit(1)

    assert isinstance(ex.submit(parent, path).exception(), achar.WorkerDied)
    ex.submit(pow, 2, 2).result()
    start = time.monotonic()
    ex.shutdown()
    assert time.monotonic() - start < 250  # and not 600


def test_shutdown_waits_for_what_tasks_submit(run):
    """Also when the main thread has ended meanwhile; but CPython 3.12 starts no thread from then on, which is said."""
    out = run(
        """
        import achar, time
        ex = achar.Executor(1, output="plain")
        def down(n):
            time.sleep(0.05)
            if n:
                child = ex.submit(down, n - 1)
                if starts_none:
                    print(str(child.exception()).splitlines()[0], flush=True)
            else:
                print("bottom", flush=True)
        import sys
        starts_none = sys.version_info[:2] == (3, 12)
        ex.submit(down, 3)
        ex.shutdown(wait=False)
        """
    )
    if sys.version_info[:2] == (3, 12):
        assert out.startswith("no workers can be started for the tasks of a task: can't create new thread")
    else:
        assert out == "bottom\n"


def test_whoever_spoils_the_door_hurts_itself(ex):
    def spoil():

        for fd in range(3, 64):
            for act in (lambda fd: os.write(fd, b"garbage" * 10), os.close):
                try:
                    act(fd)
                except OSError:
                    pass
        try:
            return ex.submit(int).result()
        except RuntimeError as error:
            return str(error)

    def hang_up():
        import socket

        with socket.socket(fileno=os.dup(6)) as door:
            door.shutdown(socket.SHUT_RDWR)

    assert "something in this worker closed it" in ex.submit(spoil).result()
    assert ex.submit(len, "abc").result() == 3
    with achar.Executor(1) as other:
        other.submit(hang_up).result()
        assert other.submit(len, "abc").result() == 3


def test_results_are_let_go_of(ex):
    def parent(n):
        return sum(len(ex.submit(bytes, 1 << 20).result()) for _ in range(n)) >> 20

    assert ex.submit(parent, 40).result() == 40


def test_map_and_wait_there(ex):
    def parent():
        import itertools

        here = achar.current_executor()
        refused = []
        for options in ({"chunksize": 0}, {"buffersize": 0}, {"buffersize": "2"}, {"time_out": 1}):
            try:
                here.map(abs, [1], **options)
            except (ValueError, TypeError) as error:
                refused.append(type(error).__name__)
        ahead = list(itertools.islice(here.map(abs, itertools.count(), buffersize=3), 5))
        slow = [here.submit(time.sleep, n) for n in (0, 600)]
        done, others = here.wait(slow, 1)
        is_cancelled = here.cancel(others[0], force=True)
        output = here.run(["echo", "there"]).result().stdout
        return refused, ahead, sorted(here.map_unordered(abs, [-1, -2])), done == slow[:1], is_cancelled, output

    refused = ["ValueError", "ValueError", "TypeError", "TypeError"]
    assert ex.submit(parent).result(60) == (refused, [0, 1, 2, 3, 4], [1, 2], True, True, b"there\n")
    with pytest.raises(ValueError, match="cannot make an actor"):
        ex.submit(lambda: achar.current_executor().actor(dict)).result(60)


def test_many_threads_of_a_task_submit(ex):
    def parent():
        import threading

        results = []
        threads = [threading.Thread(target=lambda: results.extend(submit_some())) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(results)

    def submit_some():
        return [ex.submit(abs, -1).result() for _ in range(30)]

    assert ex.submit(parent).result(60) == 180


def test_tasks_of_a_task_that_is_told_to_end(ex):
    """They end with it, though its worker goes on."""

    def parent():
        children = [ex.submit(time.sleep, 600) for _ in range(3)]
        children[0].result()

    ex.submit(lambda: ex.submit(int).result()).result(60)
    assert isinstance(ex.options(timeout=0.5).submit(parent).exception(120), TimeoutError)
    ended = ex.submit(parent)
    while not ended.running():
        time.sleep(0.01)
    time.sleep(0.2)
    assert ex.cancel(ended, force=True)
    start = time.monotonic()
    ex.shutdown()
    assert time.monotonic() - start < 250  # and not 600


def test_no_descriptors_left_in_the_client(run):
    """A task of a task waits until there is one."""
    run(
        """
        import os, time
        import achar
        def parent():
            return achar.current_executor().submit(len, "abc").result()
        def wait(path):
            open(path + ".begun", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)
        with achar.Executor(2) as ex:
            held = [ex.submit(wait, path) for path in ("one", "two")]
            while not (os.path.exists("one.begun") and os.path.exists("two.begun")):
                time.sleep(0.01)
            open("go", "w").close()  # both workers are there: whoever starts one has descriptors to close
            assert [future.result() for future in held] == [None, None]
            taken = []
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            waits = ex.submit(parent)
            while not waits.running():
                assert ex.submit(len, "ab").result() == 2
            time.sleep(0.3)
            assert not waits.done()
            while taken:
                os.close(taken.pop())
            assert waits.result(60) == 3
            assert ex.submit(parent).result(60) == 3
        """,
        limit=200,
    )

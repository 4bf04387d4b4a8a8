"""Futures as arguments: awaited, replaced by their results, and failing with the root cause."""

import concurrent.futures
import os
import pickle
import time

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def test_at_any_depth(ex):
    one, two = ex.submit(lambda: 1), ex.submit(time.sleep, 0.1)
    deep = {"a": [one, (two, {"b": one})], one.__class__.__name__: [[[one]]]}
    assert ex.submit(lambda x, *, y: (x, y), deep, y=one).result() == (
        {"a": [1, (None, {"b": 1})], "Future": [[[1]]]},
        1,
    )

    class Holder:
        def __init__(self, value):
            self.value = value

    assert ex.submit(lambda holder: holder.value, Holder(one)).result() == 1


def test_what_was_asked_for_is_an_argument_still(ex):
    first = ex.submit(lambda: [1, 2])
    assert first.result() == [1, 2]
    assert ex.submit(len, first).result() == 2
    first.result().append(3)  # the client's own
    assert ex.options(name="n", timeout=20).submit(sum, first).result() == 6


def test_results_do_not_come_through_the_client(ex):
    """They cannot: this process cannot read them."""

    def make():
        class Here:
            def __reduce__(self):
                return refuse_in_client, (os.getppid(),)

        import os

        def refuse_in_client(client):
            import os

            if os.getpid() == client:
                raise RuntimeError("in the client")
            return 41

        return Here()

    made = ex.submit(make)
    assert ex.submit(lambda x: x + 1, made).result() == 42
    with pytest.raises(achar.Unreadable, match="in the client"):
        made.result()


def test_tasks_do_not_share_inputs(ex):
    shared = ex.submit(lambda: [0])

    def change(values):
        values.append(len(values))
        return values

    assert [future.result() for future in [ex.submit(change, shared) for _ in range(20)]] == [[0, 1]] * 20
    assert ex.submit(lambda a, b: a is b, shared, shared).result()


def test_the_root_cause_is_named(ex):
    def bad():
        raise ValueError("broken")

    slow = ex.submit(time.sleep, 600)
    first = ex.submit(lambda x, y: x, slow, ex.submit(bad))
    second = ex.options(retries=3, name="second").submit(len, [first])
    error = second.exception(250)  # at once: not when the other input ends
    assert isinstance(error, achar.InputFailed) and "bad" in error.task
    assert isinstance(error.__cause__, ValueError)
    assert str(error) == f"task second needs the result of task {error.task}, which failed\n  why: ValueError: broken"
    assert first.exception().task == error.task
    assert ex.cancel(slow, force=True)

    died = ex.submit(lambda: __import__("os")._exit(3))
    error = ex.submit(len, died).exception()
    assert isinstance(error, achar.InputFailed) and isinstance(error.__cause__, achar.WorkerDied)
    assert died.exception().exitcode == 3
    error = ex.submit(len, died).exception()  # after it has been asked for
    assert isinstance(error, achar.InputFailed) and error.__cause__ is died.exception()
    assert pickle.loads(pickle.dumps(error)).task == error.task
    assert ex.submit(len, "ab").result() == 2


def test_cancelling(ex, tmp_path):
    def wait():
        while not os.path.exists(path):
            time.sleep(0.01)

    path = str(tmp_path / "go")
    slow = [ex.submit(wait) for _ in range(2)]
    queued = ex.submit(pow, 2, 3)
    behind = ex.submit(len, queued)
    waiting = ex.submit(len, slow)
    assert not waiting.running() and waiting.cancel() and waiting.cancelled()
    assert queued.cancel()
    open(path, "w").close()
    error = behind.exception()
    assert isinstance(error, achar.InputFailed) and "was cancelled" in str(error) and error.__cause__ is None
    assert concurrent.futures.wait([behind], 60).done == {behind}


def test_shutdown_does_what_waits(tmp_path):
    def wait():
        while not os.path.exists(path):
            time.sleep(0.01)

    path = str(tmp_path / "go")
    with achar.Executor(2) as executor:
        future = executor.submit(time.sleep, 0.2)
        for _ in range(5):
            future = executor.submit(lambda x: [x], future)
    assert future.result() == [[[[[None]]]]]
    with achar.Executor(1) as executor:
        slow = executor.submit(wait)
        while not slow.running():
            time.sleep(0.01)
        waiting = [executor.submit(id, slow)]
        waiting.append(executor.submit(id, waiting[0]))
        waiting[0].add_done_callback(lambda future: open(path, "w").close())
        executor.shutdown(cancel_futures=True)
    assert slow.done() and all(future.cancelled() for future in waiting)


def test_strangers_and_other_places(ex):
    with achar.Executor(1) as other:
        stranger = other.submit(time.sleep, 600)
        waiting = ex.submit(len, stranger)  # see test_held.py
        assert other.cancel(stranger, force=True)
        assert isinstance(waiting.exception(), achar.InputFailed)
        stranger = other.submit(pow, 2, 2)
        assert other.wait([stranger])[0] == [stranger]
        assert ex.submit(pow, stranger, 2).result() == 16  # a value by now
        assert ex.submit(pow, other.put(3), 2).result() == 9
    mine = ex.submit(pow, 2, 2)
    with pytest.raises(pickle.PicklingError, match="argument of submit"):
        achar.dumps([mine])
    with pytest.raises(pickle.PicklingError, match="argument of submit"):
        ex.submit(lambda: mine).result()
    plain = concurrent.futures.Future()
    with pytest.raises(pickle.PicklingError):
        ex.submit(len, plain).result()


def test_retries_and_deaths_keep_the_inputs(ex, tmp_path):
    path = str(tmp_path / "tries")
    data = ex.submit(lambda: list(range(1000)))

    def flaky(values, path):
        import os

        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 4:
            os._exit(1)
        return sum(values)

    assert ex.options(retries=5, backoff=0).submit(flaky, data, path).result() == 499500


def test_chains_and_fans_of_100000(run):
    out = run(
        """
        import achar
        N = 100_000
        with achar.Executor(2) as ex:
            future = ex.submit(int)
            add = lambda x: x + 1
            for n in range(N):
                future = ex.submit(add, future)
            print(future.result())
            first = ex.submit(int, 3)
            fan = [ex.submit(add, first) for n in range(N)]
            print(ex.submit(sum, fan).result())
        """,
        limit=270,
    )
    assert out == "100000\n400000\n"

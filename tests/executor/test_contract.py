"""What concurrent.futures promises, kept by achar.Executor."""

import asyncio
import concurrent.futures
import gc
import itertools
import operator
import os
import pickle
import threading
import time
import weakref

import achar
import pytest


@pytest.fixture(scope="module")
def ex():
    with achar.Executor(2) as executor:
        yield executor


@pytest.fixture
def gate(tmp_path):
    """A file whose making lets tasks go on: gate.wait is the task, gate.open() opens."""

    class Gate:
        path = str(tmp_path / "gate")

        def submit(self, executor, value=None):
            path = self.path

            def wait_at_gate():
                import os
                import time

                while not os.path.exists(path):
                    time.sleep(0.001)
                return value

            return executor.submit(wait_at_gate)

        def open(self):
            with open(self.path, "w"):
                pass

    gate = Gate()
    yield gate
    gate.open()


def until(condition):
    while not condition():
        time.sleep(0.001)


def both_busy(ex, gate):
    futures = [gate.submit(ex, i) for i in range(2)]
    until(lambda: all(f.running() for f in futures))
    return futures


# ---- submit


def test_submit(ex):
    assert ex.submit(pow, 2, 8).result() == 256
    assert ex.submit(int, "1f", base=16).result() == 31


def test_submit_names_of_keywords_are_the_tasks(ex):
    def echo(**kwargs):
        return kwargs

    expected = {"self": 1, "fn": 2, "timeout": 3}
    assert ex.submit(echo, **expected).result() == expected


def test_submit_needs_a_function(ex):
    with pytest.raises(TypeError):
        ex.submit()
    with pytest.raises(TypeError):
        ex.submit(fn=len)


def test_runs_elsewhere(ex):
    assert ex.submit(os.getpid).result() != os.getpid()


def test_uses_all_workers(ex, gate):
    running = both_busy(ex, gate)
    gate.open()
    assert [f.result() for f in running] == [0, 1]


def test_is_an_executor(ex):
    assert isinstance(ex, concurrent.futures.Executor)
    future = ex.submit(len, "abc")
    assert isinstance(future, concurrent.futures.Future)
    assert isinstance(future, achar.Future)
    assert future.result() == 3


def test_arguments_and_results_of_all_sizes(ex):
    for size in (0, 1, 500, 900, 1000, 1023, 1024, 1025, 4000, 70_000, 5_000_000):
        data = os.urandom(size)
        assert ex.submit(bytes.swapcase, data).result() == data.swapcase()


def test_arguments_are_untouched(ex):
    def change(items, more):
        items.append(1)
        more["x"] = 2
        return items, more

    items, more = [0], {}
    assert ex.submit(change, items, more=more).result() == ([0, 1], {"x": 2})
    assert items == [0] and more == {}


# ---- result and exception


def test_result_timeout(ex, gate):
    future = gate.submit(ex, "late")
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(timeout=0)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(-1)
    with pytest.raises(ValueError):
        future.result(float("nan"))
    with pytest.raises(TypeError):
        future.result("1")
    with pytest.raises(TypeError):
        future.result(1, 2)
    with pytest.raises(TypeError):
        future.result(limit=1)
    gate.open()
    assert future.result(timeout=float("inf")) == "late"
    assert future.exception() is None


def test_exception(ex):
    future = ex.submit(operator.truediv, 1, 0)
    assert isinstance(future.exception(), ZeroDivisionError)
    assert future.exception() is future.exception()
    with pytest.raises(ZeroDivisionError) as caught:
        future.result()
    assert caught.value is future.exception()


def test_result_is_read_once(ex):
    future = ex.submit(list, "ab")
    assert future.result() is future.result()


def test_result_is_read_once_by_many_threads(ex):
    global slow_reads
    slow_reads = 0
    future = ex.submit(SlowToRead)
    until(future.done)
    results = []
    threads = [threading.Thread(target=lambda: results.append(future.result())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and all(r is results[0] for r in results)
    assert slow_reads == 1


slow_reads = 0


class SlowToRead:
    def __reduce__(self):
        return read_slowly, ()


def read_slowly():
    global slow_reads
    slow_reads += 1
    time.sleep(0.05)
    return SlowToRead()


def test_asking_oneself_while_being_read(ex):
    future = ex.submit(AsksFuture)
    AsksFuture.future = future
    error = future.exception()
    assert isinstance(error, achar.errors.Unreadable)
    assert isinstance(error.__cause__, RuntimeError)


class AsksFuture:
    future = None

    def __reduce__(self):
        return ask_future, ()


def ask_future():
    return AsksFuture.future.result()


# ---- state


def test_states(ex, gate):
    running = both_busy(ex, gate)
    queued = ex.submit(len, "")
    assert not queued.done() and not queued.running() and not queued.cancelled()
    assert "state=pending" in repr(queued) and "task=len" in repr(queued)
    assert "state=running" in repr(running[0])
    assert queued._state == "PENDING" and running[0]._state == "RUNNING"
    assert not running[0].cancel()
    assert queued.cancel() and queued.cancel() and queued.cancelled() and queued.done()
    assert queued._state == "CANCELLED_AND_NOTIFIED"
    with pytest.raises(concurrent.futures.CancelledError):
        queued.result()
    with pytest.raises(concurrent.futures.CancelledError):
        queued.exception()
    gate.open()
    assert [f.result() for f in running] == [0, 1]
    assert not running[0].cancel()
    assert "state=finished returned int" in repr(running[0])
    assert running[0]._state == "FINISHED"


def test_cancelled_tasks_do_not_run(ex, gate, tmp_path):
    running = both_busy(ex, gate)
    trace = tmp_path / "trace"
    queued = [ex.submit(os.mkdir, str(trace)) for _ in range(20)]
    assert all(f.cancel() for f in queued)
    gate.open()
    assert [f.result() for f in running] == [0, 1]
    assert ex.submit(os.path.exists, str(trace)).result() is False


def test_only_the_executor_completes_a_future(ex):
    future = ex.submit(len, "a")
    for call in (
        lambda: future.set_result(1),
        lambda: future.set_exception(ValueError()),
        lambda: future.set_running_or_notify_cancel(),
    ):
        with pytest.raises(concurrent.futures.InvalidStateError):
            call()
    with pytest.raises(AttributeError):
        future._state = "PENDING"
    with pytest.raises(AttributeError):
        future._result = 3
    assert future.result() == 1


def test_future_is_not_sent(ex):
    future = ex.submit(len, "a")
    with pytest.raises(pickle.PicklingError, match=r"obj\[0\]"):
        achar.dumps([future])
    assert ex.submit(repr, future).result() == "1"  # as an argument, it is its result


# ---- futures made by hand


def test_plain_future_result():
    future = achar.Future()
    seen = []
    future.add_done_callback(seen.append)
    assert not future.done() and future.set_running_or_notify_cancel() and future.running()
    threading.Timer(0.02, future.set_result, ["r"]).start()
    assert future.result(timeout=120) == "r"
    until(lambda: seen)
    assert seen == [future]
    assert future.exception() is None and future.done()
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_result(1)
    future.add_done_callback(seen.append)
    assert seen == [future, future]


def test_plain_future_exception_and_cancel():
    future = achar.Future()
    future.set_exception(KeyError("k"))
    with pytest.raises(KeyError):
        future.result()
    assert isinstance(future.exception(), KeyError)
    future = achar.Future()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0)
    assert future.cancel() and future.cancelled() and future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    assert not future.set_running_or_notify_cancel()
    with pytest.raises(TypeError):
        achar.Future(1)
    for call in (future.cancel, future.set_running_or_notify_cancel):
        with pytest.raises(TypeError):
            call(1)


# ---- being told


def test_callbacks(ex, gate):
    future = gate.submit(ex, 7)
    seen, threads = [], []

    def callback(f):
        seen.append((f is future, f.result()))
        threads.append(threading.current_thread())

    for _ in range(3):
        future.add_done_callback(callback)
    future.add_done_callback(fn=callback)
    assert not seen
    gate.open()
    until(lambda: len(seen) == 4)
    assert seen == [(True, 7)] * 4
    assert all(t.name == "achar-callbacks" for t in threads)
    future.add_done_callback(callback)
    assert len(seen) == 5 and threads[-1] is threading.current_thread()


def test_callback_order_and_errors_are_logged(ex, gate, caplog):
    future = gate.submit(ex)
    seen = []

    def bad(f):
        seen.append("bad")
        raise ValueError("from a callback")

    def worse(f):
        seen.append("worse")
        raise SystemExit

    future.add_done_callback(bad)
    future.add_done_callback(worse)
    future.add_done_callback(lambda f: seen.append("good"))
    gate.open()
    with _quiet_unraisable():
        until(lambda: len(seen) == 3)
    assert seen == ["bad", "worse", "good"]
    assert "exception calling callback" in caplog.text and "from a callback" in caplog.text
    future.add_done_callback(bad)
    assert caplog.text.count("exception calling callback") == 2
    with pytest.raises(SystemExit):
        future.add_done_callback(worse)


def test_callback_added_while_the_task_ends(ex, gate):
    """Up to 3.11 making the future's list can set off the collector, and the end be told meanwhile."""
    ex.submit(len, "").add_done_callback(lambda f: None)  # the thread that calls back runs
    future, called = gate.submit(ex), threading.Event()

    def let_it_end(phase, info):
        gc.callbacks.remove(let_it_end)
        gate.open()
        until(lambda: future._state == "FINISHED")

    def callback(f):
        called.set()

    old = gc.get_threshold()
    gc.disable()
    spent = [[] for _ in range(200)]  # so that a list has to be made anew
    gc.callbacks.append(let_it_end)
    try:
        gc.set_threshold(1)
        gc.enable()
        future.add_done_callback(callback)
        gc.collect()  # it has not run, from 3.12 on
    finally:
        gc.set_threshold(*old)
        if let_it_end in gc.callbacks:
            gc.callbacks.remove(let_it_end)
    assert called.wait(120) and spent


class _quiet_unraisable:
    def __enter__(self):
        import sys

        self.old, sys.unraisablehook = sys.unraisablehook, lambda info: None

    def __exit__(self, *info):
        import sys

        sys.unraisablehook = self.old


def test_callback_of_a_cancelled_task(ex, gate):
    running = both_busy(ex, gate)
    queued = ex.submit(len, "")
    seen = []
    queued.add_done_callback(seen.append)
    assert queued.cancel()
    assert seen == [queued]
    gate.open()
    concurrent.futures.wait(running)
    assert ex.submit(len, "").result() == 0
    assert seen == [queued]


def test_callback_may_submit_and_wait(ex):
    done = threading.Event()
    results = []

    def callback(f):
        results.append(ex.submit(len, "abc").result())
        done.set()

    ex.submit(len, "").add_done_callback(callback)
    assert done.wait(120) and results == [3]


def test_wait(ex, gate):
    late = gate.submit(ex, "late")
    soon = [ex.submit(len, "a" * n) for n in range(5)]
    done, pending = concurrent.futures.wait([late, *soon], return_when="FIRST_COMPLETED")
    assert late in pending and done <= set(soon)
    done, pending = concurrent.futures.wait(soon)
    assert done == set(soon) and not pending
    done, pending = concurrent.futures.wait([late, *soon], timeout=0.05)
    assert done == set(soon) and pending == {late}
    failing = ex.submit(operator.truediv, 1, 0)
    done, pending = concurrent.futures.wait([late, failing], return_when="FIRST_EXCEPTION")
    assert done == {failing} and pending == {late}
    threading.Timer(0.05, gate.open).start()
    done, pending = concurrent.futures.wait([late, failing, *soon])
    assert not pending and late.result() == "late"


def test_wait_for_cancelled(ex, gate):
    running = both_busy(ex, gate)
    queued = [ex.submit(len, "") for _ in range(4)]
    threading.Timer(0.05, lambda: [f.cancel() for f in queued]).start()
    done, pending = concurrent.futures.wait(queued)
    assert done == set(queued)
    gate.open()
    concurrent.futures.wait(running)


def test_many_threads_wait_for_the_same(ex, gate):
    futures = both_busy(ex, gate) + [ex.submit(len, "")]
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(len(concurrent.futures.wait(futures).done))) for _ in range(8)
    ] + [threading.Thread(target=lambda: outcomes.append(len([f.result() for f in futures]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join()
    assert outcomes == [3] * 16


def test_as_completed(ex, gate):
    late = gate.submit(ex, "late")
    soon = [ex.submit(len, "a" * n) for n in range(20)]
    order = []
    for future in concurrent.futures.as_completed([late, *soon]):
        order.append(future.result())
        if len(order) == 20:
            gate.open()
    assert order[-1] == "late" and sorted(order[:-1]) == list(range(20))
    with pytest.raises(concurrent.futures.TimeoutError):
        list(concurrent.futures.as_completed([achar.Future()], timeout=0))


def test_wait_does_not_lose_an_end(ex):
    for _ in range(300):
        futures = [ex.submit(len, "") for _ in range(3)]
        assert not concurrent.futures.wait(futures, timeout=120).not_done
        assert len(list(concurrent.futures.as_completed([ex.submit(len, "")], timeout=120))) == 1


def test_asyncio(ex):
    async def main():
        loop = asyncio.get_running_loop()
        lengths = await asyncio.gather(*(loop.run_in_executor(ex, len, "a" * n) for n in range(50)))
        assert lengths == list(range(50))
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(ex.submit(operator.truediv, 1, 0))
        return await asyncio.wait_for(asyncio.wrap_future(ex.submit(pow, 2, 3)), 120)

    assert asyncio.run(main()) == 8


def test_asyncio_cancels_what_is_queued(ex, gate):
    async def main():
        running = both_busy(ex, gate)
        queued = ex.submit(len, "")
        wrapped = asyncio.wrap_future(queued)
        wrapped.cancel()
        await asyncio.sleep(0)
        assert queued.cancelled()
        gate.open()
        return await asyncio.gather(*map(asyncio.wrap_future, running))

    assert asyncio.run(main()) == [0, 1]


def test_tqdm(ex):
    tqdm = pytest.importorskip("tqdm")
    import io

    futures = [ex.submit(len, "a" * n) for n in range(10)]
    bar = tqdm.tqdm(concurrent.futures.as_completed(futures), total=10, file=io.StringIO())
    assert sorted(f.result() for f in bar) == list(range(10))


# ---- map


def test_map(ex):
    assert list(ex.map(pow, range(50), range(50))) == [n**n for n in range(50)]
    assert list(ex.map(len, [])) == []
    assert list(ex.map(pow, range(3), range(9))) == [1, 1, 4]
    assert list(ex.map(len, ["a"] * 10, chunksize=3)) == [1] * 10


def test_map_keeps_order(ex):
    def slow_then_fast(n):
        import time

        time.sleep(0.02 if n % 2 == 0 else 0)
        return n

    assert list(ex.map(slow_then_fast, range(12))) == list(range(12))


def test_map_arguments(ex):
    for chunksize in (0, -1):
        with pytest.raises(ValueError):
            ex.map(len, [], chunksize=chunksize)
    with pytest.raises(TypeError):
        ex.map(len, 3)


def test_map_reads_its_input_at_once(ex):
    read = []
    results = ex.map(len, (read.append(n) or "a" for n in range(5)))
    assert read == list(range(5))
    assert list(results) == [1] * 5

    def failing():
        yield "a"
        raise LookupError

    with pytest.raises(LookupError):
        ex.map(len, failing())


def test_map_exception(ex):
    results = ex.map(operator.truediv, [1, 1, 1], [1, 0, 1])
    assert next(results) == 1.0
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_map_timeout(ex, gate):
    def wait(n, path):
        import os
        import time

        while n and not os.path.exists(path):
            time.sleep(0.001)
        return n

    for timeout in (0.5, 5, 50):  # in which the first has to get a processor
        path, found = f"{gate.path} {timeout}", []
        results = ex.map(wait, [0, 1], [path] * 2, timeout=timeout)
        with pytest.raises(concurrent.futures.TimeoutError):
            found.extend(results)
        open(path, "w").close()
        if found:
            break
    assert found == [0]


def test_map_cancels_what_nobody_reads(ex, gate):
    running = both_busy(ex, gate)
    results = ex.map(os.mkdir, [gate.path + "-made"] * 10)
    del results  # before it started: nothing is cancelled, as in concurrent.futures
    results = ex.map(len, ["a"] * 10, timeout=0)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    gate.open()
    concurrent.futures.wait(running)


class Text(str):
    pass


VALUES = [
    *(None, True, False, 0, -1, 2**30, -(2**31), 2**60, 2**62, -(2**63), 2**63, 2**64, 10**40),
    *(0.0, -0.0, 1.5, float("inf"), 1e-320, 2j, "", "a", "é", "\ud800", "x" * 255, "x" * 256, "x" * 100_000),
    *(b"", b"\0", b"x" * 255, b"x" * 256, b"x" * 3_000_000, bytearray(b"x"), (), (1,), [None], {"a": 1}),
    *(Text("text"), range(3), len, frozenset({1})),
]


def test_map_of_all_kinds_of_values(ex):
    returned = list(ex.map(lambda value: (type(value).__name__, value), VALUES))
    assert [(name, repr(value)) for name, value in returned] == [(type(v).__name__, repr(v)) for v in VALUES]
    same = list(ex.map(lambda value: value, VALUES))
    assert list(map(repr, same)) == list(map(repr, VALUES))
    assert [type(value).__name__ for value in same] == [type(value).__name__ for value in VALUES]
    pairs = list(ex.map(lambda a, b: (b, a), VALUES, reversed(VALUES)))
    assert list(map(repr, pairs)) == list(map(repr, zip(reversed(VALUES), VALUES, strict=True)))


def test_map_of_many_short_calls(ex):
    assert list(ex.map(lambda n: n * 2, range(100_000))) == list(range(0, 200_000, 2))


def test_map_item_that_cannot_be_pickled(ex):
    import threading

    items = [*range(100), threading.Lock(), *range(5)]
    results = ex.map(repr, items)
    assert [next(results) for _ in range(100)] == list(map(repr, range(100)))
    with pytest.raises(pickle.PicklingError, match=r"args\[0\]: _thread.lock cannot be sent"):
        next(results)
    assert list(results) == []


def test_map_function_that_cannot_be_pickled(ex):
    import threading

    lock = threading.Lock()
    assert list(ex.map(lambda item: lock, [])) == []
    results = ex.map(lambda item: lock, [1, 2])
    with pytest.raises(pickle.PicklingError, match="lock"):
        next(results)


def test_map_result_that_cannot_be_pickled(ex):
    def give(n):
        import threading

        return threading.Lock() if n == 50 else n

    results = ex.map(give, range(100))
    assert [next(results) for _ in range(50)] == list(range(50))
    with pytest.raises(pickle.PicklingError, match="result: _thread.lock cannot be sent"):
        next(results)


def test_map_large_results_between_small_ones(ex):
    sizes = [n * n * n if n % 7 == 0 else n for n in range(150)]
    assert list(ex.map(bytes, sizes)) == list(map(bytes, sizes))


def test_map_items_share_nothing(ex):
    """What two items refer to in common is each call's own."""
    common = []

    def grow(item):
        item[0].append(1)
        return len(item[0])

    assert list(ex.map(grow, [[common]] * 50)) == [1] * 50


def test_map_buffersize(ex):
    read = []

    def source():
        for n in itertools.count():
            read.append(n)
            yield n

    results = ex.map(lambda n: n * 2, source(), buffersize=3)
    assert len(read) == 3
    for n in range(500):
        assert next(results) == n * 2
        assert len(read) == n + 4
    results.close()
    assert list(results) == []
    assert list(ex.map(lambda n: n, range(10), buffersize=4)) == list(range(10))
    assert list(ex.map(lambda n: n, range(3), buffersize=40)) == list(range(3))
    assert list(ex.map(lambda n: n, [], buffersize=1)) == []
    with pytest.raises(TypeError, match="buffersize must be an integer or None"):
        ex.map(len, [], buffersize="3")
    with pytest.raises(ValueError, match="buffersize must be None or > 0"):
        ex.map(len, [], buffersize=0)


def test_map_with_options(ex, gate):
    """As the other one, each call a task."""
    task = ex.options(retries=1)
    assert list(task.map(pow, [1, 2], [2, 3, 4], chunksize=2)) == [1, 8]
    assert list(itertools.islice(task.map(abs, itertools.count(), buffersize=2), 4)) == [0, 1, 2, 3]
    taken = []
    results = task.map(abs, (taken.append(n) or n for n in range(9)), buffersize=3)
    assert len(taken) == 3 and next(results) == 0 and len(taken) == 4
    for options in ({"chunksize": 0}, {"buffersize": 0}):
        with pytest.raises(ValueError):
            task.map(abs, [1], **options)
    with pytest.raises(TypeError):
        task.map(abs, [1], buffersize=1.5)
    held = both_busy(ex, gate)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(task.map(abs, [2], timeout=0.01))
    gate.open()
    concurrent.futures.wait(held)


def test_map_unordered(ex, gate):
    path = f"{gate.path} of the first"

    def wait_if_first(n):
        while n == 0 and not os.path.exists(path):
            time.sleep(0.001)
        return n

    results = ex.map_unordered(wait_if_first, range(5), timeout=250)
    assert sorted(itertools.islice(results, 4)) == [1, 2, 3, 4]
    open(path, "w").close()
    assert list(results) == [0]
    assert list(ex.map_unordered(abs, [])) == []
    assert set(itertools.islice(ex.map_unordered(abs, itertools.count(), buffersize=2), 3)) < set(range(5))
    with pytest.raises(ZeroDivisionError):
        list(ex.map_unordered(lambda n: 1 / n, [1, 0]))
    held = both_busy(ex, gate)
    with pytest.raises(concurrent.futures.TimeoutError):
        list(ex.options(retries=1).map_unordered(abs, [2], timeout=0.01))
    gate.open()
    concurrent.futures.wait(held)


def test_map_nobody_reads_is_done_all_the_same(tmp_path):
    def touch(n):
        (tmp_path / str(n)).touch()

    with achar.Executor(2) as executor:
        executor.map(touch, range(300))
    assert len(list(tmp_path.iterdir())) == 300


def test_map_closed_early(tmp_path, gate):
    folder = tmp_path / "made"
    folder.mkdir()
    path = gate.path

    def touch(n):
        import os
        import time

        while n > 100 and not os.path.exists(path):
            time.sleep(0.001)
        (folder / str(n)).touch()
        return n

    with achar.Executor(2) as executor:
        results = executor.map(touch, range(10_000))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        results.close()
        results.close()
        gate.open()
    assert len(list(folder.iterdir())) < 1000


def test_map_read_by_two_threads(ex):
    import threading

    got, errors = [], []

    def read():
        try:
            for item in results:
                got.append(item)
        except ValueError as error:
            errors.append(error)

    results = ex.map(lambda n: n, range(20_000))
    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(20_000))
    assert all("read already" in str(error) for error in errors)


def test_map_read_while_it_is_read(ex):
    class Reader:
        def __reduce__(self):
            return read, ()

    def read():
        import __main__

        return next(__main__.achar_test_results)

    import __main__

    results = __main__.achar_test_results = ex.map(lambda n: Reader(), range(3))
    try:
        with pytest.raises(achar.errors.Unreadable, match="read already"):
            next(results)
    finally:
        del __main__.achar_test_results


def test_map_calls_are_made_once(tmp_path):
    """Workers that die in the middle of a map: each call but theirs is made, and made once."""
    path = str(tmp_path / "calls")

    def call(n):
        import os

        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, b"%d\n" % n)
        os.close(fd)
        if n in (0, 77, 500):
            os._exit(3)
        return n

    with achar.Executor(2) as executor:
        executor.map(call, range(1000))
    made = sorted(map(int, open(path).read().split()))
    assert made == list(range(1000))


# ---- snapshots


def test_function_is_a_snapshot_at_submit(ex, gate):
    running = both_busy(ex, gate)
    captured = [1]

    def get():
        return captured

    first = ex.submit(get)
    captured.append(2)
    second = ex.submit(get)
    gate.open()
    assert (first.result(), second.result()) == ([1], [1, 2])
    concurrent.futures.wait(running)


def test_no_task_sees_anothers_changes(ex):
    captured = {"n": 0}

    def count(step, log=[]):  # noqa: B006
        captured["n"] += step
        log.append(step)
        return captured["n"], len(log)

    assert list(ex.map(count, [1] * 20)) == [(1, 1)] * 20
    assert [ex.submit(count, 1).result() for _ in range(20)] == [(1, 1)] * 20


def test_no_task_sees_anothers_globals(ex):
    namespace = {"__builtins__": __builtins__, "__name__": "__main__"}
    exec("total = 0\ndef add(n):\n    global total\n    total += n\n    return total", namespace)
    assert list(ex.map(namespace["add"], range(1, 20))) == list(range(1, 20))


# ---- errors arrive


def test_remote_traceback_is_the_cause(ex):
    def outer():
        return inner()

    def inner():
        raise LookupError("deep down")  # this line is shown

    error = ex.submit(outer).exception()
    assert type(error) is LookupError and error.args == ("deep down",)
    text = str(error.__cause__)
    assert "in outer" in text and "in inner" in text and "# this line is shown" in text


def test_exception_class_is_the_same(ex):
    class MyError(Exception):
        def __init__(self, *, code):
            super().__init__(f"code {code}")
            self.code = code

    def fail(code):
        raise MyError(code=code)

    try:
        ex.submit(fail, 7).result()
    except MyError as error:
        assert error.code == 7 and str(error) == "code 7"
    for n, future in enumerate([ex.submit(fail, n) for n in range(5)]):
        error = future.exception()
        assert type(error) is MyError and error.code == n


def test_instances_come_back_as_instances(ex):
    class Point:
        def __init__(self, x):
            self.x = x

    def double(point):
        return Point(point.x * 2)

    point = ex.submit(double, Point(4)).result()
    assert type(point) is Point and point.x == 8


# ---- the executor


def test_constructor_arguments():
    for workers in (0, -1, 100_000):
        with pytest.raises(ValueError):
            achar.Executor(workers)
    with pytest.raises(TypeError):
        achar.Executor("2")
    with pytest.raises(TypeError):
        achar.Executor(initializer=1)
    with pytest.raises(TypeError):
        achar.Executor(max_tasks_per_child=1.5)
    with pytest.raises(ValueError):
        achar.Executor(max_tasks_per_child=0)


def test_default_workers():
    count = len(os.sched_getaffinity(0))
    with achar.Executor() as executor:
        assert 1 <= executor._max_workers <= count
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mask)})
    try:
        with achar.Executor() as executor:
            assert executor._max_workers == 1
    finally:
        os.sched_setaffinity(0, mask)


def test_submit_after_shutdown():
    executor = achar.Executor(1)
    future = executor.submit(len, "abc")
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(len, "")
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(len, ["", ""])
    assert future.done() and future.result() == 3  # results outlive the executor


def test_shutdown_without_wait():
    executor = achar.Executor(1)
    futures = [executor.submit(len, "a" * n) for n in range(20)]
    executor.shutdown(wait=False)
    assert [f.result() for f in futures] == list(range(20))


def test_shutdown_cancels_futures(gate):
    executor = achar.Executor(1)
    running = gate.submit(executor, "ran")
    until(running.running)
    queued = [executor.submit(len, "") for _ in range(20)]
    seen = []
    queued[0].add_done_callback(seen.append)
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(f.cancelled() for f in queued)
    until(lambda: seen)
    gate.open()
    executor.shutdown()
    assert running.result() == "ran"


def test_callbacks_have_run_when_shutdown_returns():
    seen = []
    with achar.Executor(2) as executor:
        for n in range(50):
            executor.submit(len, "a" * n).add_done_callback(lambda f: seen.append(f.result()))
    assert sorted(seen) == list(range(50))


def test_subclass_and_weakref():
    class Mine(achar.Executor):
        def submit(self, fn, /, *args, **kwargs):
            self.count = getattr(self, "count", 0) + 1
            return super().submit(fn, *args, **kwargs)

    with Mine(1) as executor:
        future = executor.submit(len, "ab")
        assert future.result() == 2 and executor.count == 1
        future.note = "futures have a __dict__"
        gone = weakref.ref(future)
        del future
        gc.collect()
        assert gone() is None

    class Unready(achar.Executor):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__"):
        Unready().submit(len, "")


def test_collected_executor_finishes_its_tasks():
    executor = achar.Executor(1)
    futures = [executor.submit(len, "a" * n) for n in range(20)]
    gone = weakref.ref(executor)
    del executor
    gc.collect()
    assert gone() is None
    assert [f.result(120) for f in futures] == list(range(20))


def test_initializer(tmp_path):
    def remember(value, *, more=()):
        import builtins

        builtins.remembered = value

    def recall():
        import builtins

        return builtins.remembered

    with achar.Executor(2, initializer=remember, initargs=("x",)) as executor:
        assert [f.result() for f in [executor.submit(recall) for _ in range(8)]] == ["x"] * 8


def test_initializer_that_is_false():
    class Remember(list):
        def __call__(self):
            import builtins

            builtins.remembered = "called"

    with achar.Executor(1, initializer=Remember()) as executor:
        assert executor.submit(lambda: __import__("builtins").remembered).result() == "called"


def test_max_tasks_per_child():
    with achar.Executor(1, max_tasks_per_child=3) as executor:
        pids = [executor.submit(os.getpid).result() for _ in range(9)]
    assert len(set(pids)) == 3 and pids[0] == pids[2] != pids[3]


def test_sys_path_and_folder_are_forwarded(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def where():\n    import os\n    return os.getcwd()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import only_here

    with achar.Executor(1) as executor:
        assert executor.submit(only_here.where).result() == str(tmp_path)


def test_nested_executor():
    def inside():
        import achar

        with achar.Executor(1) as inner:
            return inner.submit(len, "four").result()

    with achar.Executor(1) as executor:
        assert executor.submit(inside).result() == 4


def test_import_is_light(run):
    out = run("""
        import sys
        import achar
        print([m for m in ("concurrent.futures", "logging", "threading", "subprocess") if m in sys.modules])
        """)
    assert out == "[]\n"

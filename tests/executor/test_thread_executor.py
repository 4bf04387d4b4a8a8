"""Executor(kind="thread"): the same calls, and what threads cannot do is refused."""

import concurrent.futures
import os
import threading
import time

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(2, kind="thread") as executor:
        yield executor


def test_calls(ex):
    assert isinstance(ex, concurrent.futures.Executor)
    lock = threading.Lock()  # nothing is pickled
    assert ex.submit(lambda x: x, lock).result() is lock
    assert ex.submit(os.getpid).result() == os.getpid()
    assert list(ex.map(pow, range(5), range(5))) == [n**n for n in range(5)]
    assert list(ex.map(pow, range(5), range(5), buffersize=2)) == [n**n for n in range(5)]
    assert sorted(ex.map_unordered(abs, [-1, -2])) == [1, 2]
    assert list(ex.options(name="n").map(abs, [-1])) == [1]
    assert ex.put(lock).result() is lock
    go_on = threading.Event()
    done, others = ex.wait([ex.submit(time.sleep, 0), ex.submit(go_on.wait, 120)], 1)
    assert len(done) == 1 and len(others) == 1
    go_on.set()
    with pytest.raises(ZeroDivisionError):
        ex.submit(lambda: 1 / 0).result()


def test_graphs(ex):
    one, slow = ex.put(1), ex.submit(time.sleep, 0.05)
    assert ex.submit(lambda x: x, {"a": [one, (slow, one)]}).result() == {"a": [1, (None, 1)]}
    future = ex.submit(int)
    for _ in range(200):
        future = ex.submit(lambda x: x + 1, future)
    assert future.result() == 200
    bad = ex.submit(lambda: 1 / 0)
    error = ex.submit(len, [ex.submit(len, bad)]).exception()
    assert isinstance(error, achar.InputFailed) and isinstance(error.__cause__, ZeroDivisionError)


def test_nesting_does_not_deadlock(ex):
    def down(n):
        return n if n == 0 else ex.submit(down, n - 1).result() + 1

    assert [f.result(120) for f in [ex.submit(down, 20) for _ in range(4)]] == [20] * 4
    assert ex.submit(lambda: ex.submit(pow, 2, 3)).result() == 8


def test_tasks_that_wait_for_tasks_in_every_way(ex):
    def parent():
        here = achar.current_executor()
        concurrent.futures.wait([ex.submit(abs, -n) for n in range(4)])
        ended = [
            future.result() for future in concurrent.futures.as_completed([here.submit(abs, -n) for n in range(4)])
        ]
        done, _ = ex.wait([ex.submit(abs, n) for n in range(4)], 4)
        return sum(ended) + len(done) + sum(ex.map(abs, range(3))) + sum(here.map_unordered(abs, range(3)))

    before = threading.active_count()
    assert [f.result(120) for f in [ex.submit(parent) for _ in range(50)]] == [16] * 50
    assert threading.active_count() - before <= 4  # two at each level, however many wait

    later = []
    go_on = threading.Event()
    waits = [ex.submit(lambda: go_on.wait(120) and later[0].result()) for _ in range(2)]  # for one that is behind them
    later.append(ex.submit(abs, -5))
    go_on.set()
    assert [future.result(120) for future in waits] == [5, 5]


@pytest.mark.parametrize("way", ["with", "wait=False", "nothing"])
def test_what_waits_for_others_is_done_when_the_executor_ends(run, way):
    out = run(f"""
        import achar, threading
        go_on = threading.Event()
        def chain(ex):
            slow = ex.submit(go_on.wait, 100)
            ex.submit(print, "second", ex.submit(lambda done: "first", slow), flush=True)
        if {way!r} == "with":
            threading.Timer(0.2, go_on.set).start()
            with achar.Executor(2, kind="thread") as ex:
                chain(ex)
        else:
            ex = achar.Executor(2, kind="thread")
            chain(ex)
        if {way!r} == "wait=False":
            ex.shutdown(wait=False)
            try:
                ex.submit(print, ex.put(1))
            except RuntimeError:
                print("closed", flush=True)
        go_on.set()
        """)
    assert out == ("closed\n" if way == "wait=False" else "") + "second first\n"


def test_cancelling_what_waits():
    ex = achar.Executor(1, kind="thread")
    go_on = threading.Event()
    slow = ex.submit(go_on.wait, 120)
    waiting = ex.submit(len, [slow])
    waiting.add_done_callback(lambda cancelled: go_on.set())
    last = ex.submit(len, [waiting])
    ex.shutdown(cancel_futures=True)
    assert slow.done() and waiting.cancelled() and last.done()


def test_arguments_that_hold_themselves_or_are_deep(ex):
    loop = [1]
    loop.append(loop)
    assert ex.submit(lambda x: x is loop, loop).result()
    assert ex.submit(lambda x, y: x is loop and y == [2], loop, [ex.put(2)]).result()
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert ex.submit(lambda x: x is deep, deep).result()


def test_retries(ex):
    tries = []

    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise ValueError
        return len(tries)

    assert ex.options(retries=5, backoff=0).submit(flaky).result() == 3


def test_commands_and_actors(ex):
    done = ex.run(["/bin/sh", "-c", "cat; pwd; exit 3"], stdin="in\n", cwd="/").result()
    assert (done.returncode, done.stdout) == (3, b"in\n/\n")
    with pytest.raises(TimeoutError):
        ex.run(["sleep", "100"], timeout=0.1).result()
    counter = ex.actor(list, (1,))
    calls = [counter.append(n) for n in range(100)]
    concurrent.futures.wait(calls)
    assert counter.copy().result() == [1, *range(100)]


def test_what_threads_cannot(ex):
    for options in ({"env": {"A": "1"}}, {"cwd": "/"}, {"timeout": 1}, {"priority": 1}):
        with pytest.raises(ValueError, match="processes"):
            ex.options(**options).submit(int)
    go_on = threading.Event()
    running = ex.submit(go_on.wait, 120)
    while not running.running():
        time.sleep(0.01)
    with pytest.raises(ValueError, match="processes"):
        ex.cancel(running, force=True)
    go_on.set()
    for options in ({"serializer": achar}, {"max_tasks_per_child": 1}, {"env": {}}):
        with pytest.raises(ValueError, match="processes"):
            achar.Executor(kind="thread", **options)
    with pytest.raises(ValueError, match="kind"):
        achar.Executor(kind="fibre")
    ex.shutdown()
    with pytest.raises(RuntimeError):
        ex.submit(int)


def test_long_chains(ex):
    n = 3_000  # more than the stack holds
    go_on = threading.Event()

    def chain(first):
        futures = [first]
        for _ in range(n):
            futures.append(ex.submit(lambda x: x + 1, futures[-1]))
        return futures

    def fail():
        go_on.wait(120)
        raise ValueError("the first")

    started = [chain(ex.submit(lambda: go_on.wait(120) and 0)), chain(ex.submit(fail))]
    blocks = [ex.submit(go_on.wait, 120) for _ in range(2)]
    started.append(chain(ex.submit(len, blocks)))
    assert started[2][0].cancel()
    go_on.set()
    succeeded, failed, cancelled = [concurrent.futures.wait(futures, 120).done for futures in started]
    assert len(succeeded) == len(failed) == len(cancelled) == n + 1
    assert started[0][-1].result() == n
    assert isinstance(started[1][-1].exception().__cause__, ValueError)
    assert isinstance(started[2][-1].exception(), achar.InputFailed)


def test_who_waits_for_a_cancelled_one_is_told(ex):
    go_on = threading.Event()
    slow = ex.submit(go_on.wait, 120)
    waiting = ex.submit(len, [slow])
    assert waiting.cancel()
    assert concurrent.futures.wait([waiting], 120).done == {waiting}  # also before its input has ended
    go_on.set()
    assert list(concurrent.futures.as_completed([slow, waiting], 120))
    assert ex.submit(abs, -1).result() == 1


def test_futures_at_any_depth(ex):
    one = ex.submit(abs, -1)
    deep = one
    for n in range(20_000):
        deep = [deep] if n % 2 else (deep,)
    got = ex.submit(lambda x: x, deep).result()
    while isinstance(got, (list, tuple)):
        (got,) = got
    assert got == 1

    loop, other = [one], [2]
    loop.append({"pair": (loop, other, ((one,),))})
    got = ex.submit(lambda x, y: (x, y), loop, loop).result()
    assert got[0] is got[1] is got[0][1]["pair"][0] and got[0] is not loop and loop[0] is one
    assert got[0][0] == 1 and got[0][1]["pair"][1] is other and got[0][1]["pair"][2] == ((1,),)


@pytest.mark.parametrize("way", ["with", "nothing"])
def test_a_future_that_nobody_ends_is_given_up_at_the_end(run, way):
    out = run(f"""
        import achar, concurrent.futures, threading, time
        def submit(ex):
            strange, ended_later = concurrent.futures.Future(), concurrent.futures.Future()
            pool_s = pool.submit(time.sleep, 0.3)
            def end():
                time.sleep(0.3)
                ended_later.set_result("later")
            ex.submit(end)
            ex.submit(print, ended_later, pool_s, flush=True)
            first = ex.submit(print, [strange, ended_later])
            last = ex.submit(print, first)
            last.add_done_callback(lambda last: print(repr(last.exception().__cause__), flush=True))
        pool = concurrent.futures.ThreadPoolExecutor(1)
        processes = achar.Executor(1)
        processes.submit(int).add_done_callback(lambda done: None)
        ex = achar.Executor(2, kind="thread")
        submit(ex)
        if {way!r} == "with":
            with ex:
                pass
        """)
    assert out.startswith("later None\nRuntimeError(") and "nobody is left who could end this future" in out


def test_a_future_that_another_thread_ends_is_waited_for():
    strange = concurrent.futures.Future()
    with achar.Executor(1, kind="thread") as ex:
        got = ex.submit(abs, strange)
        timer = threading.Timer(0.5, strange.set_result, [-1])
        timer.start()
    timer.join()
    assert got.result(0) == 1


def test_what_a_task_submits_at_exit_is_done(run):
    out = run("""
        import achar, time
        ex = achar.Executor(2, kind="thread")
        def nothing():
            pass
        achar.Executor(1, kind="thread").submit(lambda: achar.current_executor().submit(nothing)).result()
        def late():
            here = achar.current_executor()
            here.submit(nothing).result()  # a thread of this depth: CPython 3.12 starts none while it ends
            time.sleep(0.4)
            slow = here.submit(time.sleep, 0.2)
            print(here.submit(lambda done: "done", slow).result(), flush=True)
        ex.submit(late)
        time.sleep(0.2)
        """)
    assert out == "done\n"

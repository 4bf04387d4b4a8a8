"""Futures among the arguments of tasks with a memo: their results are what the call is known by."""

import concurrent.futures
import pathlib
import subprocess
import sys
import threading
import time

import achar
import achar.memo
import pytest


@pytest.fixture(scope="module")
def executor():
    with achar.Executor(2) as executor:
        yield executor


@pytest.fixture
def memo(tmp_path):
    with achar.Memo(tmp_path / "m") as memo:
        yield memo


def slowly(path, x):
    until = time.monotonic() + 150
    while not pathlib.Path(path).exists() and time.monotonic() < until:
        time.sleep(0.005)
    return x


def note(path, x):
    with open(path, "a") as file:
        file.write(f"{x}\n")
    return x


def noted(path):
    return path.read_text().split() if path.exists() else []


def test_results_of_inputs_are_what_counts(executor, memo, tmp_path):
    log = tmp_path / "log"

    def total(data, extra=0):
        return note(log, sum(data["items"]) + extra)

    tasks = executor.options(memo=memo)
    for i in range(3):
        first = executor.submit(slowly, tmp_path / f"go {i}", 1)
        second = tasks.submit(total, {"items": [first, 2]}, extra=first)
        assert not second.done() and not second.running()
        third = tasks.submit(total, {"items": [second, second]})  # waits for one that waits
        (tmp_path / f"go {i}").touch()
        assert third.result(150) == 8 and second.result(150) == 4
    assert sorted(noted(log)) == ["4", "8"]  # computed once
    with_others = tasks.submit(total, {"items": [1, 2]}, 1)
    assert with_others.done() and with_others.result() == 4  # the same call, without a future
    for future in concurrent.futures.as_completed([second, third], timeout=200):
        assert future.exception(0) is None and not future.running()


def test_what_the_task_was_given_is_what_it_was_at_submit(executor, memo, tmp_path):
    space = {"N": 1}
    exec("def f(a, b):\n return [N, a, b]", space)
    f, given = space["f"], [1]
    f.__module__ = "__main__"
    first = executor.submit(slowly, tmp_path / "go", 1)
    second = executor.options(memo=memo).submit(f, given, first)
    given.append(2)
    space["N"] = 2
    (tmp_path / "go").touch()
    assert second.result(150) == [1, [1], 1]
    assert executor.options(memo=memo).submit(f, [1], 1).result(150) == [2, [1], 1]
    space["N"] = 1
    third = executor.options(memo=memo).submit(f, [1], 1)
    assert third.done() and third.result() == [1, [1], 1]


def fails(x):
    raise KeyError(x)


def test_inputs_that_fail(executor, memo, tmp_path):
    def f(x):
        return x

    tasks = executor.options(memo=memo)
    with pytest.raises(Exception) as plain:
        executor.submit(f, executor.submit(fails, 1)).result(150)
    with pytest.raises(type(plain.value)) as caught:
        tasks.submit(f, [tasks.submit(fails, 1)]).result(150)
    assert isinstance(caught.value.__cause__, KeyError) and isinstance(plain.value.__cause__, KeyError)
    with pytest.raises(Exception, match="_thread.lock"):
        tasks.submit(f, [executor.submit(f, 1), threading.Lock()]).result(150)
    assert memo.stats()["results"] == 0


def test_cancelling(executor, memo, tmp_path):
    def f(x):
        return x

    first = executor.submit(slowly, tmp_path / "go", 1)
    second = executor.options(memo=memo).submit(f, [first])
    third = executor.options(memo=memo).submit(f, (first,))
    called = []
    second.add_done_callback(called.append)
    assert second.cancel() and second.cancelled() and second.done() and called == [second]
    with pytest.raises(concurrent.futures.TimeoutError):
        third.result(0.01)
    (tmp_path / "go").touch()
    assert third.result(150) == (1,) and first.result() == 1
    with pytest.raises(concurrent.futures.CancelledError):
        second.result(150)


@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("how", ["wait", "at once", "cancel"])
def test_shutdown_submits_those_that_wait(memo, tmp_path, kind, how):
    def f(x):
        return [x]

    executor = achar.Executor(1, kind=kind)
    first = executor.submit(slowly, tmp_path / "go", 1)
    second = executor.options(memo=memo).submit(f, [first])
    if how != "wait":
        executor.shutdown(wait=False, cancel_futures=how == "cancel")
        (tmp_path / "go").touch()
    else:
        threading.Timer(0.1, (tmp_path / "go").touch).start()
        executor.shutdown()
        assert second.done()
    if how == "cancel":
        assert second.cancelled()
    else:
        assert second.result(150) == [[1]] and memo.stats()["stored"] == 1
    executor.shutdown()


def test_leaving_the_interpreter_submits_those_that_wait(tmp_path):
    script = """
import sys, time, achar
def slow(): time.sleep(0.2); return 1
def f(x): return x
memo = achar.Memo(sys.argv[1])
executor = achar.Executor(1)
executor.options(memo=memo).submit(f, executor.submit(slow))
"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "m"], check=True, timeout=200)
    assert achar.Memo(tmp_path / "m").stats()["results"] == 1


def test_who_asks_does_not_need_the_thread_of_callbacks(executor, memo, tmp_path):
    def f(x):
        return x

    first = executor.submit(slowly, tmp_path / "go", 1)
    found = concurrent.futures.Future()
    first.add_done_callback(lambda _: found.set_result(second.result(140)))  # comes before the memo's own
    second = executor.options(memo=memo).submit(f, first)
    (tmp_path / "go").touch()
    assert found.result(150) == 1


def test_tasks_in_threads_are_kept(memo, tmp_path):
    def f(x):
        return note(tmp_path / "log", x)

    with achar.Executor(2, kind="thread") as executor:
        for _ in range(2):
            tasks = executor.options(memo=memo)
            assert list(tasks.map(f, [1, 2])) == [1, 2]
            assert tasks.submit(f, tasks.submit(f, 1)).result(150) == 1
            with pytest.raises(KeyError):
                tasks.submit(fails, 1).result(150)
    assert sorted(noted(tmp_path / "log")) == ["1", "2"] and memo.stats()["results"] == 2


def nested(path, log):
    memo = achar.Memo(path)
    tasks = achar.current_executor().options(memo=memo)

    def f(x):
        return note(log, x)

    results = list(tasks.map(f, [1, 2])), tasks.submit(f, tasks.submit(f, 2)).result(150)
    return results, memo.stats()["results"]


def test_tasks_of_tasks_are_kept(executor, tmp_path):
    for _ in range(2):
        assert executor.submit(nested, tmp_path / "m", tmp_path / "log").result(150) == (([1, 2], 2), 2)
    assert sorted(noted(tmp_path / "log")) == ["1", "2"]


@pytest.mark.parametrize("end", ["shutdown", "exit"])
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_an_input_that_nobody_can_end_ends_with_the_executor(tmp_path, kind, end):
    script = f"""
import achar, concurrent.futures
ex = achar.Executor(1, kind={kind!r})
by_hand = concurrent.futures.Future()
future = ex.options(memo=achar.Memo({str(tmp_path / "m")!r})).submit(abs, by_hand)
future.add_done_callback(lambda future: print(type(future.exception()).__name__, flush=True))
if {end!r} == "shutdown":
    ex.shutdown()
    assert "nobody is left" in str(future.exception().__cause__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert (done.stdout, done.stderr) == ("InputFailed\n", "")

"""What other threads change while a call runs: no wrong result is stored, and nothing becomes output."""

import threading
import warnings

import achar
import achar.memo
import pytest


@pytest.fixture
def memo(tmp_path):
    with achar.Memo(tmp_path / "m") as memo:
        yield memo


def made(source, **others):
    space = {"RATE": 1, **others}
    exec(source, space)
    return space


def test_a_result_of_what_another_thread_has_changed_is_not_stored(memo, tmp_path):
    began, go = threading.Event(), threading.Event()
    source = "def f(x, wait=None):\n if wait is not None: wait()\n return x * RATE"
    space = made(source)

    def wait():
        began.set()
        assert go.wait(150)

    f = memo(space["f"], ignore=["wait"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for rate in (2, 3):
            began.clear()
            go.clear()
            results = []
            thread = threading.Thread(target=lambda rate=rate, results=results: results.append(f(rate, wait)))
            thread.start()
            assert began.wait(150)
            space["RATE"] = rate
            go.set()
            thread.join(150)
            assert results == [rate * rate] and memo.stats()["stored"] == 0
    (warning,) = caught  # once for a function
    assert warning.category is achar.memo.MemoWarning and "other threads" in str(warning.message)
    space["RATE"] = 2
    assert f(5) == 10
    space["RATE"] = 3
    assert f(5) == 15
    assert memo(made(source)["f"], ignore=["wait"])(5) == 5  # as another process, where the rate is 1


def test_recursive_calls_while_another_thread_changes_what_they_read(memo):
    def change():
        thread = threading.Thread(target=lambda: space.update(RATE=space["RATE"] + 1))
        thread.start()
        thread.join(150)

    space = made("def f(n, change):\n change() if n == 1 else None\n return RATE + (f(n - 1, change) if n else 0)")
    space["f"] = f = memo(space["f"], ignore=["change"])
    stop = threading.Event()
    other = threading.Thread(target=stop.wait, args=(150,))
    other.start()
    with pytest.warns(achar.memo.MemoWarning, match="is not stored"):
        assert f(2, change) in (5, 6)
    stop.set()
    other.join(150)
    for rate in (2, 1, 3):
        space["RATE"] = rate
        assert f(2, lambda: None) == 3 * rate


def test_threads_of_the_call_itself(memo):
    space = made(
        "def f(x):\n thread = Thread(target=seen.append, args=(x,))\n thread.start()\n thread.join()\n return x",
        Thread=threading.Thread,
        seen=[],
    )
    f = memo(space["f"])
    assert [f(1), f(2), f(1), f(2)] == [1, 2, 1, 2] and space["seen"] == [1, 2]


def test_tasks_in_threads(memo):
    began, go = threading.Event(), threading.Event()
    space = made("def f(x, wait):\n wait()\n return x * RATE")

    def wait():
        began.set()
        assert go.wait(150)

    f = memo(space["f"], ignore=["wait"])
    with achar.Executor(1, kind="thread") as executor, pytest.warns(achar.memo.MemoWarning, match="is not stored"):
        future = executor.options(memo=memo).submit(f, 3, wait)
        assert began.wait(150)
        space["RATE"] = 2
        go.set()
        assert future.result(150) == 6
    assert memo.stats()["stored"] == 0 and f(3, wait) == 6
    space["RATE"] = 1
    assert f(3, wait) == 3

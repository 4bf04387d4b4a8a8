"""executor.options(memo=memo): tasks whose results are kept."""

import pathlib
import subprocess
import sys

import achar
import achar.memo
import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def executor():
    with achar.Executor(2) as executor:
        yield executor


def noted(folder, x):
    (folder / "calls").open("a").write(f"{x}\n")
    return x


def calls(folder):
    path = folder / "calls"
    return path.read_text().split() if path.exists() else []


def stored(memo, count):
    """Results are stored a moment after they are there."""
    import time

    until = time.monotonic() + 120
    while memo.stats()["results"] < count and time.monotonic() < until:
        time.sleep(0.005)
    assert memo.stats()["results"] == count


def test_a_hit_needs_no_worker(executor, tmp_path):
    memo = achar.Memo(tmp_path / "m")
    tasks = executor.options(memo=memo)

    def f(x, y=2):
        return noted(tmp_path, x) * y

    assert list(tasks.map(f, [1, 2, 3])) == [2, 4, 6]
    stored(memo, 3)
    again = executor.options(memo=memo).submit(f, x=2)
    assert again.done() and again.result() == 4 and sorted(calls(tmp_path)) == ["1", "2", "3"]
    assert memo(f)(3) == 6 and tasks.submit(memo(f), 3).result() == 6  # in the client, too
    assert len(calls(tmp_path)) == 3 and memo.stats()["hits"] == 3
    with pytest.raises(TypeError):
        tasks.submit(f, 1, 2, 3).result(150)


def test_results_are_read_before_and_after_they_are_stored(executor, tmp_path):
    memo = achar.Memo(tmp_path / "m")
    tasks = executor.options(memo=memo)

    def f(n):
        return {"data": np.full(n, 7.5), "n": n}

    for n in (10, 100_000):
        first = tasks.submit(f, n).result(150)
        first["data"][0] = 1
        stored(memo, 1 if n == 10 else 2)
        second = tasks.submit(f, n)
        assert second.done()
        assert second.result()["data"][0] == 7.5 and second.result()["n"] == n


def test_the_same_call_twice_is_one_task(executor, tmp_path):
    memo = achar.Memo(tmp_path / "m")
    tasks = executor.options(memo=memo)

    def f(x):
        import time

        time.sleep(0.2)
        return noted(tmp_path, x)

    futures = [tasks.submit(f, 1) for _ in range(5)]
    assert [future.result(150) for future in futures] == [1] * 5 and calls(tmp_path) == ["1"]


def test_the_same_call_by_two_options_objects_is_one_task(executor, tmp_path):
    memo = achar.Memo(tmp_path / "m")

    def f(x):
        import time

        time.sleep(0.2)
        return noted(tmp_path, x)

    futures = [executor.options(memo=memo).submit(f, 1) for _ in range(3)]
    assert [future.result(150) for future in futures] == [1] * 3 and calls(tmp_path) == ["1"]
    for x in range(2, 12):  # also while its result is being stored
        assert {executor.options(memo=memo).submit(noted, tmp_path, x).result(150) for _ in range(20)} == {x}
    assert len(calls(tmp_path)) == 11


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_what_memoized_functions_raise_is_stored_if_asked(tmp_path, kind):
    memo = achar.Memo(tmp_path / "m")

    @memo(exceptions=LookupError)
    def f(x):
        raise (KeyError if noted(tmp_path, x) < 2 else ValueError)(x)

    @memo(exceptions=True)
    def dies(x):
        noted(tmp_path, x)
        import os

        os._exit(3)

    with achar.Executor(1, kind=kind) as executor:
        tasks = executor.options(memo=memo)
        for _ in range(2):
            with pytest.raises(KeyError):
                tasks.submit(f, 1).result(150)
            assert type(tasks.submit(f, 1).exception(150)) is KeyError
            with pytest.raises(ValueError):
                tasks.submit(f, 2).result(150)
        assert calls(tmp_path) == ["1", "2", "2"] and memo.stats()["results"] == 1
        if kind == "process":  # that is not what it raised
            for _ in range(2):
                with pytest.raises(achar.WorkerDied):
                    tasks.submit(dies, 3).result(150)
            assert calls(tmp_path)[3:] == ["3", "3"] and memo.stats()["results"] == 1
    with pytest.raises(KeyError):
        f(1)
    assert calls(tmp_path).count("1") == 1


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_results_of_tasks_that_cannot_be_stored(tmp_path, kind, monkeypatch):
    def keep(*args):
        raise achar.memo.MemoFull("no room")

    with achar.Executor(1, kind=kind) as executor:
        memo = achar.Memo(tmp_path / "m")
        monkeypatch.setattr(memo, "_keep_packed", keep)
        with pytest.raises(achar.memo.Unstorable, match="abs cannot be stored.*no room") as caught:
            executor.options(memo=memo).submit(abs, -1).result(150)
        assert caught.value.result == 1 and isinstance(caught.value.__cause__, achar.memo.MemoFull)
        error = executor.options(memo=memo).submit(abs, -1).exception(150)
        assert isinstance(error, achar.memo.Unstorable) and error.result == 1
        returns = memo(abs, unstorable="return")
        with pytest.warns(achar.memo.MemoWarning, match="no room"):
            assert executor.options(memo=memo).submit(returns, -1).result(150) == 1
            executor.shutdown()


def test_failures_are_not_stored(executor, tmp_path):
    memo = achar.Memo(tmp_path / "m")
    tasks = executor.options(memo=memo)

    def f(x):
        raise KeyError(noted(tmp_path, x))

    for _ in range(2):
        with pytest.raises(KeyError):
            tasks.submit(f, 1).result(150)
    assert len(calls(tmp_path)) == 2 and memo.stats()["results"] == 0
    import threading

    with pytest.raises(Exception, match=r"argument\['x'\]\[0\]: _thread.lock"):
        tasks.submit(f, [threading.Lock()]).result(150)
    with pytest.raises(TypeError, match="achar.Memo"):
        executor.options(memo=str(tmp_path))


def test_a_run_that_is_stopped_three_times_computes_each_task_once(tmp_path):
    done = subprocess.run(
        [sys.executable, HERE / "stopped_run.py", tmp_path, "600"], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped 3 times" in done.stdout

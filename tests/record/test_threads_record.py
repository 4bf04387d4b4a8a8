"""Executor(kind="thread", monitor=path): the record knows what threads did, as the run knows it."""

import concurrent.futures
import os
import subprocess
import sys
import textwrap
import threading

import achar
import pytest
from record_rows import one, rows


def same(x):
    return x


def fails(x):
    raise ValueError(f"no {x}")


def submits(executor, count):
    return sum(future.result() for future in [executor.submit(same, i) for i in range(count)])


class Counter:
    def add(self, n):
        return n


class Flaky:
    def __init__(self, failures):
        self.failures = failures

    def __call__(self):
        self.failures -= 1
        if self.failures >= 0:
            raise KeyError(self.failures)
        return "done"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("threads") / "run.db"
    known = {}
    held = threading.Event()
    with achar.Executor(2, kind="thread", monitor=path) as ex:
        assert sum(ex.map(same, range(500))) == 124_750
        retried = ex.options(retries=2, backoff=0, name="tried again").submit(fails, 1)
        dependent = ex.submit(same, retried)
        assert isinstance(retried.exception(), ValueError)
        assert isinstance(dependent.exception(), achar.InputFailed)
        assert ex.options(retries=3, backoff=0).submit(Flaky(2)).result() == "done"
        assert ex.submit(submits, ex, 5).result() == 10
        assert ex.submit(same, ex.submit(same, 3)).result() == 3
        assert ex.actor(Counter).add(7).result() == 7
        assert ex.run(["true"]).result().returncode == 0
        blockers = [ex.submit(held.wait, 250) for _ in range(2)]
        by_hand = concurrent.futures.Future()
        never, waits = ex.submit(same, 0), ex.submit(same, by_hand)
        assert never.cancel() and never.cancel() and waits.cancel()
        held.set()
        ex.wait(blockers)
        # an actor's making is its first task
        known = {"returned": 500 + 1 + 6 + 2 + 2 + 1 + 2, "raised": 1, "input failed": 1, "cancelled": 2}
    return path, known


def test_every_end_is_counted_as_what_it_was(recorded):
    path, known = recorded
    assert dict(rows(path, "SELECT state, sum(calls) FROM task GROUP BY state")) == known
    sums = "SELECT sum(submitted), sum(returned), sum(raised), sum(cancelled), sum(other), sum(retries) FROM total"
    assert one(path, sums) == (sum(known.values()), known["returned"], 1, 2, 1, 2 + 2)
    assert one(path, "SELECT ended IS NOT NULL AND dropped = 0 AND trouble IS NULL FROM run") == 1


def test_every_number_is_there_once_and_the_load_has_counted_the_same(recorded):
    path, _ = recorded
    for pool, first, last, calls in rows(
        path, "SELECT pool, min(number), max(number), sum(calls) FROM task GROUP BY pool"
    ):
        assert (first, last) == (1, calls), pool
        counts = one(path, "SELECT submitted, ended FROM load WHERE pool = ? ORDER BY at DESC LIMIT 1", pool)
        assert counts == (calls, calls)


def test_a_task_says_when_and_on_which_thread(recorded):
    path, _ = recorded
    wrong = "SELECT count(*) FROM task WHERE worker IS NOT NULL AND NOT (submitted <= started AND started <= ended)"
    assert one(path, wrong) == 0
    assert one(path, "SELECT count(*) FROM task WHERE state IN ('returned', 'raised') AND worker IS NULL") == 0
    assert one(path, "SELECT count(*) FROM task WHERE state = 'cancelled' AND worker IS NOT NULL") == 0
    strangers = (
        "SELECT count(*) FROM task WHERE worker IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM worker WHERE worker.run = task.run AND worker.pool = task.pool AND id = task.worker)"
    )
    assert one(path, strangers) == 0


def test_threads_begin_and_end_and_the_process_is_sampled(recorded):
    path, _ = recorded
    assert one(path, "SELECT count(*) FROM worker WHERE pool = 0") == 2
    assert one(path, "SELECT count(*) FROM worker WHERE NOT (started <= ended AND reason = 'left')") == 0
    assert os.getpid() not in [pid for (pid,) in rows(path, "SELECT pid FROM worker")]
    assert one(path, "SELECT rss_nbytes > 0 FROM sample WHERE worker = 0 ORDER BY at DESC LIMIT 1") == 1
    assert one(path, "SELECT count(*) FROM sample WHERE worker > 0 AND rss_nbytes IS NOT NULL") == 0


def test_attempts_and_parents(recorded):
    path, _ = recorded
    attempts = rows(
        path, "SELECT state, retries, is_last, error FROM attempt WHERE name = 'tried again' ORDER BY retries"
    )
    assert attempts == [("raised", n, n == 2, "ValueError: no 1") for n in range(3)]
    assert one(path, "SELECT retries FROM task WHERE name = 'Flaky'") == 2
    pool, number = one(path, "SELECT pool, number FROM task WHERE name = 'submits'")
    parents = rows(path, "SELECT parent_pool, parent, count(*) FROM task WHERE parent IS NOT NULL GROUP BY 1, 2")
    assert parents == [(pool, number, 5)]
    kinds = dict(rows(path, "SELECT kind, count(*) FROM pool GROUP BY kind"))
    assert kinds == {"executor": 1, "nested": 1, "actor": 1}
    assert one(path, "SELECT kind FROM pool JOIN task ON pool.id = pool WHERE name = 'Counter.add'") == "actor"


def test_who_cannot_begin_is_recorded_as_abandoned(tmp_path):
    path = tmp_path / "run.db"
    with achar.Executor(1, kind="thread", initializer=fails, initargs=(1,), monitor=path) as ex:
        with pytest.raises(concurrent.futures.thread.BrokenThreadPool):
            ex.submit(same, 1).result()
        with pytest.raises(concurrent.futures.thread.BrokenThreadPool):
            ex.submit(same, 1)  # which is no task
    assert rows(path, "SELECT state, sum(calls) FROM task GROUP BY state") == [("abandoned", 1)]
    assert one(path, "SELECT ended IS NOT NULL FROM run") == 1


def test_those_that_a_shutdown_cancels_are_cancelled(tmp_path):
    path, held = tmp_path / "run.db", threading.Event()
    ex = achar.Executor(1, kind="thread", monitor=path)
    first = ex.submit(held.wait, 250)
    futures = [ex.submit(same, i) for i in range(100)]
    ex.shutdown(wait=False, cancel_futures=True)
    held.set()
    assert first.result() and all(future.cancelled() for future in futures)
    ex.shutdown()
    assert rows(path, "SELECT state, sum(calls) FROM task GROUP BY 1 ORDER BY 2") == [
        ("returned", 1),
        ("cancelled", 100),
    ]
    assert one(path, "SELECT ended IS NOT NULL FROM run") == 1


def test_the_end_of_the_program_writes_all(tmp_path):
    """Nobody shuts the executor down; a forked child has its copy, which tells nothing."""
    path = tmp_path / "run.db"
    script = """
        import os, sys, time, achar
        ex = achar.Executor(2, kind="thread", monitor=sys.argv[1])
        list(ex.map(abs, range(50)))
        pid = os.fork()
        if not pid:
            ex.submit(abs, 1)
            os._exit(0)
        os.waitpid(pid, 0)
        kept = [ex.submit(time.sleep, 0.01) for i in range(10)]
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), path]
    subprocess.run(command, timeout=150, check=True)
    assert rows(path, "SELECT name, state, sum(calls) FROM task GROUP BY 1, 2") == [
        ("abs", "returned", 50),
        ("sleep", "returned", 10),
    ]
    assert one(path, "SELECT ended IS NOT NULL FROM run") == 1


def test_an_executor_that_nobody_has_any_more_ends_its_run(tmp_path):
    path = tmp_path / "run.db"
    assert achar.Executor(1, kind="thread", monitor=path).submit(same, 1).result() == 1
    ended = threading.Event()
    for _ in range(10_000):
        if one(path, "SELECT ended IS NOT NULL FROM run"):
            break
        ended.wait(0.01)
    assert one(path, "SELECT ended IS NOT NULL FROM run") == 1
    assert one(path, "SELECT state FROM task") == "returned"

"""The record's totals are what the run knows: every kind of task, every kind of end, every worker."""

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import achar
import pytest
from record_rows import one, rows


def same(x):
    return x


def fails(x):
    raise ValueError(f"no {x}")


def dies():
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(seconds):
    time.sleep(seconds)


def waits_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)


def odd_fails(n):
    if n % 2:
        raise KeyError(n)
    return b"x" * n


def dies_at(n, last):
    if n == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def dies_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)


def submits(count):
    executor = achar.current_executor()
    return sum(future.result() for future in [executor.submit(same, i) for i in range(count)])


class Counter:
    def add(self, n):
        return n


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run with something of everything; (path of its record, what the run knows)."""
    folder = tmp_path_factory.mktemp("record")
    path = folder / "run.db"
    known = {"returned": 0, "raised": 0, "lost": 0, "overdue": 0, "cancelled": 0, "input failed": 0}
    with achar.Executor(2, monitor=path) as ex:
        for future in [ex.submit(same, i) for i in range(200)]:
            future.result()
        assert sum(ex.map(same, range(20_000))) == 199_990_000
        known["returned"] += 20_200
        retried = ex.options(retries=2, backoff=0, name="tried again").submit(fails, 1)
        lost, nested = ex.submit(dies), ex.submit(submits, 5)
        dependent = ex.submit(same, retried)
        assert isinstance(retried.exception(), ValueError)
        assert isinstance(lost.exception(), achar.WorkerDied)
        assert isinstance(dependent.exception(), achar.InputFailed)
        assert nested.result() == 10
        known["lost"] += 1
        known["raised"] += 1
        known["input failed"] += 1
        known["returned"] += 6
        overdue = ex.options(timeout=0.05).submit(sleeps, 1000)
        assert isinstance(overdue.exception(), TimeoutError)
        known["overdue"] += 1
        forced = ex.submit(sleeps, 1000)
        while not forced.running():
            time.sleep(0.01)
        assert ex.cancel(forced, force=True)
        ex.wait([forced])
        known["cancelled"] += 1
        # A map of which every other item raises: all has ended before the first is asked for, and none is cancelled.
        before, failing = ex._pool.progress(), ex.map(odd_fails, range(1001))
        while ex._pool.progress()[1] < before[1] + 1001:
            time.sleep(0.01)
        with pytest.raises(KeyError):
            list(failing)
        known["returned"] += 501
        known["raised"] += 500
        # A map with an item that kills its worker: the others are made, before it and behind it.
        with pytest.raises(achar.WorkerDied):
            list(ex.map(dies_at, range(100), [99] * 100))
        known["returned"] += 99
        known["lost"] += 1
        twice = ex.options(retries=1, backoff=0, name="died once").submit(dies_once, str(folder / "flag"))
        assert twice.result() is None
        assert ex.submit(len, ex.put(b"x" * 1000)).result() == 1000
        memo = achar.Memo(folder / "memo")
        assert [ex.options(memo=memo).submit(same, 77).result() for _ in range(3)] == [77] * 3
        assert memo.stats()["hits"] == 2  # which are no tasks
        known["returned"] += 3
        assert ex.run(["true"]).result().returncode == 0
        assert ex.actor(Counter).add(7).result() == 7
        known["returned"] += 2
        blockers = [ex.submit(waits_for, str(folder / "go")) for _ in range(2)]
        while not all(blocker.running() for blocker in blockers):
            time.sleep(0.01)
        assert ex.submit(same, 0).cancel()
        (folder / "go").touch()
        known["returned"] += 2
        known["cancelled"] += 1
        ex.wait(blockers)
        known["submitted here"], known["ended here"], known["failed here"] = ex._pool.progress()
    return path, known


def ends(known):
    return {key: count for key, count in known.items() if "here" not in key}


def test_every_end_is_counted_as_what_it_was(recorded):
    path, known = recorded
    found = {state: 0 for state in ends(known)}
    for state, calls, raised in rows(path, "SELECT state, sum(calls), sum(raised) FROM task GROUP BY state"):
        if state == "returned":
            found["returned"] += calls - raised
            found["raised"] += raised
        else:
            found[state] += calls
    assert found == ends(known)


def test_the_pool_itself_has_counted_the_same(recorded):
    path, known = recorded
    failed = "sum(CASE state WHEN 'returned' THEN raised WHEN 'cancelled' THEN 0 ELSE calls END)"
    counts = one(path, f"SELECT sum(calls), sum(calls), {failed} FROM task WHERE pool = 0")
    assert counts == (known["submitted here"], known["ended here"], known["failed here"])
    last = one(path, "SELECT submitted, ended, failed FROM load WHERE pool = 0 ORDER BY at DESC LIMIT 1")
    assert last == counts


def test_every_number_is_there_once(recorded):
    path, _ = recorded
    for pool, first, last, calls in rows(
        path, "SELECT pool, min(number), max(number + calls - 1), sum(calls) FROM task GROUP BY pool"
    ):
        assert (first, last) == (1, calls), pool


def test_calls_of_a_map_that_raised_are_there_by_their_place(recorded):
    path, _ = recorded
    items = "SELECT item FROM raised_call WHERE name = 'odd_fails' ORDER BY item"
    assert rows(path, items) == [(n,) for n in range(1, 1001, 2)]
    assert one(path, "SELECT sum(raised) FROM task") == one(path, "SELECT count(*) FROM raised_call")
    lost = one(path, "SELECT item, calls, signal FROM task WHERE name = 'dies_at' AND state = 'lost'")
    assert lost == (99, 1, signal.SIGKILL)
    failed = {}
    for number, error in rows(
        path, "SELECT number, error FROM failure WHERE name = (SELECT id FROM name WHERE text = 'odd_fails')"
    ):
        failed[one(path, "SELECT item FROM raised_call WHERE pool = 0 AND number = ?", number)] = error
    assert max(failed) == 999
    # Without a text where calls were taken before those behind them, which had begun with them, had ended.
    assert all(error in (None, f"KeyError: {item}") for item, error in failed.items())


def test_the_small_sums_are_those_of_the_tasks(recorded):
    path, known = recorded
    sums = one(
        path, "SELECT sum(submitted), sum(returned), sum(raised), sum(lost), sum(overdue), sum(cancelled),"
        " sum(other), sum(retries) FROM total",
    )  # fmt: skip
    keys = ("returned", "raised", "lost", "overdue", "cancelled", "input failed")
    assert sums == (sum(ends(known).values()), *(known[key] for key in keys), 3)
    totals = "SELECT sum(args_nbytes), sum(result_nbytes) FROM "
    assert one(path, totals + "total") == one(path, totals + "task")


def test_a_task_says_when_and_where(recorded):
    path, _ = recorded
    wrong = "SELECT count(*) FROM task WHERE worker IS NOT NULL AND NOT (submitted <= started AND started <= ended)"
    assert one(path, wrong) == 0
    assert one(path, "SELECT count(*) FROM task WHERE state = 'returned' AND worker IS NULL") == 0
    run, first, last = one(path, "SELECT id, started, ended FROM run")
    assert one(path, "SELECT min(submitted) >= ? AND max(ended) <= ? FROM task WHERE run = ?", first, last, run)


def test_attempts_that_failed_are_there_with_what_they_raised(recorded):
    path, _ = recorded
    attempts = rows(
        path, "SELECT state, retries, is_last, error FROM attempt WHERE name = 'tried again' ORDER BY retries"
    )
    assert attempts == [("raised", n, n == 2, "ValueError: no 1") for n in range(3)]


def test_a_nested_task_names_its_parent(recorded):
    path, _ = recorded
    pool, number = one(path, "SELECT pool, number FROM task WHERE name = 'submits'")
    parents = rows(path, "SELECT parent_pool, parent, count(*) FROM task WHERE parent IS NOT NULL GROUP BY 1, 2")
    assert parents == [(pool, number, 5)]
    assert one(path, "SELECT kind FROM pool WHERE id = (SELECT pool FROM task WHERE parent IS NOT NULL)") == "nested"


def test_commands_and_actors_have_their_names(recorded):
    path, _ = recorded
    assert one(path, "SELECT count(*) FROM task WHERE name = 'true' AND state = 'returned'") == 1
    assert one(path, "SELECT kind FROM pool JOIN task ON pool.id = pool WHERE name = 'Counter.add'") == "actor"


def test_workers_have_a_beginning_and_a_reason_for_their_end(recorded):
    path, _ = recorded
    assert one(path, "SELECT count(*) FROM worker WHERE ended IS NULL OR reason IS NULL OR started > ended") == 0
    killed = rows(path, "SELECT signal, exit_code FROM worker WHERE reason = 'killed'")
    assert killed == [(signal.SIGKILL, None)] * 3
    # Who did not answer within the pool's patience, as anyone may on a busy machine, was ended by it.
    ended = dict(rows(path, "SELECT reason, count(*) FROM worker GROUP BY reason"))
    assert set(ended) <= {"left", "killed", "time limit", "cancelled", "slow leaving"}
    assert ended.get("time limit", 0) <= 1 and ended.get("cancelled", 0) <= 1
    assert one(path, "SELECT worker.reason FROM task JOIN worker ON worker.pool = task.pool AND id = worker"
               " WHERE name = 'dies'") == "killed"  # fmt: skip


def test_a_map_whose_calls_raise_is_counted_by_call(tmp_path):
    path = tmp_path / "map.db"
    with achar.Executor(2, monitor=path) as ex:
        futures = [ex.submit(odd_fails, 1)]
        results = ex.map(odd_fails, range(0, 2000, 2))
        nbytes = sum(map(len, results))
        broken = ex.map(odd_fails, range(501))
        with pytest.raises(KeyError):
            list(broken)
        ex.wait(futures)
    ends = dict(rows(path, "SELECT state, sum(calls) FROM task GROUP BY state"))
    raised = one(path, "SELECT sum(raised) FROM task")
    assert sum(ends.values()) == 1 + 1000 + 501
    assert raised >= 2
    assert ends["returned"] + ends["raised"] + ends.get("cancelled", 0) == 1502
    assert one(path, "SELECT sum(result_nbytes) FROM task WHERE state = 'returned'") > nbytes


def test_processor_time_and_memory_are_the_tasks(tmp_path):
    path = tmp_path / "use.db"

    def burns(seconds):
        start = time.process_time()
        while time.process_time() < start + seconds:
            pass
        return time.process_time() - start

    def allocates(nbytes):
        block = bytearray(nbytes)
        block[::4096] = b"x" * len(block[::4096])
        time.sleep(0.01)

    with achar.Executor(1, monitor=path) as ex:
        burned = ex.submit(burns, 0.3).result()
        ex.submit(allocates, 100 << 20).result()
        for _ in range(5):
            ex.submit(time.sleep, 0.05).result()
        ex.submit(same, 1).result()
    cpu, peak = {}, {}
    # Of a virtual processor that others have just now, the time counts, too: the least of several is the task's.
    least = "SELECT name, min(cpu_seconds), min(peak_nbytes) FROM task GROUP BY name"
    for name, seconds, nbytes in rows(path, least):
        cpu[name.rpartition(".")[2]], peak[name.rpartition(".")[2]] = seconds, nbytes
    assert burned - 0.01 < cpu["burns"] < 3 * burned
    assert cpu["sleep"] < 0.1
    assert peak["allocates"] > 100 << 20
    assert peak["burns"] < 100 << 20
    if os.access("/proc/self/clear_refs", os.W_OK):
        assert peak["sleep"] < 100 << 20


def raises(text):
    raise ValueError(text)


def test_what_has_no_utf8_is_escaped(tmp_path):
    path = str(tmp_path / "escaped.db")
    with achar.Executor(1, monitor=path) as ex:
        assert isinstance(ex.options(name="na\ud800me").submit(raises, "a\udfffä").exception(), ValueError)
        assert isinstance(ex.submit(raises, "\ud800" * 200).exception(), ValueError)
        assert list(ex.options(name="m\ud800").map(same, [1])) == [1]
    of_name, long, of_map = rows(path, "SELECT name, error FROM task ORDER BY number LIMIT 3")
    assert of_name == ("na\\ud800me", "ValueError: a\\udfffä")
    assert long[1].startswith("ValueError: \\ud800\\ud800")
    assert of_map == ("m\\ud800", None)


def test_several_runs_stand_in_one_file(tmp_path):
    path = str(tmp_path / "runs.db")
    for count in (3, 4):
        with achar.Executor(1, monitor=path) as ex:
            ex.wait([ex.submit(same, i) for i in range(count)])
    assert rows(path, "SELECT run, sum(calls) FROM task GROUP BY run") == [(1, 3), (2, 4)]
    assert one(path, "SELECT count(*) FROM run WHERE ended IS NOT NULL AND dropped = 0") == 2


def test_two_executors_at_once_write_to_one_file(tmp_path):
    path = tmp_path / "both.db"
    with achar.Executor(1, monitor=path) as a, achar.Executor(1, monitor=path) as b:
        for ex in (a, b, a, b):
            assert sum(ex.map(same, range(3000))) == 4_498_500
    assert rows(path, "SELECT run, sum(calls) FROM task GROUP BY run") == [(1, 6000), (2, 6000)]


def test_what_was_written_is_there_when_the_client_is_killed(tmp_path):
    path = tmp_path / "killed.db"
    script = """
        import os, sys, time, achar
        ex = achar.Executor(2, monitor=sys.argv[1])
        done = [ex.submit(abs, -i) for i in range(500)]
        waits = [ex.submit(time.sleep, 1000) for i in range(10)]
        ex.wait(done)
        assert ex._monitor.record.join(100)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), path], timeout=150, check=False)
    assert done.returncode == -signal.SIGKILL
    assert one(path, "PRAGMA integrity_check") == "ok"
    assert rows(path, "SELECT name, state, sum(calls) FROM task GROUP BY 1, 2") == [
        ("abs", "returned", 500),
        ("sleep", "unfinished", 10),
    ]
    assert one(path, "SELECT ended FROM run") is None


@pytest.mark.parametrize("what", ["text", "other", "newer"])
def test_a_file_that_is_something_else_is_left_alone(tmp_path, what):
    path = tmp_path / "file.db"
    if what == "text":
        path.write_text("not a database at all, but long enough to look like one\n" * 100)
    elif what == "other":
        rows(path, "CREATE TABLE mine(x)")
    else:
        achar.Executor(1, monitor=path).shutdown()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(OSError, match="newer achar" if what == "newer" else "is not a record of achar's"):
        achar.Executor(1, monitor=path)
    assert path.read_bytes() == before


def test_a_run_ends_when_one_of_its_pools_could_not_be_made(tmp_path):
    path = tmp_path / "run.db"
    with achar.Executor(1, monitor=path) as ex:
        for _ in range(2):
            with pytest.raises((TypeError, pickle.PicklingError)):
                ex.actor(Counter, threading.Lock())
        assert ex.submit(same, 3).result() == 3
    assert one(path, "SELECT ended IS NOT NULL FROM run") == 1
    with pytest.raises((TypeError, pickle.PicklingError)):
        achar.Executor(1, monitor=path, initializer=same, initargs=(threading.Lock(),))
    deadline = time.monotonic() + 150
    while one(path, "SELECT ended IS NULL FROM run WHERE id = 2"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="unable to open"):
        achar.Executor(1, monitor=tmp_path / "no" / "run.db")

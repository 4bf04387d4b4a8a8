"""The record's file: an earlier schema, and whatever else can be the matter with it."""

import pathlib
import re
import sqlite3
import subprocess
import sys
import textwrap

import achar
import pytest
from record_rows import rows

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def version_1(tmp_path):
    """What achar wrote before: 3 tasks, a map of 5, a task that raised, and 2 under way when the client was killed."""
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript((HERE / "version_1.sql").read_text())
    connection.close()
    return path


def test_a_file_of_an_earlier_version_is_continued(version_1):
    states = "SELECT name, state, sum(calls), sum(raised) FROM task WHERE run = ? GROUP BY 1, 2"
    before = rows(version_1, states, 1)
    assert before == [("fails", "raised", 1, 1), ("same", "returned", 8, 0), ("sleep", "unfinished", 2, 0)]
    assert rows(version_1, "PRAGMA user_version") == [(1,)]
    with achar.Executor(1, monitor=version_1) as ex:
        assert sum(ex.map(abs, range(100))) == 4950
    assert rows(version_1, "PRAGMA user_version") == [(2,)]
    assert rows(version_1, states, 1) == before
    assert rows(version_1, states, 2) == [("abs", "returned", 100, 0)]
    times = "SELECT count(*) FROM task WHERE submitted BETWEEN started - 1 AND started AND started <= ended"
    assert rows(version_1, times + " AND run = 1") == [(6,)]
    after = "submitted - (SELECT started FROM run WHERE id = 1)"
    unfinished = rows(version_1, f"SELECT number, {after}, args_nbytes, worker FROM task WHERE state = 'unfinished'")
    assert [(n, 0 < after < 1, *rest) for n, after, *rest in unfinished] == [(10, True, 19, None), (11, True, 19, None)]


def test_a_disk_that_is_full_stops_no_task_and_is_told(tmp_path):
    """There is room for sums and workers, not for the tasks."""
    path = tmp_path / "full.db"
    script = """
        import os, resource, signal, sys, warnings, achar
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ex = achar.Executor(1, monitor=sys.argv[1], spill_limit=0)
        ex.submit(abs, 0).result()  # the worker is there, and its memory, which has to obey the limit, too
        assert ex._monitor.record.join(100)
        limit = os.path.getsize(sys.argv[1] + "-wal") + 60_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # where files can be no longer than that
        assert sum(f.result() for f in [ex.submit(abs, -i) for i in range(4000)]) == 7_998_000
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ex.shutdown()
        print(caught[0].category.__name__, caught[0].message)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), path], timeout=200, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = re.search(r"RuntimeWarning .*full.db: (\d+) events of this run are missing: disk I/O error", done.stdout)
    assert told, done.stdout
    (run,) = rows(path, "SELECT dropped, trouble, ended IS NOT NULL FROM run")
    assert run == (int(told[1]), "disk I/O error", 1)
    assert rows(path, "SELECT sum(submitted), sum(returned) FROM total") == [(4001, 4001)]
    ((there,),) = rows(path, "SELECT sum(calls) FROM task")
    assert 0 < there and there + run[0] >= 4001
    ((reason,),) = rows(path, "SELECT reason FROM worker")
    assert reason in ("left", "slow leaving")

"""The record's file: an earlier schema, and whatever else can be the matter with it."""

import pathlib
import sqlite3

import achar
import pytest

HERE = pathlib.Path(__file__).parent


def rows(path, query, *arguments):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query, arguments).fetchall()
    finally:
        connection.close()


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

"""Parsl's checkpoints, as Parsl itself writes them."""

import pathlib
import shutil
import subprocess
import sys

import achar
import parsl_tasks
import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    pytest.importorskip("parsl")
    folder = tmp_path_factory.mktemp("runs")
    subprocess.run([sys.executable, HERE / "parsl_run.py", folder], check=True, timeout=120, capture_output=True)
    return folder


@pytest.fixture
def memo(tmp_path):
    return achar.Memo(tmp_path / "m")


def test_results_of_parsl_are_found(memo, checkpoints):
    square, shape = memo(parsl_tasks.square), memo(parsl_tasks.shape, ignore=["log"])
    report = memo.import_parsl(checkpoints, [square, shape])
    assert (report.results, report.known) == (12, 0) and not report.torn + report.unreadable
    assert "12 results from 1 checkpoints" in repr(report)
    for function in (square, shape):  # they are not called any more
        object.__setattr__(function, "__wrapped__", _not_to_be_called(function.__wrapped__))
    assert [square(n) for n in range(9)] == [n * n for n in range(9)] and square(9).n == 9
    assert square(x=3) == 9 and shape([1, 2.5], {"a": None, "b": 1}) == [[1, 2.5], {"b": 1, "a": None}]
    assert memo.stats()["misses"] == 0 and memo.import_parsl(checkpoints).known == 12
    with pytest.raises(TypeError, match="memoized"):
        memo.import_parsl(checkpoints, [len])
    with pytest.raises(FileNotFoundError):
        memo.import_parsl(memo.path + ".d")


def _not_to_be_called(function):
    def stand_in(*args, **kwargs):
        raise AssertionError("called")

    stand_in.__name__, stand_in.__module__ = function.__name__, function.__module__
    return stand_in


def test_torn_and_unreadable_checkpoints(memo, checkpoints, tmp_path, monkeypatch):
    (file,) = checkpoints.rglob("tasks.pkl")
    data = file.read_bytes()
    torn = tmp_path / "tasks.pkl"
    torn.write_bytes(data[:-1])  # stops Parsl's next start
    report = memo.import_parsl(torn)
    assert report.results >= 11 and [end for _, _, end in report.torn] and len(report.torn) == 1
    middle = data.index(b"hash", 300)
    torn.write_bytes(data[:middle] + b"\xff" + data[middle + 30 :])
    report = achar.Memo(tmp_path / "other").import_parsl(torn)
    assert 9 <= report.results <= 11 and len(report.torn) == 1 and "torn" in repr(report)
    shutil.copy(file, torn)
    monkeypatch.delattr(parsl_tasks, "Made")
    report = achar.Memo(tmp_path / "third").import_parsl(torn)
    ((path, offset, why),) = report.unreadable
    assert report.results == 11 and path == str(torn) and "Made" in why

"""Parsl's checkpoints, as Parsl itself writes them."""

import hashlib
import pathlib
import pickle
import shutil
import subprocess
import sys

import achar
import parsl_tasks
import pytest
from achar import _memo_parsl

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    pytest.importorskip("parsl")
    folder = tmp_path_factory.mktemp("runs")
    subprocess.run([sys.executable, HERE / "parsl_run.py", folder], check=True, timeout=250, capture_output=True)
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


def of_parsl(function, *args):
    """The hash that Parsl gives a call without keywords."""
    parts = [_memo_parsl._identified({}), _memo_parsl._function(function), _memo_parsl._identified(args)]
    return hashlib.md5(b"".join(parts)).hexdigest()


def test_tasks_find_results_of_parsl(memo, tmp_path):
    def f(x):
        return "computed", x

    with open(tmp_path / "tasks.pkl", "wb") as file:
        for n in range(4):
            pickle.dump({"hash": of_parsl(f, n), "exception": None, "result": ("parsl", n)}, file)
    memoized = memo(f)
    assert memo.import_parsl(tmp_path, [memoized]).results == 4
    with achar.Executor(1, kind="thread") as executor:
        tasks = executor.options(memo=memo)
        assert list(tasks.map(memoized, range(3))) == [("parsl", n) for n in range(3)]
        assert tasks.submit(memoized, 5).result(150) == ("computed", 5)
    assert memo.stats()["hits"] == 3 and memoized(3) == ("parsl", 3)
    for unsortable in ({1: 1, "a": 2}, {(): {None: 1, 2: 3}}):  # Parsl has no hash for these
        assert memoized(unsortable) == ("computed", unsortable)


def test_a_checkpoint_is_read_in_one_pass(monkeypatch):
    whole = pickle.dumps({"hash": "x" * 32, "exception": None, "result": 1})
    data = whole * 50 + whole[:-5]
    files = set()
    genops = _memo_parsl.pickletools.genops
    monkeypatch.setattr(_memo_parsl.pickletools, "genops", lambda file: files.add(id(file)) or genops(file))
    found = list(_memo_parsl._pickles(data))
    assert len(files) == 1 and [is_whole for _, _, is_whole in found] == [True] * 50 + [False]
    assert all(data[start:end] == whole for start, end, is_whole in found if is_whole)

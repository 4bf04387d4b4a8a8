"""Results whose classes have changed or vanished, or that another version of Python has written."""

import collections
import sys

import achar
import achar.memo
import pytest

SCRIPT = """
import sys, warnings, achar, achar.memo
sys.path.insert(0, {folder!r})
memo = achar.Memo(sys.argv[1], on_stale=sys.argv[2])
warnings.simplefilter("always")
class Own:
    n = {own}
@memo(key="name")
def made(x):
    print("computed", end=" ")
    import shapes
    return [shapes.{name}(x), {{"inner": shapes.{name}(x + 1)}}]
@memo(key="name")
def own(x):
    print("computed", end=" ")
    return Own()
@memo(key="name")
def plain(x):
    print("computed", end=" ")
    return x
with warnings.catch_warnings(record=True) as caught:
    for function in (made, own, plain):
        try:
            value = function(1)
            print(type(value).__name__, end=" ")
            if isinstance(value, achar.memo.StaleResult):
                print(value.changes, value.name, end=" ")
        except achar.memo.MemoError as error:
            print("raised", error, end=" ")
        print("|", end=" ")
print([str(one.message) for one in caught], memo.stats()["stale"])
"""

CLASSES = "class Point:\n    def __init__(self, x): self.x = x\n    def m(self): return {n}\n"


@pytest.fixture
def run(tmp_path, interpreters):
    def run(on_stale="recompute", n=1, own=1, vanished=False):
        source = CLASSES.format(n=n)
        (tmp_path / "shapes.py").write_text(source.replace("Point", "Other") if vanished else source)
        name = "Other" if vanished else "Point"
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(folder=str(tmp_path), own=own, name=name))
        return interpreters.run(script, tmp_path / "m", on_stale)

    assert run() == "computed list | computed Own | computed int | [] 0\n"
    return run


def test_what_has_not_changed_is_used(run):
    assert run() == "list | Own | int | [] 0\n"
    assert run("raise") == "list | Own | int | [] 0\n"


def test_a_changed_class(run):
    assert "shapes.Point has changed since" in run("raise", n=2)
    view = run("view", n=2)
    assert view.startswith("StaleResult ['the class shapes.Point has changed since'] __main__.made | Own")
    assert run("return", n=2).startswith("list | Own | int")
    out = run(n=2)
    assert out.startswith("computed list | Own | int") and "is not used: the class shapes.Point has changed" in out
    assert out.endswith(" 1\n") and run(n=2) == "list | Own | int | [] 0\n"


def test_a_changed_class_of_the_script(run):
    out = run(own=2)
    assert out.startswith("list | computed Own | int") and "__main__.Own has changed since" in out


def test_a_vanished_class(run):
    assert "shapes.Point is not there any more" in run("view", vanished=True)
    assert "raised" in run("return", vanished=True)
    assert run(vanished=True).startswith("computed list | Own | int")


def test_another_version_of_python(tmp_path, monkeypatch):
    from achar import _memo_origin

    path = tmp_path / "m"
    monkeypatch.setattr(_memo_origin, "_PYTHON", "3.9")
    with achar.Memo(path) as memo:
        memo.put("k", [1])
    monkeypatch.undo()
    with achar.Memo(path) as memo:
        with pytest.warns(achar.memo.StaleResultWarning, match="written by Python 3.9, this is"):
            assert memo.get("k") is None
    with achar.Memo(path, on_stale="view") as memo:
        view = memo.get("k")
        assert view.python == "3.9" and view.load() == [1] and "3.9" in repr(view) and view.stored > 1e9
    with achar.Memo(path, on_stale="raise") as memo, pytest.raises(achar.memo.MemoError, match="stale"):
        memo.get("k")
    with achar.Memo(path, on_stale="return") as memo:
        assert memo.get("k") == [1]
        memo.put("k", [2])
    assert achar.Memo(path).get("k") == [2]


def test_names_in_pickles():
    from achar import _achar

    class Local:
        pass

    found = _achar.globals_named(_achar.pack([collections.OrderedDict(), Local(), {"k": achar.memo.MemoError}]))
    assert {("collections", "OrderedDict"), ("achar.memo", "MemoError"), ("achar._v1", "class_")} <= found
    assert (__name__, "Local") in found
    assert _achar.globals_named(_achar.pack([1, "builtins", {"a": 2.5}])) == frozenset()


def test_a_class_that_changes_in_the_process(tmp_path, monkeypatch):
    import importlib

    def write(body):
        (tmp_path / "reloaded.py").write_text(f"class Point:\n    def f(self): return {body}\n")
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(1)
    import reloaded

    memo = achar.Memo(tmp_path / "m")
    memo.put("p", reloaded.Point())
    assert memo.get("p").f() == memo.get("p").f() == 1
    write("22")
    importlib.reload(reloaded)
    with pytest.warns(achar.memo.StaleResultWarning, match="reloaded.Point has changed since"):
        assert memo.get("p") is None


def test_a_class_whose_module_raises_when_it_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "refusing.py").write_text("class Point: pass\n")
    import refusing

    memo = achar.Memo(tmp_path / "m")
    memo.put("p", refusing.Point())
    (tmp_path / "refusing.py").write_text("raise RuntimeError('not on this machine')\n")
    monkeypatch.delitem(sys.modules, "refusing")
    with pytest.warns(achar.memo.StaleResultWarning, match="not there any more .RuntimeError: not on this machine"):
        assert memo.get("p") is None
    with achar.Memo(tmp_path / "m", on_stale="return") as again, pytest.raises(achar.memo.MemoError, match="machine"):
        again.get("p")

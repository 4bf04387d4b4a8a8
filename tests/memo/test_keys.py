"""What a call is known by."""

import json
import os
import pathlib
import subprocess
import sys

import achar
import key_pairs
import pytest

HERE = pathlib.Path(__file__).parent


def in_process(script, *args, seed=0, **env):
    done = subprocess.run(
        [sys.executable, script, *map(str, args)],
        capture_output=True, text=True, timeout=250, env={**os.environ, "PYTHONHASHSEED": str(seed), **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pairs_in_several_processes(tmp_path):
    outputs = {in_process(HERE / "key_pairs.py", tmp_path / "m", seed=seed) for seed in (0, 1, 4242)}
    assert len(outputs) == 1
    differ, agree, differ_as_arguments, agree_as_arguments = json.loads(outputs.pop())
    assert len(differ) + len(differ_as_arguments) >= 60 and len(agree) + len(agree_as_arguments) >= 20
    assert [i for i, (a, b) in enumerate(differ) if a == b] == []
    assert [i for i, (a, b) in enumerate(agree) if a != b] == []
    assert [key_pairs.digest_pairs.DIFFER[i] for i, (a, b) in enumerate(differ_as_arguments) if a == b] == []
    assert [key_pairs.digest_pairs.AGREE[i] for i, (a, b) in enumerate(agree_as_arguments) if a != b] == []


def test_arguments_by_position_by_name_and_by_default(tmp_path):
    with achar.Memo(tmp_path / "m") as memo:

        @memo
        def f(a, b, c=3, d=4):
            return [a, b, c, d]

        by_name = [((1,), {"b": 2}), ((1, 2), {"d": 4}), ((), {"b": 2, "a": 1})]
        for kept, same in (
            ((1, 2), [((1, 2, 3, 4), {}), ((1, 2, 3), {}), *by_name]),
            ((1, 2, 4), [((1, 2, 4, 4), {}), ((1, 2), {"c": 4})]),
        ):
            f(*kept)
            assert all(f.is_stored(*args, **kwargs) for args, kwargs in same)
        assert not f.is_stored(1, 2, 3, 3) and not f.is_stored(1, 2, 4, 3)
        for args in ((), (1,), (1, 2, 3, 4, 5)):  # they do not fit: the function says so
            with pytest.raises(TypeError, match=r"f\(\)"):
                f(*args)
        assert memo.stats()["results"] == 2


SCRIPT = """
import sys, achar
sys.path.insert(0, {folder!r})
import helper, helper as h
from helper import direct
memo = achar.Memo(sys.argv[1])
of_f, of_by_name, of_through = [], [], []  # what one calls changes is input for the others
@memo
def f(x):
    of_f.append(x)
    return helper.g(x) + {change}
@memo(key="name")
def by_name(x):
    of_by_name.append(x)
    return x + {change}
@memo
def through(x):
    of_through.append(x)
    return direct(x)
memoized = memo(helper.g)
source = memo(helper.g, key="source")
print(f(1), by_name(1), through(1), memoized(1), source(1), len(of_f + of_by_name + of_through), memo.stats()["misses"])
"""


def test_a_change_of_the_code_is_seen_by_the_next_run(tmp_path, interpreters):
    helper = "FACTOR = {n}\ndef inner(x): return x * FACTOR\ndef g(x): return inner(x)\ndef direct(x): return {m} * x\n"
    script = tmp_path / "script.py"

    def run(change=0, n=2, m=5, comment=""):
        (tmp_path / "helper.py").write_text(comment + helper.format(n=n, m=m))
        script.write_text(SCRIPT.format(folder=str(tmp_path), change=change))
        return interpreters.run(script, tmp_path / "m").split()

    assert run() == ["2", "1", "5", "2", "2", "3", "5"]
    assert run() == ["2", "1", "5", "2", "2", "0", "0"]
    assert run(comment="# moved\n\n") == ["2", "1", "5", "2", "2", "0", "1"]  # the text of the file changed
    assert run(n=3) == ["3", "1", "5", "3", "3", "1", "3"]
    assert run(m=6) == ["2", "1", "6", "2", "2", "1", "2"]
    assert run(change=1) == ["3", "1", "5", "2", "2", "1", "1"]


def test_what_changes_in_the_process_is_seen(tmp_path):
    memo = achar.Memo(tmp_path / "m")
    space = {"memo": memo, "N": 1, "config": {"a": 1}}
    exec("def g(x): return x + N\n@memo\ndef f(x): return g(x)\n@memo\ndef h(x): return config['a']", space)
    assert space["f"](1) == 2 and space["h"](1) == 1
    space["N"] = 2
    assert space["f"](1) == 3
    exec("def g(x): return -x", space)
    assert space["f"](1) == -1
    space["config"]["a"] = 2
    assert space["h"](1) == 2
    space["N"], space["config"]["a"] = 1, 1
    assert space["h"](1) == 1 and memo.stats()["misses"] == 5


def test_the_watch_is_cheap_and_right():
    from achar import _achar

    space = {"K": (1, "a"), "helper": key_pairs.HELPERS[1]}
    exec("class C:\n limit = 1\n def m(self): return K\ndef f(x, *, y=1): return C, K, helper.g(x)", space)
    f, C = space["f"], space["C"]

    def watch():
        return _achar.digest_function(f, {})[2]

    first = watch()
    assert first is not None and first.holds()
    C.limit = 2
    assert not first.holds()
    second = watch()
    C.m = lambda self: 2
    assert not second.holds()
    third = watch()
    f.__defaults__ = (1,)
    assert not third.holds()
    fourth = watch()
    del space["K"]
    assert not fourth.holds()
    fifth = watch()
    f.__kwdefaults__["y"] = 2
    assert not fifth.holds()
    sixth = watch()
    space["helper"] = key_pairs.HELPERS[2]
    assert not sixth.holds() and watch().holds()
    space["K"] = [1]
    assert watch() is None  # a list can change inside


def test_versions_of_installed_modules_count(tmp_path, monkeypatch):
    from achar import _memo_keys

    memo = achar.Memo(tmp_path / "m")
    import numpy as np

    f = memo(lambda x: np.sum(x))
    before = f.key(1)
    monkeypatch.setitem(_memo_keys._versions, "numpy", "numpy 99")
    assert memo(f.__wrapped__).key(1) != before


def test_what_another_function_changes_is_input(tmp_path):
    def run():
        space = {"memo": achar.Memo(tmp_path / "m"), "counts": []}
        exec(
            "@memo\ndef step(i):\n counts.append(i)\n return i\n"
            "@memo\ndef total():\n return sum(counts)\n"
            "@memo\ndef both(i):\n return step(i) + total()",
            space,
        )
        return space

    space = run()
    step, total, both = space["step"], space["total"], space["both"]
    assert total() == 0 and step(1) == 1 and total() == 1 and step(2) == 2 and total() == 3
    assert both(4) == 4 + 7 and total() == 7 and step.key(1) == run()["step"].key(1)
    assert run()["total"]() == 0  # a later run finds what is right
    space["counts"].clear()
    assert total() == 0


def test_what_calls_have_changed_is_let_go(tmp_path):
    import gc
    import weakref

    from achar import _memo_code

    class Data(list):
        pass

    memo = achar.Memo(tmp_path / "m")
    data = Data([1])
    gone = weakref.ref(data)

    def make(data):
        @memo
        def f(x):
            data.append(x)
            return x

        return f

    assert make(data)(1) == 1 and len(_memo_code._having_outputs()) >= 1
    del data
    gc.collect()
    assert gone() is None


def test_which_arguments_count_is_part_of_the_key(tmp_path):
    memo = achar.Memo(tmp_path / "m")
    space = {"N": 1, "asked": []}
    exec(
        "def f(a, b): return [a, b]\ndef first(a, b): return a % N\ndef second(a, b): return b\n"
        "def noting(a, b):\n asked.append(a)\n return a",
        space,
    )
    f, first = space["f"], space["first"]
    assert memo(f, ignore=["b"])(1, 2) == [1, 2] and memo(f, ignore=["a"])(2, 1) == [2, 1]
    assert len({memo(f).key(1, 1), *(memo(f, ignore=names).key(1, 1) for names in (["a"], ["b"], ["a", "b"]))}) == 4
    assert memo(f, ignore=["a", "b"]).key(1, 1) == memo(f, ignore=("b", "a")).key(2, 2)
    assert memo(f, key=first).key(3, 3) != memo(f, key=space["second"]).key(3, 3)
    by_first = memo(f, key=first)
    before = by_first.key(0, 0)
    space["N"] = 2
    assert by_first.key(0, 0) != before
    space["N"] = 1
    assert by_first.key(0, 0) == before
    noting = memo(f, key=space["noting"])  # what it changes is output, too
    assert [noting(1, 1), noting(1, 2), noting(1, 3)] == [[1, 1]] * 3
    assert memo(f, key=max).key(1, 2) == memo(f, key=max).key(2, 1) != memo(f, key=min).key(2, 1)


def test_a_package_whose_distribution_has_another_name(tmp_path, monkeypatch):
    from achar import _memo_keys

    (tmp_path / "oddly_named.py").write_text("def h(x): return x\n")
    info = tmp_path / "other_name-1.0.dist-info"
    info.mkdir()
    (info / "top_level.txt").write_text("oddly_named\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def version(number):
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: other-name\nVersion: {number}\n")
        _memo_keys._versions.clear()
        return _memo_keys.versions(["oddly_named.inner"])

    assert version("1.0") == ("oddly_named other-name 1.0",) and version("2.0") == ("oddly_named other-name 2.0",)

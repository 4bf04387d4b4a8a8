"""achar.digest: what differs differs, what agrees agrees, in every process."""

import functools
import hashlib
import json
import pathlib
import pickle
import sys
import threading
import types

import achar
import numpy as np
import pytest
from achar._achar import long_digest
from byvalue_support import run_python

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def digests():
    """What ten processes with different hash seeds say of all pairs."""
    return [
        json.loads(run_python(HERE / "digest_pairs.py", PYTHONHASHSEED=str(seed), PYTHONDONTWRITEBYTECODE="1").stdout)
        for seed in range(10)
    ]


def test_pairs(digests):
    import digest_pairs

    differ = len(digest_pairs.DIFFER)
    assert differ >= 60 and len(digest_pairs.AGREE) >= 20
    for i, (one, other) in enumerate(digests[0]):
        pair = (digest_pairs.DIFFER + digest_pairs.AGREE)[i]
        assert (one == other) == (i >= differ), pair


def test_ten_hash_seeds(digests):
    assert all(found == digests[0] for found in digests)


def test_order_of_a_list_matters():
    import digest_pairs

    for a, b in digest_pairs.DIFFER:
        assert achar.digest([a, b]) != achar.digest([b, a]), (a, b)


def reference(data):
    """The construction of blake2s.h in hashlib's BLAKE2s."""
    count = len(data) // 1024
    if not count:
        return hashlib.blake2s(data).digest()
    words = np.frombuffer(data[: count * 1024], "<u4").reshape(-1, 16)
    lanes = b"".join(hashlib.blake2s(words[:, k].tobytes()).digest() for k in range(16))
    return hashlib.blake2s(lanes + data[count * 1024 :] + len(data).to_bytes(8, "little")).digest()


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 128, 1000, 1023, 1024, 1025, 2047, 2048, 5000, 100_001])
def test_blake2s(nbytes):
    data = np.random.default_rng(nbytes).bytes(nbytes)
    assert long_digest(data) == reference(data)


def test_an_object_that_is_shared_a_lot():
    x = []
    for _ in range(200):
        x = [x, x]
    assert len(achar.digest(x)) == 64


def test_modules_that_name_each_other_are_looked_at_once(monkeypatch):
    """Else it would take 12 ** 12 looks."""
    names = [f"circle_{i}" for i in range(12)]
    modules = [types.ModuleType(name) for name in names]
    for module in modules:
        vars(module).update(zip(names, modules), limit=1, __file__=f"/home/somebody/{module.__name__}.py")
        monkeypatch.setitem(sys.modules, module.__name__, module)
    code = compile("+".join(f"{a}.{b}.limit" for a in names for b in names), "sum of all", "eval")
    function = types.FunctionType(code, vars(modules[0]))
    before = achar.digest(function)
    assert achar.digest(function) == before
    modules[7].limit = 2
    assert achar.digest(function) != before


def test_what_cannot_be_pickled_has_no_digest():
    with pytest.raises(Exception, match="lock"):
        achar.digest([threading.Lock()])


def test_too_deep_is_an_error():
    x = []
    for _ in range(100_000):
        x = [x]
    with pytest.raises(RecursionError):
        achar.digest(x)


def test_object_that_changes_meanwhile():
    d = {}

    class Nasty:
        def __reduce__(self):
            d[len(d)] = 1
            return int, ()

    d["n"] = Nasty()
    with pytest.raises(RuntimeError, match="changed"):
        achar.digest(d)


def test_references_are_given_back():
    import digest_pairs

    marker = object()
    kept = {"a": [marker, (marker,)], "b": digest_pairs.Point(3)}
    kept["a"].clear()
    kept["a"] += [digest_pairs.Point, kept]
    before = sys.getrefcount(kept), sys.getrefcount(digest_pairs.Point)
    for _ in range(50):
        achar.digest(kept)
    assert (sys.getrefcount(kept), sys.getrefcount(digest_pairs.Point)) == before


def lock_holders():
    """Each with the path to the lock in it."""
    lock = threading.Lock()

    def in_cell():
        return lock

    def in_default(x=lock):
        return x

    class InClass:
        held = lock

    class InInstance:
        def __init__(self, held):
            self.inner = {"k": [held]}

    class InSlot:
        __slots__ = ("held",)

        def __init__(self, held):
            self.held = held

    return {
        "obj": lock,
        "obj[1]": [1, lock],
        "obj['a']['b']": {"a": {"b": lock}},
        "obj.__closure__[0].cell_contents": in_cell,
        "obj.__defaults__[0]": in_default,
        "obj[0].held": [InClass],
        "obj.__class__.held": InClass(),
        "obj.inner['k'][0]": InInstance(lock),
        "obj['s'].held": {"s": InSlot(lock)},
        "obj.args[0]": functools.partial(print, lock),
        "obj{…}": {lock},
    }


def test_errors_say_where():
    for path, obj in lock_holders().items():
        with pytest.raises(pickle.PicklingError) as caught:
            achar.digest(obj)
        text = str(caught.value)
        assert text.startswith(f"{path}: _thread.lock cannot be sent\n  why: "), text
        assert "\n  do:  " in text


def test_what_code_of_the_objects_raises_says_where():
    class Broken:
        def __getstate__(self):
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own") as caught:
        achar.digest({"k": [Broken()]})
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["while making the digest of obj['k'][0]"]
    with pytest.raises(RecursionError):
        nested = []
        for _ in range(100_000):
            nested = [nested]
        achar.digest(nested)

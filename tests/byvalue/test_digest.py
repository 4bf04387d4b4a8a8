"""achar.digest: what differs differs, what agrees agrees, in every process."""

import hashlib
import json
import pathlib
import sys
import threading

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

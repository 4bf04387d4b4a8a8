"""Nothing is kept and nothing is freed twice: references counted before and after many rounds."""

import gc
import io
import pickle
import sys
import tracemalloc

import achar
import achar.pickle
import pytest
import test_callbacks
import test_same_bytes
from saver_support import PROTOCOLS, Chunks, outcome

SENTINELS = [
    None,
    True,
    int,
    list,
    dict,
    str,
    tuple,
    set,
    frozenset,
    bytes,
    bytearray,
    type,
    test_same_bytes.Point,
    test_same_bytes.Slotted,
    test_same_bytes.Reduced,
    test_same_bytes.ListOf,
    test_callbacks.make,
    test_callbacks.Back,
    pickle.PicklingError,
]


def growth(function, rounds):
    """How many blocks, collectable objects and references to sentinels 'rounds' calls left behind."""
    references = [sys.getrefcount(s) for s in SENTINELS]
    gc.collect()
    objects = len(gc.get_objects())
    blocks = sys.getallocatedblocks()
    for _ in range(rounds):
        function()
    gc.collect()
    return (
        sys.getallocatedblocks() - blocks,
        len(gc.get_objects()) - objects,
        max(abs(sys.getrefcount(s) - r) for s, r in zip(SENTINELS, references, strict=True)),
    )


def assert_none_lost(function, rounds=30):
    """A leak shows every time; the interpreter's free lists and caches are full at some time.

    Looking takes some ten blocks itself."""
    for _ in range(12):
        lost = growth(function, rounds)
        if all(count < rounds for count in lost):
            return
    raise AssertionError(f"blocks, objects, references lost in {rounds} rounds: {lost}")


def test_the_test():
    """It sees one lost object a round, and one lost reference."""
    kept = []
    with pytest.raises(AssertionError):
        assert_none_lost(lambda: kept.append([]))
    with pytest.raises(AssertionError):
        assert_none_lost(lambda: kept.append(test_same_bytes.Point))


@pytest.mark.parametrize("name", [name for name in test_same_bytes.SHAPES if name != "all of them"])
def test_shapes(name):
    make = test_same_bytes.SHAPES[name]
    obj = make()

    def run():
        for protocol in PROTOCOLS:
            outcome(achar.pickle.dumps, obj, protocol)
        outcome(achar.dumps, obj)
        outcome(achar.dump, obj, Chunks())
        outcome(achar.pickle.Pickler(io.BytesIO(), 4).dump, obj)

    assert_none_lost(run, 15 if "many" in name or "strings" in name else 30)


@pytest.mark.parametrize("name", test_callbacks.CASES)
def test_callbacks_(name):
    make = test_callbacks.CASES[name]

    def run():
        for protocol in PROTOCOLS:
            outcome(achar.pickle.dumps, make(), protocol)
        outcome(achar.dumps, make())

    assert_none_lost(run)


def test_nonsense():
    def run():
        for make in test_callbacks.NONSENSE:
            for protocol in (0, 2, 5):
                outcome(achar.pickle.dumps, [test_callbacks.Back(make)], protocol)
                outcome(achar.dumps, [test_callbacks.Back(make)], protocol)

    assert_none_lost(run)


def test_adversaries():
    def run():
        for seed in range(40):
            test_callbacks.run_adversary(achar.pickle.dumps, seed, seed % 6)

    assert_none_lost(run, 15)


def test_failing_writes():
    class Failing:
        def __init__(self):
            self.left = 3

        def write(self, data):
            self.left -= 1
            if not self.left:
                raise OSError("full")

    data = [[str(i), {"k": [i]}] for i in range(10_000)] + [bytes(100_000)]

    def run():
        for module in (achar, achar.pickle):
            assert outcome(module.dump, data, Failing())[0] is OSError

    assert_none_lost(run, 15)


def test_memory():
    """Big blocks are not counted above."""
    data = [[str(i), {"k": [i]}] for i in range(10_000)] + [bytes(1 << 20), "é" * (1 << 20)]
    deep = []
    for _ in range(50_000):
        deep = [deep]

    def run():
        achar.pickle.dumps(data)
        achar.dumps(deep)
        achar.pickle.dump(data, Chunks())
        outcome(achar.pickle.dumps, [data, test_callbacks.Back(lambda: 5)])

    run()
    gc.collect()
    tracemalloc.start()
    try:
        run()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            run()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
        while deep:
            deep = deep.pop()

"""Memo entries that nobody fetches are left out (plan.c): whatever is fetched must be there all the same."""

import _pickle
import gc
import pickletools
import random
import struct
import weakref

import achar.pickle
import pytest


def outcome(loads, data):
    """What loads makes of 'data', sharing included, or its error."""
    try:
        loaded = loads(data)
    except Exception as error:
        return type(error), str(error)
    return _pickle.dumps(loaded, 4)


def put(source, index, next_index):
    if index == next_index and source.random() < 0.9:
        return b"\x94"
    forms = [b"r" + struct.pack("<I", index), b"p%d\n" % index]
    if index < 256:
        forms.append(b"q" + bytes([index]))
    return source.choice(forms)


def get(source, index, text):
    forms = [b"j" + struct.pack("<I", index)]
    if index < 256:
        forms.append(b"h" + bytes([index]))
    if text:
        # An integer ends at a NUL, too.
        forms.append(source.choice([b"g%d\n", b"g %d\n", b"g+%d\n", b"g0_%d\n", b"g%d\0zj\n"]) % index)
    return source.choice(forms)


def make_program(seed):
    """A tuple of many objects, most of them in the memo, some fetched; some puts are out of order."""
    source = random.Random(seed)
    text, disorder = source.random() < 0.2, source.choice([0, 0, 0.01, 0.2])
    parts, used = [b"\x80\x04("], set()
    for i in range(source.choice([10, 70, 300, 700])):
        if used and source.random() < 0.1:
            index = source.choice(sorted(used)) if source.random() < 0.99 else source.randrange(1000)
            parts.append(get(source, index, text and source.random() < 0.1))
            continue
        word = b"j\n1h%d" % i
        parts.append(
            source.choice(
                [
                    b"\x8c" + bytes([len(word)]) + word,
                    b"]",
                    b"](K\x01K\x02e",
                    b"}",
                    b"}(K\x01]u",
                    b"C\x01j",
                    b"N\x85",
                    b"\x8f",
                    b"(K\x01\x91",
                    b"K\x01",
                ]
            )
        )
        if source.random() < 0.9:
            index = source.randrange(1500) if source.random() < disorder else len(used)
            parts.append(put(source, index, len(used)))
            used.add(index)
    return b"".join(parts) + b"t."


@pytest.mark.parametrize("part", range(8))
def test_random_puts_and_gets(part):
    for seed in range(part * 100, part * 100 + 100):
        data = make_program(seed)
        assert outcome(achar.pickle.loads, data) == outcome(_pickle.loads, data), seed


@pytest.mark.parametrize("protocol", range(6))
def test_shared_objects_stay_shared(protocol):
    shared = [[i] for i in range(400)]
    value = [(i, shared[i * 7 % 400], str(i), {"key": shared[i]}) for i in range(400)] + [shared]
    data = _pickle.dumps(value, protocol)
    loaded = achar.pickle.loads(data)
    assert _pickle.dumps(loaded, 4) == _pickle.dumps(value, 4)
    assert loaded[399][3]["key"] is loaded[400][399]


def test_cycles():
    value = [["filler", str(i)] for i in range(300)]
    for item in value:
        item.append((value, {"all": value, "own": item}))
    loaded = achar.pickle.loads(_pickle.dumps(value, 5))
    assert all(item[2][0] is loaded and item[2][1]["own"] is item for item in loaded)


def test_the_last_of_many_and_the_first():
    words = [f"word number {i}" for i in range(70_000)]
    loaded = achar.pickle.loads(_pickle.dumps([*words, words[0], words[69_999], words[40_000]], 5))
    assert loaded[-3] is loaded[0] and loaded[-2] is loaded[69_999] and loaded[-1] is loaded[40_000]


log = []


class Watched:
    """Tells its end."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        log.append(self.number)

    def __reduce__(self):
        return Watched, (self.number,)


def note(thing):
    log.append("noted")
    return len(log)


class Consumed:
    """Its pickle hands a Watched to a function that does not keep it."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return note, (Watched(self.number),)


@pytest.mark.parametrize("loads", [_pickle.loads, achar.pickle.loads], ids=["_pickle", "achar"])
def test_what_can_be_watched_ends_after_the_load_as_with_the_interpreter(loads):
    data = _pickle.dumps([[f"filler {i}" for i in range(200)], [Consumed(i) for i in range(5)]], 5)
    log.clear()
    loads(data)
    gc.collect()
    assert log[:5] == ["noted"] * 5 and sorted(log[5:]) == [0, 1, 2, 3, 4]


references = []


def refer(thing):
    references.append(weakref.ref(thing))
    return [reference() is not None for reference in references]


class ReferredTo:
    """Its pickle hands a set to a function that keeps a weak reference to it."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return refer, ({self.number},)


def test_sets_can_be_watched_too():
    data = _pickle.dumps([[f"filler {i}" for i in range(300)], [ReferredTo(i) for i in range(5)]], 5)
    references.clear()
    expected = _pickle.loads(data)
    assert expected[1][4] == [True] * 5
    references.clear()
    assert achar.pickle.loads(data) == expected


@pytest.mark.parametrize("protocol", range(6))
def test_every_object_of_an_optimized_pickle(protocol):
    value = {f"key {i}": [f"value {i % 50}", i, (i, str(i))] for i in range(500)}
    data = pickletools.optimize(_pickle.dumps(value, protocol))
    assert achar.pickle.loads(data) == value


def test_input_that_changes_under_the_load_is_an_error_or_a_value():
    """A plan is made from bytes that a callback then changes: no crash, whatever comes of it."""
    words = [f"word {i}" for i in range(300)]
    data = bytearray(_pickle.dumps([*words, Changer(), words[299]], 5))
    at = data.index(b"j" + struct.pack("<I", 300))
    Changer.change = lambda: data.__setitem__(slice(at, at + 5), b"j" + struct.pack("<I", 290))
    with pytest.raises(_pickle.UnpicklingError, match="Memo value not found at index 290"):
        achar.pickle.loads(data)
    Changer.change = lambda: data.__setitem__(slice(at, at + 5), b"\x94" * 5)
    achar.pickle.loads(data)
    Changer.change = lambda: data.__setitem__(slice(at, at + 5), b"r\x00\x01\0\0")
    achar.pickle.loads(data)


class Changer:
    change = staticmethod(lambda: None)

    def __reduce__(self):
        return change, ()


def change():
    Changer.change()
    return 1

"""What achar loads is what _pickle loads."""

import _pickle
import collections
import datetime
import decimal
import io
import math
import os
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import achar
import achar.pickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=300)
    | st.binary(max_size=300)
    | st.binary(max_size=40).map(bytearray)
    | st.datetimes()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
)
keys = (
    st.text(max_size=8) | st.integers() | st.tuples(st.text(max_size=3), st.integers()) | st.frozensets(st.integers())
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.dictionaries(keys, inner, max_size=12)
        | st.tuples(inner, inner)
        | st.lists(inner, max_size=5).map(tuple)
        | st.lists(inner, max_size=4).map(collections.deque)
        | st.sets(keys, max_size=6)
        | st.lists(st.tuples(keys, inner), max_size=4).map(collections.OrderedDict)
        | inner.map(lambda value: [value, value])
    ),
    max_leaves=40,
)


def ways(data):
    """Every way in which achar reads."""
    yield achar.pickle.loads(data)
    yield achar.loads(bytearray(data))
    yield achar.pickle.load(io.BytesIO(data))
    yield achar.pickle.load(io.BufferedReader(io.BytesIO(data)))
    yield achar.Unpickler(io.BufferedReader(io.BytesIO(data), 7)).load()


@settings(max_examples=100, deadline=None)
@given(values, st.integers(0, 5))
def test_valid_pickles(value, protocol):
    data = _pickle.dumps(value, protocol)
    expected = _pickle.loads(data)
    for loaded in ways(data):
        assert loaded == expected
        assert type(loaded) is type(expected)
        # Shared objects are shared in the same places.
        assert _pickle.dumps(loaded, protocol) == _pickle.dumps(expected, protocol)


@settings(max_examples=50, deadline=None)
@given(values, st.integers(0, 5))
def test_optimized_pickles(value, protocol):
    data = pickletools.optimize(_pickle.dumps(value, protocol))
    expected = _pickle.loads(data)
    for loaded in ways(data):
        assert loaded == expected


def test_large_containers():
    value = {
        "list": list(range(5000)),
        "strings": [str(i) for i in range(5000)],
        "dict": {str(i): i for i in range(5000)},
        "set": set(range(5000)),
        "frozenset": frozenset(range(5000)),
        "tuple": tuple(range(5000)),
        "nan": math.inf,
        "when": [datetime.date(2020, 1, 1 + i % 28) for i in range(2000)],
        "decimals": [decimal.Decimal(i) / 7 for i in range(500)],
        "text": "ü" * 70000,
        "bytes": b"x" * 200000,
    }
    for protocol in range(6):
        data = _pickle.dumps(value, protocol)
        for loaded in ways(data):
            assert loaded == value


MUTATED = 50_000 if "ACHAR_STRESS" in os.environ else 4000


@pytest.mark.parametrize("seed", range(4))
def test_mutated_pickles(seed):
    """Same value, or both refuse with the same words; in a process with a memory limit."""
    done = subprocess.run(
        [sys.executable, str(HERE / "differential.py"), str(seed), str(MUTATED)],
        capture_output=True, text=True, timeout=2500 if MUTATED > 4000 else 800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{MUTATED} inputs" in done.stdout


GOLDENS = [
    {"a": [1, 2.5, None, True], "b": ("x", b"y", {"z": {1, 2}}), "c": frozenset([3]), "d": -(2**80), "e": bytearray(3)},
    [datetime.datetime(2024, 1, 2), collections.OrderedDict(k=1), collections.deque([1], 3), 2j, range(5)],
    ["text", "ü" * 300, "x" * 70000, b"b" * 70000],
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("golden", range(len(GOLDENS)))
def test_every_prefix(golden, protocol):
    """A prefix is refused as _pickle refuses it, from memory and from files."""
    data = _pickle.dumps(GOLDENS[golden], protocol)
    step = 1 if len(data) < 5000 else len(data) // 500
    for size in [*range(0, len(data), step), len(data) - 1]:
        prefix = data[:size]
        errors = []
        for load in (_pickle.loads, achar.pickle.loads, achar.loads):
            with pytest.raises((EOFError, pickle.UnpicklingError, AttributeError, ValueError)) as caught:
                load(prefix)
            errors.append(type(caught.value))
        assert errors == errors[:1] * 3, (size, errors)
        errors = []
        for load in (_pickle.load, achar.pickle.load, achar.load):
            with pytest.raises((EOFError, pickle.UnpicklingError, AttributeError, ValueError)) as caught:
                load(io.BytesIO(prefix))
            errors.append(type(caught.value))
        assert errors == errors[:1] * 3, (size, errors)


@pytest.mark.parametrize("protocol", range(6))
def test_python2_strings(protocol):
    for data in (b"U\x03ab\xff.", b"T\x04\x00\x00\x00\xe4\xf6\xfc\xdf.", b"S'\\xe4\\n'\n."):
        for options in (
            {"encoding": "bytes"}, {"encoding": "latin1"}, {"errors": "replace"}, {"errors": "surrogateescape"},
            {"encoding": "utf-8", "errors": "ignore"},
        ):  # fmt: skip
            expected = _pickle.loads(data, **options)
            assert achar.pickle.loads(data, **options) == expected
            assert achar.pickle.load(io.BytesIO(data), **options) == expected
            assert achar.Unpickler(io.BytesIO(data), **options).load() == expected
        with pytest.raises(UnicodeDecodeError):
            achar.pickle.loads(data)


def test_fix_imports():
    for data in (b"c__builtin__\nlong\n.", b"ccopy_reg\n_reconstructor\n.", b"cStringIO\nStringIO\n."):
        assert achar.pickle.loads(b"\x80\x02" + data) is _pickle.loads(b"\x80\x02" + data)
        assert achar.pickle.loads(data) is _pickle.loads(data)
        with pytest.raises(ImportError):
            achar.pickle.loads(data, fix_imports=False)
        with pytest.raises(ImportError):
            achar.pickle.loads(b"\x80\x04" + data)


@pytest.mark.parametrize("data", [b"P\xff\n.", b"Pabc", b"P", b"P\n.", b"Q.", b"(Q.", b"NQ."])
def test_persistent_ids_without_persistent_load(data):
    def complaint(loads):
        with pytest.raises(pickle.UnpicklingError) as caught:
            loads(data)
        return str(caught.value)

    assert complaint(achar.pickle.loads) == complaint(_pickle.loads)


def test_extension_codes_ask_find_class():
    """The interpreter keeps what an extension code stood for, and so skips find_class; we do not."""
    import copyreg

    copyreg.add_extension("collections", "OrderedDict", 0xA5)
    try:
        data = b"\x82\xa5."
        assert achar.pickle.loads(data) is collections.OrderedDict
        assert _pickle.loads(data) is collections.OrderedDict  # fills the interpreter's cache
        asked = []

        class Careful(achar.pickle.Unpickler):
            def find_class(self, module, name):
                asked.append((module, name))
                raise pickle.UnpicklingError("no")

        for data in (b"\x82\xa5.", b"\x83\xa5\x00.", b"\x84\xa5\x00\x00\x00."):
            with pytest.raises(pickle.UnpicklingError, match="no"):
                Careful(io.BytesIO(data)).load()
        assert asked == [("collections", "OrderedDict")] * 3
    finally:
        copyreg.remove_extension("collections", "OrderedDict", 0xA5)
        copyreg.clear_extension_cache()
    for data, message in ((b"\x82\xa5.", "unregistered extension code 165"), (b"\x82\x00.", "code <= 0")):
        with pytest.raises((ValueError, pickle.UnpicklingError), match=message):
            achar.pickle.loads(data)

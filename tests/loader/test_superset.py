"""What achar.loads says beyond what pickle.loads says: where, at which opcode, and what to do."""

import io
import pickle
import sys

import achar
import pytest

ERRORS = {
    "nothing": (b"", EOFError, r"Ran out of input \(at byte 0, the end\): there is nothing to load"),
    "no end": (b"\x80\x04N", EOFError, r"\(at byte 3, the end\): the pickle has no end"),
    "text": (b"hello", pickle.UnpicklingError, r"\(at byte 0, BINGET\): these bytes do not begin like a pickle"),
    "key": (b"\x80\x04\xff", pickle.UnpicklingError, r"invalid load key, '\\xff'. \(at byte 2, not an opcode\)"),
    "cut": (
        b"\x80\x04\x8c\x20short",
        pickle.UnpicklingError,
        r"pickle data was truncated \(at byte 2, SHORT_BINUNICODE\): the data ends within",
    ),
    "memo": (b"\x80\x04Nh\x09.", pickle.UnpicklingError, r"index 9 \(at byte 3, BINGET\): the data is damaged"),
    "stack": (b"\x80\x04NR.", pickle.UnpicklingError, r"stack underflow \(at byte 3, REDUCE\)"),
    "protocol": (b"\x80\x63.", ValueError, r"unsupported pickle protocol: 99 \(at byte 0, PROTO\)"),
    "persistent": (b"NPid\n.", pickle.UnpicklingError, r"\(at byte 1, PERSID\): load it with an Unpickler that has"),
    "buffers": (b"N\x97.", pickle.UnpicklingError, r"\(at byte 1, NEXT_BUFFER\): pass as buffers"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_messages(name):
    data, error, pattern = ERRORS[name]
    for load in (
        lambda: achar.loads(data),
        lambda: achar.load(io.BytesIO(data)),
        lambda: achar.load(io.BufferedReader(io.BytesIO(data))),
        lambda: achar.Unpickler(io.BytesIO(data)).load(),
    ):
        with pytest.raises(error, match=pattern):
            load()


def test_offsets_in_later_chunks_and_pickles():
    """The offset counts from where this Unpickler began, across chunks and pickles."""
    good = pickle.dumps(["x" * 300000, 1], 4)
    bad = b"\x80\x04N0h\x05."
    loader = achar.Unpickler(io.BufferedReader(io.BytesIO(good + bad)))
    loader.load()
    with pytest.raises(pickle.UnpicklingError, match=rf"\(at byte {len(good) + 4}, BINGET\)"):
        loader.load()
    with pytest.raises(pickle.UnpicklingError, match=r"\(at byte 2000001, BINGET\)"):
        achar.load(io.BytesIO(b"N0" * 1000000 + b"Nh\x05."))


def notes(error):
    return "\n".join(getattr(error, "__notes__", []))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes before 3.11")
def test_notes_on_what_cannot_be_had():
    with pytest.raises(ModuleNotFoundError) as caught:
        achar.loads(b"\x80\x04cno_such_module.sub\nName\n.")
    assert "obj: no_such_module.sub.Name cannot be had here" in notes(caught.value)
    assert "register_by_value" in notes(caught.value)
    assert "at byte 2, GLOBAL" in notes(caught.value)
    with pytest.raises(AttributeError) as caught:
        achar.loads(b"\x80\x04\x8c\x02os\x8c\x07nothing\x93.")
    assert "obj: os has no nothing here" in notes(caught.value)
    with pytest.raises(ZeroDivisionError) as caught:
        achar.loads(b"\x80\x04coperator\nfloordiv\nK\x01K\x00\x86R.")
    assert "at byte 26, REDUCE" in notes(caught.value)


def test_deep_nesting():
    """100,000 levels, in every container."""
    depth = 100000
    for opening, closing in ((b"]", b"a"), (b"}K\x01", b"s"), (b"", b"\x85"), (b"(", b"l"), (b"(K\x01", b"t")):
        value = achar.loads(opening * depth + b"N" + closing * depth + b".")
        for _ in range(depth):
            value = value[1] if isinstance(value, dict) else value[-1]
        assert value is None


def test_subclass_relation():
    assert issubclass(achar.Unpickler, achar.pickle.Unpickler)
    assert achar.loads.__module__ == achar.Unpickler.__module__ == "achar"
    assert achar.pickle.loads.__module__ == achar.pickle.Unpickler.__module__ == "achar.pickle"
    assert pickle.loads(pickle.dumps(achar.Unpickler)) is achar.Unpickler
    for name in ("load", "loads"):
        assert pickle.loads(pickle.dumps(getattr(achar, name))) is getattr(achar, name)

"""Truncated, changed and hostile pickles: an error with its place, or a value; never a crash, never
memory out of proportion."""

import golden
import pytest
from conftest import Refused

ASCII, LATIN1 = 0, 1


def outcome(rewrite, data, encoding=ASCII):
    """Where reading failed, or None."""
    try:
        rewrite(data, 5, encoding)
    except Refused as refused:
        if not refused.reading:
            return None
        assert refused.offset <= len(data)
        assert refused.message
        return refused
    return None


@pytest.mark.parametrize("file, name", golden.CASES, ids=golden.IDS)
def test_every_prefix_is_an_error(rewrite, file, name):
    data = file.read_bytes()
    step = max(1, len(data) // 400)
    for size in range(0, len(data), step):
        refused = outcome(rewrite, data[:size], LATIN1)
        assert refused is not None and refused.code in ("E_TRUNCATED", "E_FRAME"), size


SMALL = [(file, name) for file, name in golden.CASES if file.stat().st_size < 500]


@pytest.mark.parametrize("file, name", SMALL, ids=[name for _, name in SMALL])
def test_every_changed_byte_is_an_error_or_a_value(rewrite, file, name):
    data = file.read_bytes()
    for i in range(len(data)):
        for byte in {data[i] ^ 1, data[i] ^ 0x80, 0, 0xFF, ord("."), ord("("), ord("0"), ord("\n"), ord("t")}:
            outcome(rewrite, data[:i] + bytes([byte]) + data[i + 1 :], LATIN1)


ERRORS = {
    # pickle: code, offset of the opcode that fails
    b"": ("E_TRUNCATED", 0),
    b"N": ("E_TRUNCATED", 1),
    b".": ("E_STACK", 0),
    b"\xff": ("E_OPCODE", 0),
    b"\x80\x06N.": ("E_PROTOCOL", 0),
    b"K": ("E_TRUNCATED", 0),
    b"Nt.": ("E_STACK", 1),
    b"(a": ("E_STACK", 1),
    b"](Na.": ("E_STACK", 3),
    b"(Nd.": ("E_STACK", 2),
    b"h\x00.": ("E_MEMO", 0),
    b"g-1\n.": ("E_NUMBER", 0),
    b"I0x10\n.": ("E_NUMBER", 0),
    b"I010\n.": ("E_NUMBER", 0),
    b"I1\0z\n.": ("E_NUMBER", 0),
    b"L0x10L\n.": ("E_NUMBER", 0),
    b"L1_000L\n.": ("E_NUMBER", 0),
    b"L\n.": ("E_NUMBER", 0),
    b"F1\0z\n.": ("E_NUMBER", 0),
    b"F0x1p3\n.": ("E_NUMBER", 0),
    b"F\n.": ("E_NUMBER", 0),
    b"\x8b\xff\xff\xff\xff.": ("E_NUMBER", 0),
    b"\x84\x00\x00\x00\x00.": ("E_NUMBER", 0),
    b"X\x01\0\0\0\xff.": ("E_TEXT", 0),
    b"U\x01\xe9.": ("E_TEXT", 0),
    b"S'\xe9'\n.": ("E_TEXT", 0),
    b"Sabc\n.": ("E_TEXT", 0),
    b"S'\\x4'\n.": ("E_TEXT", 0),
    b"V\\u12\n.": ("E_TEXT", 0),
    b"V\\U00110000\n.": ("E_TEXT", 0),
    b"N)R.": ("E_TYPE", 2),
    b"cos\nabort\nNR.": ("E_TYPE", 11),
    b"K\x01Na.": ("E_TYPE", 3),
    b"K\x01K\x02\x93.": ("E_TYPE", 4),
    b"N\x98.": ("E_TYPE", 1),
    # frames
    b"\x80\x04\x95\x01\0\0\0\0\0\0\0K\x01.": ("E_FRAME", 11),
    b"\x80\x04\x95\x05\0\0\0\0\0\0\0N.NNN": ("E_FRAME", 12),
    b"\x80\x04\x95\x14\0\0\0\0\0\0\0N\x95\x01\0\0\0\0\0\0\0N.........": ("E_FRAME", 12),
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.": ("E_TRUNCATED", 2),
    # sizes without data
    b"\x8e\x00\x00\x00\x00\x00\x01\x00\x00.": ("E_TRUNCATED", 0),
    b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.": ("E_TRUNCATED", 0),
    b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.": ("E_TRUNCATED", 0),
    b"T\xff\xff\xff\xff.": ("E_TRUNCATED", 0),
}


@pytest.mark.parametrize("data", ERRORS, ids=repr)
def test_code_and_offset(rewrite, data):
    refused = outcome(rewrite, data)
    assert refused is not None
    assert (refused.code, refused.offset) == ERRORS[data], refused

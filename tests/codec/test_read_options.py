"""What a C program is told of a pickle that Python loads with options: encoding, buffers, persistent
ids, extension codes; and integers of any size."""

import copyreg
import io
import pathlib
import pickle
import sys

import pytest
from conftest import Refused as NotRewritten
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapes_client import ASCII, BYTES, LATIN1, UTF8, Refused, Server, same

QUIET = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


# --- encoding, of Python 2's str: STRING, BINSTRING, SHORT_BINSTRING

ENCODINGS = {ASCII: "ASCII", LATIN1: "latin1", UTF8: "utf-8", BYTES: "bytes"}
STRINGS = [
    lambda text: b"U" + bytes([len(text)]) + text + b".",
    lambda text: b"T" + len(text).to_bytes(4, "little") + text + b".",
    lambda text: b"S" + repr(text)[1:].encode() + b"\n.",
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("write", STRINGS, ids=["short", "long", "line"])
@QUIET
@given(st.binary(max_size=100) | st.text(max_size=30).map(str.encode))
def test_encoding(server, write, encoding, text):
    data = write(text)
    try:
        expected = pickle.loads(data, encoding=ENCODINGS[encoding], errors="surrogatepass")
    except UnicodeDecodeError:
        with pytest.raises(Refused) as refused:
            server.describe(data, encoding)
        assert refused.value.code == "E_TEXT"
    else:
        assert same(server.describe(data, encoding), expected)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encoding_is_of_python_2s_str_only(server, encoding):
    for protocol in range(6):
        assert server.describe(pickle.dumps(["ö", b"\xff"], protocol), encoding) == ["ö", b"\xff"]


# --- what the loading program provides


class Special:
    def __init__(self, id):
        self.id = id


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Special) else None


@pytest.mark.parametrize("protocol", range(6))
def test_persistent_ids_are_values(server, protocol):
    ids = ["key", "7"] if protocol == 0 else ["key", 7, ("a", b"b"), None, [1.5]]
    out = io.BytesIO()
    Pickler(out, protocol).dump([Special(id) for id in ids if id is not None])
    found = server.describe(out.getvalue())
    assert [item.id for item in found] == [id for id in ids if id is not None]


@pytest.mark.parametrize("code", [1, 255, 256, 65535, 65536, 2**31 - 1])
def test_extension_codes_are_values(server, code):
    copyreg.add_extension("pathlib", "PurePath", code)
    try:
        data = pickle.dumps([pathlib.PurePath], 2)
        assert server.describe(data)[0].code == code
    finally:
        copyreg.remove_extension("pathlib", "PurePath", code)


def test_buffers(server):
    buffers = []
    contents = [bytearray(b"first"), b"second", bytearray()]
    data = pickle.dumps([pickle.PickleBuffer(item) for item in contents], 5, buffer_callback=buffers.append)
    raw = [bytes(buffer.raw()) for buffer in buffers]
    assert server.describe(data, buffers=raw) == [(0, 0, b"first"), (1, 1, b"second"), (2, 0, b"")]
    assert server.describe(data) == [(0, 0, None), (1, 1, None), (2, 0, None)]
    with pytest.raises(Refused) as refused:
        server.describe(data, buffers=raw[:2])
    assert refused.value.code == "E_BUFFERS"


# --- integers


@pytest.fixture
def any_digits():
    """Python refuses to convert more than 4300 digits otherwise."""
    before = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else None
    if before is not None:
        sys.set_int_max_str_digits(0)
    yield
    if before is not None:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("digits", [18, 19, 20, 100, 5000, 100_000])
def test_integers_of_any_size(server, rewrite, any_digits, protocol, digits):
    """In decimal (protocols 0 and 1) and in two's complement, read and written."""
    numbers = [10**digits, -(10**digits), 10**digits - 1, int("7" * digits), -(2 ** (digits * 3))]
    data = pickle.dumps(numbers, protocol)
    assert server.describe(data) == numbers
    for other in (0, 2):
        try:
            assert pickle.loads(rewrite(data, other)) == numbers
        except NotRewritten as refused:
            pytest.fail(str(refused))


@QUIET
@given(st.integers(), st.integers(0, 5))
def test_integers(server, number, protocol):
    for shift in (0, 7, 8, 63, 64, 200):
        value = number << shift
        assert server.describe(pickle.dumps(value, protocol)) == value

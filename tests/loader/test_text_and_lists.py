"""The loader's own ways to make strings and long lists, length by length, against _pickle."""

import _pickle
import sys

import achar.pickle
import pytest

ALPHABETS = {
    "ASCII": "abc\x00\x7f",
    "Latin-1": "a\x80\xff",
    "BMP": "a\u0100\u07ff\u0800\ud7ff\ue000\uffff",
    "astral": "a\xe9\u20ac\U00010000\U0010ffff",
    "surrogates": "a\ud800\u20ac\udfff",
}


@pytest.mark.parametrize("name", ALPHABETS)
def test_every_short_length(name):
    alphabet = ALPHABETS[name]
    for length in range(300):
        for start in range(len(alphabet)):
            text = "".join(alphabet[(start + i) % len(alphabet)] for i in range(length))
            data = _pickle.dumps(text, 5)
            loaded = achar.pickle.loads(data)
            assert loaded == text and hash(loaded) == hash(text)
            assert loaded.isascii() == text.isascii()
            assert sys.getsizeof(loaded) == sys.getsizeof(_pickle.loads(data))


@pytest.mark.parametrize("code", [b"\x8c%c", b"X%c\0\0\0", b"\x8d%c" + bytes(7)])
def test_every_two_and_three_bytes_decode_as_the_interpreter_decodes_them(code):
    for first in range(0x80, 0x100):
        for second in (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF):
            for rest in (b"", b"\x80", b"\xbf", b"\x80\x80", b"\xbf\xbf", b"a", b"\x80a", b"\xc0\x80"):
                raw = b"x" + bytes([first, second]) + rest
                data = b"\x80\x04" + code % len(raw) + raw + b"."
                try:
                    expected = _pickle.loads(data)
                except UnicodeDecodeError as error:
                    with pytest.raises(UnicodeDecodeError) as caught:
                        achar.pickle.loads(data)
                    assert caught.value.args == error.args
                else:
                    assert achar.pickle.loads(data) == expected


@pytest.mark.parametrize("batches", [1, 2, 3, 10])
@pytest.mark.parametrize("rest", [-1, 0, 1, 2, 500])
def test_long_lists_take_no_more_memory_than_the_interpreters(batches, rest):
    data = _pickle.dumps(list(range(batches * 1000 + rest)), 5)
    loaded, expected = achar.pickle.loads(data), _pickle.loads(data)
    assert loaded == expected
    assert sys.getsizeof(loaded) <= 1.3 * sys.getsizeof(expected)
    loaded.extend(range(5000))
    assert loaded == expected + list(range(5000))

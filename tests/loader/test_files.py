"""Loading from files: which methods are called, where the file stands afterwards, hostile lengths."""

import _pickle
import io
import os
import pickle

import achar
import achar.pickle
import pytest

VALUES = [None, [1, "two", 3.0], {"k": b"v" * 100}, "x" * 70000, bytes(300000), [bytes(200000), "end"], "üöä" * 1000]


class Watched:
    """A file that notes how it is read; it has only the methods that are named."""

    def __init__(self, data, methods):
        self.file = io.BufferedReader(io.BytesIO(data), 1 << 20)
        self.calls = []
        for method in methods.split():
            setattr(self, method, self.watch(method))

    def watch(self, method):
        def call(*args):
            size = len(args[0]) if method == "readinto" else args[0] if args else None
            self.calls.append((method, size))
            return getattr(self.file, method)(*args)

        return call


@pytest.mark.parametrize("methods", ["read readline", "read readline readinto", "read readline peek readinto"])
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("number", range(len(VALUES)))
def test_same_calls_as_the_interpreter(number, protocol, methods):
    """Its own unpickler asks the same of the file, and leaves it at the same place."""
    data = _pickle.dumps(VALUES[number], protocol) + b"rest"
    theirs, ours = Watched(data, methods), Watched(data, methods)
    assert _pickle.load(theirs) == achar.pickle.load(ours)
    assert ours.calls == theirs.calls
    assert ours.file.read() == theirs.file.read() == b"rest"


@pytest.mark.parametrize("wrap", [io.BytesIO, lambda data: io.BufferedReader(io.BytesIO(data), 64)])
def test_several_pickles(wrap):
    for protocol in range(6):
        file = wrap(b"".join(_pickle.dumps(value, protocol) for value in VALUES))
        assert [achar.pickle.load(file) for _ in VALUES] == VALUES
        with pytest.raises(EOFError):
            achar.pickle.load(file)


def test_real_files(tmp_path):
    path = tmp_path / "pickles"
    with open(path, "wb") as file:
        for value in VALUES:
            pickle.dump(value, file)
    for buffering in (-1, 0, 16):
        with open(path, "rb", buffering=buffering) as file:
            assert [achar.load(file) for _ in VALUES] == VALUES


def test_bytes_left_before_an_argument_that_crosses_a_frame_are_kept():
    """As from memory. The interpreter up to 3.13.0 drops them, so that its load() and loads() differ."""
    data = b"\x80\x04\x95\x03\0\0\0\0\0\0\0N0J\x01\x02\x03\x04."
    try:
        expected = _pickle.loads(data)
    except pickle.UnpicklingError:
        with pytest.raises(pickle.UnpicklingError, match="frame"):
            achar.pickle.loads(data)
        return
    assert achar.pickle.loads(data) == expected
    assert achar.pickle.load(io.BytesIO(data)) == expected
    assert achar.pickle.load(io.BufferedReader(io.BytesIO(data))) == expected
    line = b"\x80\x04\x95\x04\0\0\0\0\0\0\0N0I12\n."
    assert achar.pickle.load(io.BytesIO(line)) == achar.pickle.loads(line) == 12


def test_large_lengths_are_read_in_pieces():
    """A length is believed only as far as bytes have come."""

    class Endless:
        """Gives what is asked for, up to 32 MiB in all, and keeps account of the largest request."""

        def __init__(self, head):
            self.head, self.left, self.largest = io.BytesIO(head), 32 << 20, 0

        def read(self, size):
            self.largest = max(self.largest, size)
            got = self.head.read(size)
            fill = min(size - len(got), self.left)
            self.left -= fill
            return got + bytes(fill)

        def readline(self):
            return self.head.readline()

    for head in (b"\x80\x04\x8e", b"\x80\x05\x96", b"\x80\x04\x8d", b"\x80\x04\x95"):
        file = Endless(head + (1 << 45).to_bytes(8, "little"))
        with pytest.raises(pickle.UnpicklingError, match="truncated"):
            achar.pickle.load(file)
        assert file.largest <= 64 << 20
    # And those that are honest are read whole.
    for size in (4 << 20, (4 << 20) + 1, 20 << 20):
        for value in (os.urandom(size), bytearray(size), "x" * size):
            data = _pickle.dumps(value, 5)
            assert achar.pickle.load(io.BytesIO(data)) == value
            assert achar.pickle.load(Watched(data, "read readline")) == value


def test_misbehaving_files():
    class File:
        def __init__(self, **methods):
            self.__dict__.update(methods)

    data = pickle.dumps(bytes(200000))
    for file, error in (
        (File(read=lambda n: "text", readline=lambda: b""), TypeError),
        (File(read=lambda n: None, readline=lambda: b""), TypeError),
        (File(read=lambda n: b"", readline=lambda: b""), EOFError),
        (File(read=lambda n: b"I", readline=lambda: b"12"), pickle.UnpicklingError),
        (File(read=lambda n: b"I", readline=lambda: 5), TypeError),
        (File(read=io.BytesIO(data).read, readline=None, readinto=lambda view: -1), ValueError),
        (File(read=io.BytesIO(data).read, readline=None, readinto=lambda view: 5), pickle.UnpicklingError),
        (File(read=io.BytesIO(data).read, readline=None, readinto=lambda view: None), TypeError),
    ):
        with pytest.raises(error):
            achar.pickle.load(file)
    for file in (object(), File(read=len), File(readline=len)):
        with pytest.raises(TypeError, match="file must have 'read' and 'readline' attributes"):
            achar.pickle.load(file)
    # More than was asked for is used, as the interpreter does.
    whole = pickle.dumps([1, 2, 3])
    assert achar.pickle.load(File(read=lambda n: whole, readline=len)) == [1, 2, 3]


@pytest.mark.parametrize("make", [bytes, bytearray])
def test_a_view_that_readinto_keeps_is_taken_back(make):
    data = pickle.dumps(make(b"x" * 200000), 5)
    kept, ways = [], [lambda view: view, memoryview]  # memoryview: a view of its own, which nobody can end

    class Keeps(io.BytesIO):
        def readinto(self, view):
            kept.append(ways[0](view))
            return super().readinto(view)

    loaded = achar.pickle.load(Keeps(data))
    assert loaded == b"x" * 200000
    with pytest.raises(ValueError, match="released"):
        kept[0][0] = 65
    del ways[0]
    with pytest.raises(BufferError, match="kept a view"):
        achar.pickle.load(Keeps(data))
    kept[1][:] = b"y" * len(kept[1])
    assert kept[1].tobytes() == b"y" * len(kept[1])


def test_out_of_band_buffers():
    value = [pickle.PickleBuffer(bytearray(b"writable")), pickle.PickleBuffer(b"read-only")]
    buffers = []
    data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    assert len(buffers) == 2
    for loads in (achar.pickle.loads, achar.loads):
        first, second = loads(data, buffers=[bytearray(b"writable"), bytearray(b"made so")])
        assert first == b"writable" and isinstance(first, bytearray)
        assert isinstance(second, memoryview) and second.readonly
        with pytest.raises(pickle.UnpicklingError, match="no .buffers. argument was given"):
            loads(data)
        with pytest.raises(pickle.UnpicklingError, match="not enough out-of-band buffers"):
            loads(data, buffers=[b"one"])
        with pytest.raises(TypeError):
            loads(b"\x80\x05K\x01\x98.")

"""Golden pickles of every protocol and of Python 2.7: all opcodes, read, rewritten, shown."""

import copyreg
import io
import json
import pickle
import pickletools

import golden
import pytest
from conftest import Refused

BYTES, LATIN1 = 3, 1
PROTOCOLS = range(6)
# What a protocol has no way to say.
LOWEST = {"hand/binpersid": 1, "hand/ext": 2, "hand/buffers": 5, "hand/obj": 1}


def equal(a, b):
    """Equal values with equal sharing: what pickle writes of both is the same."""
    return pickle.dumps(a, 4) == pickle.dumps(b, 4)


def test_every_opcode_occurs():
    seen = set()
    for file, name in golden.CASES:
        if name != "2.7/objects.0":  # not ASCII, which pickletools refuses
            seen |= {op.name for op, _, _ in pickletools.genops(file.read_bytes())}
    assert seen == {op.name for op in pickletools.opcodes}


@pytest.mark.parametrize("file, name", golden.CASES, ids=golden.IDS)
def test_disassembly_is_that_of_pickletools(command, file, name):
    expected = io.StringIO()
    try:
        pickletools.dis(file.read_bytes(), expected)
        refused = False
    except ValueError:
        refused = True
    done = command("dis", file)
    assert done.returncode == refused, done.stderr
    assert done.stdout.decode() == expected.getvalue()


@pytest.mark.parametrize("file, name", golden.CASES, ids=golden.IDS)
def test_rewritten_in_every_protocol(rewrite, file, name):
    data = file.read_bytes()
    for protocol in PROTOCOLS:
        if protocol < LOWEST.get(name, 0):
            with pytest.raises(Refused, match="E_UNSUPPORTED") as refused:
                rewrite(data, protocol, LATIN1)
            assert not refused.value.reading
            continue
        written = rewrite(data, protocol, LATIN1)
        assert all(op.proto <= protocol for op, _, _ in pickletools.genops(written)), protocol
        if name not in golden.NOT_LOADABLE:
            assert equal(pickle.loads(written), pickle.loads(data, encoding="latin1")), protocol


@pytest.mark.parametrize("file, name", golden.CASES, ids=golden.IDS)
def test_json(command, file, name):
    done = command("json", "--encoding", "latin1", file)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 1
    json.loads(lines[0])


class Loader(pickle.Unpickler):
    def persistent_load(self, pid):
        return ("persistent", pid)


@pytest.mark.parametrize("name", ["persid", "binpersid"])
def test_persistent_ids(rewrite, name):
    data = (golden.FOLDER / "hand" / f"{name}.pickle").read_bytes()
    for protocol in PROTOCOLS[LOWEST.get(f"hand/{name}", 0) :]:
        written = rewrite(data, protocol)
        assert Loader(io.BytesIO(written)).load() == Loader(io.BytesIO(data)).load()


def test_extension_codes(rewrite):
    data = (golden.FOLDER / "hand" / "ext.pickle").read_bytes()
    codes = {1: ("builtins", "int"), 256: ("builtins", "str"), 65536: ("builtins", "list")}
    for code, (module, name) in codes.items():
        copyreg.add_extension(module, name, code)
    try:
        for protocol in PROTOCOLS[2:]:
            assert pickle.loads(rewrite(data, protocol)) == [int, str, list]
    finally:
        for code, (module, name) in codes.items():
            copyreg.remove_extension(module, name, code)


def test_out_of_band_buffers(rewrite):
    data = (golden.FOLDER / "hand" / "buffers.pickle").read_bytes()
    first, second = pickle.loads(rewrite(data, 5), buffers=[bytearray(b"a"), bytearray(b"b")])
    assert first == b"a" and second == b"b" and second.readonly


def test_python2_strings_as_bytes(rewrite):
    data = (golden.FOLDER / "2.7" / "strings.2.pickle").read_bytes()
    for protocol in PROTOCOLS:
        assert pickle.loads(rewrite(data, protocol, BYTES)) == pickle.loads(data, encoding="bytes")

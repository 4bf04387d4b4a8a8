"""Hostile pickles (tests/bombs.py) through all that is C: reader and writer, json, dis, trace. Each in
a process of its own, with little memory and time, and with output in proportion to the input."""

import resource
import struct
import subprocess
import tempfile

import pytest
from bombs import BOMBS
from conftest import built

TIME_LIMIT_S = 50
BESIDES_NBYTES = 32 << 20

TOOLS = {
    # what runs: memory and output for each byte of the pickle
    "tests/c/codec/rewrite": (150, 10),
    "achar json": (350, 100),
    "achar dis -l 0": (80, 400),  # indented by open MARKs, as pickletools does, its output has no bound
    "achar trace": (200, 2000),
    "achar trace --full --limit 100": (200, 15000),
    "achar trace --html": (400, 1000),
}

TRUNCATED = "the pickle ends inside"
NOT_EMPTY = "the stack is not empty after STOP"  # says pickletools, which dis follows
FINE = ""
# What the reader says, and with it the writer, json and trace; and what dis says.
EXPECTED = {
    **{name: (FINE, FINE) for name in BOMBS},
    **{name: (TRUNCATED, TRUNCATED) for name in BOMBS if name.endswith(("_2^40", "_2^62", "_2^63", "_4g", "_2g"))},
    **{name: (FINE, NOT_EMPTY) for name in ("memo_far_and_near", "deep_marks", "deep_stack")},
    "frame_2^40": ("a frame of 1099511627776 bytes, but only 2 follow", FINE),
    "frame_2^63": ("a frame of 9223372036854775808 bytes, but only 2 follow", FINE),
}


def run(tool, data, out):
    program, *arguments = tool.split()
    per_byte, _ = TOOLS[tool]
    sanitized = b"__asan_init" in built(program).read_bytes()

    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (TIME_LIMIT_S, TIME_LIMIT_S))
        if not sanitized:  # AddressSanitizer maps a part of the address space for itself
            memory = BESIDES_NBYTES + per_byte * len(data)
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    if arguments:
        arguments.append("-")
    else:
        data = bytes([4, 0]) + struct.pack("<Q", len(data)) + data
    return subprocess.run(
        [built(program), *arguments], input=data, stdout=out, stderr=subprocess.PIPE,
        timeout=5 * TIME_LIMIT_S, preexec_fn=limit,
    )  # fmt: skip


def refusal_of(tool, done, out):
    """Why it refused the pickle, b"" if it did not."""
    if not tool.startswith("tests/"):
        assert done.returncode == (done.stderr != b""), (done.returncode, done.stderr)
        return done.stderr
    assert (done.returncode, done.stderr) == (0, b"")
    out.seek(0)
    kind, nbytes = struct.unpack("<BQ", out.read(9))
    return out.read(nbytes) if kind != 0 else b""


# Keys and items are as good as each other where nothing is hashed.
KEYS = {"deep_tuple_keys", "deep_tuple_set", "deep_tuple_frozenset", "deep_tuple_dict"}


@pytest.mark.parametrize("name", [name for name in BOMBS if name not in KEYS])
def test_bomb(name):
    for tool, (_, output_per_byte) in TOOLS.items():
        with tempfile.TemporaryFile() as out:
            done = run(tool, BOMBS[name], out)
            refusal = refusal_of(tool, done, out)
            expected = EXPECTED[name][" dis " in tool]
            assert bool(refusal) == bool(expected), (tool, refusal[:300])
            assert expected.encode() in refusal, (tool, refusal[:300])
            assert out.seek(0, 2) <= 100_000 + output_per_byte * len(BOMBS[name]), tool

"""Hostile pickles (bombs.py), each in a process of its own with little memory and time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TIME_LIMIT_S = 60

REFUSED = ("UnpicklingError", "EOFError", "OverflowError", "ValueError")
EXPECTED = {
    "long_binput_2^24": "loaded NoneType",
    "long_binput_2^27": "loaded NoneType",
    "long_binput_2^31": "loaded NoneType",
    "put_10^8": "loaded NoneType",
    "put_10^18": "loaded NoneType",
    "put_doubling": "loaded NoneType",
    "memo_far_and_near": "loaded NoneType",
    "binbytes8_2^40": "UnpicklingError pickle data was truncated",
    "binbytes8_2^62": "UnpicklingError pickle data was truncated",
    "binbytes8_2^63": "OverflowError BINBYTES exceeds system's maximum size",
    "binbytes_4g": "UnpicklingError pickle data was truncated",
    "bytearray8_2^40": "UnpicklingError pickle data was truncated",
    "binunicode8_2^40": "UnpicklingError pickle data was truncated",
    "binunicode_4g": "UnpicklingError pickle data was truncated",
    "binstring_4g": "UnpicklingError pickle data was truncated",
    "long4_2g": "UnpicklingError pickle data was truncated",
    "frame_2^40": "UnpicklingError pickle data was truncated",
    "frame_2^63": "OverflowError FRAME length exceeds system's maximum",
    "deep_tuple_key": "UnpicklingError a dict key or set item is a tuple nested more than 10000 deep",
    "deep_tuple_keys": "UnpicklingError a dict key or set item is a tuple nested more than 10000 deep",
    "deep_tuple_set": "UnpicklingError a dict key or set item is a tuple nested more than 10000 deep",
    "deep_tuple_frozenset": "UnpicklingError a dict key or set item is a tuple nested more than 10000 deep",
    "deep_tuple_dict": "UnpicklingError a dict key or set item is a tuple nested more than 10000 deep",
    "wide_tuple_key": "UnpicklingError a dict key or set item repeats more than",
    "deep_tuples": "loaded tuple",
    "deep_lists": "loaded list",
    "deep_marks": "loaded NoneType",
    "deep_stack": "loaded NoneType",
    "digits": "ValueError",
    "int_digits": "ValueError",
}


def explode(name, entry):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", str(HERE / "bombs.py"), name, entry],
        capture_output=True, text=True, timeout=TIME_LIMIT_S,
    )  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_bomb(name):
    entries = ["superset.loads", "superset.load"]
    if name != "wide_tuple_key":  # the strict module hashes it, as the interpreter does, to the end
        entries += ["strict.loads", "strict.load"]
    with ThreadPoolExecutor(2) as pool:
        for entry, done in zip(entries, pool.map(lambda entry: explode(name, entry), entries), strict=True):
            assert done.returncode == 0, f"{entry}: {done.stdout}{done.stderr[-2000:]}"
            assert done.stdout.startswith(EXPECTED[name]), f"{entry}: {done.stdout}"


def test_all_bombs_are_expected():
    sys.path.insert(0, str(HERE))
    try:
        import bombs
    finally:
        sys.path.remove(str(HERE))
    assert set(bombs.BOMBS) == set(EXPECTED)

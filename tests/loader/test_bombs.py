"""Hostile pickles (tests/bombs.py), each in a process of its own with little memory and time."""

import _pickle
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import achar
import achar.pickle
import pytest
from bombs import BOMBS

HERE = Path(__file__).parent
TIME_LIMIT_S = 200

TOO_WIDE = "UnpicklingError a dict key or set item repeats more than"
EXPECTED = {
    "long_binput_2^24": "loaded NoneType",
    "long_binput_2^27": "loaded NoneType",
    "long_binput_2^31": "loaded NoneType",
    "long_binput_2^32": "loaded NoneType",
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
    "wide_tuple_key_24": {"strict": "loaded dict", "superset": TOO_WIDE},
    "wide_tuple_key_60": {"superset": TOO_WIDE},
    "laughing_key": {"superset": TOO_WIDE},
    "wide_tuple": "loaded tuple",
    "wide_tuple_of_text": "loaded tuple",
    "laughing_lists": "loaded list",
    "laughing_tuples": "loaded tuple",
    "deep_tuples": "loaded tuple",
    "deep_lists": "loaded list",
    "deep_persistent": "UnpicklingError",
    "deep_marks": "loaded NoneType",
    "deep_stack": "loaded NoneType",
    "digits": "ValueError",
    "int_digits": "ValueError",
    "long4_2mb": "loaded int",
}


def explode(name, entry):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", str(HERE / "explode.py"), name, entry],
        capture_output=True, text=True, timeout=TIME_LIMIT_S,
    )  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_bomb(name):
    """Where the strict module is not expected it does what the interpreter does: hashes to the end."""
    expected = EXPECTED[name]
    if isinstance(expected, str):
        expected = {"strict": expected, "superset": expected}
    entries = [f"{module}.{call}" for module in expected for call in ("loads", "load")]
    with ThreadPoolExecutor(2) as pool:
        for entry, done in zip(entries, pool.map(lambda entry: explode(name, entry), entries), strict=True):
            assert done.returncode == 0, f"{entry}: {done.stdout}{done.stderr[-2000:]}"
            assert done.stdout.startswith(expected[entry.split(".")[0]]), f"{entry}: {done.stdout}"


def test_all_bombs_are_expected():
    assert set(BOMBS) == set(EXPECTED)


@pytest.mark.parametrize("name, protocol", [("_sys.modules", 4), ("_sys.modules", 3), ("_sys..modules", 4)])
def test_a_dotted_name_that_leaves_its_module_is_asked_for_whole(name, protocol):
    """A find_class that allows modules as a whole allows what they import; one that looks at names sees it."""
    data = b"\x80" + bytes([protocol]) + b"ccollections\n" + name.encode() + b"\n."

    def outcome(base):
        asked = []

        class Asking(base):
            def find_class(self, module, name):
                asked.append((module, name))
                return super().find_class(module, name)

        try:
            return asked, id(Asking(io.BytesIO(data)).load())
        except AttributeError as error:
            return asked, str(error).partition(" (")[0]

    theirs = outcome(_pickle.Unpickler)
    assert theirs[0] == [("collections", name)]
    assert outcome(achar.pickle.Unpickler) == theirs
    asked, value = outcome(achar.Unpickler)
    assert asked == theirs[0] and (value == theirs[1] or isinstance(value, str))

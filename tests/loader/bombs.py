"""One hostile pickle, loaded with little memory: prints what came of it.

    python tests/loader/bombs.py NAME ENTRY

ENTRY is strict.loads, strict.load, superset.loads or superset.load.
"""

import io
import resource
import struct
import sys

import achar
import achar.pickle

EXTRA_MEMORY = 160 << 20


def u64(number):
    return struct.pack("<Q", number)


BOMBS = {
    # seven bytes that ask for 250 MB, 2 GB, 16 GB of memo
    "long_binput_2^24": b"Nr\x00\x00\x00\x01.",
    "long_binput_2^27": b"Nr\x00\x00\x00\x08.",
    "long_binput_2^31": b"Nr\xff\xff\xff\x7f.",
    "put_10^8": b"Np100000000\n.",
    "put_10^18": b"Np1000000000000000000\n.",
    "put_doubling": b"N" + b"".join(b"r" + struct.pack("<I", 1000 << i) for i in range(22)) + b".",
    "memo_far_and_near": b"Nr\xff\xff\xff\x0f" + b"".join(b"K\x01q%c" % i for i in range(250)) + b"j\xff\xff\xff\x0f.",
    # lengths that nothing follows
    "binbytes8_2^40": b"\x80\x04\x8e" + u64(1 << 40) + b"abc.",
    "binbytes8_2^62": b"\x80\x04\x8e" + u64(1 << 62) + b"abc.",
    "binbytes8_2^63": b"\x80\x04\x8e" + u64(1 << 63) + b"abc.",
    "binbytes_4g": b"\x80\x03B\xff\xff\xff\xffabc.",
    "bytearray8_2^40": b"\x80\x05\x96" + u64(1 << 40) + b"abc.",
    "binunicode8_2^40": b"\x80\x04\x8d" + u64(1 << 40) + b"abc.",
    "binunicode_4g": b"X\xff\xff\xff\xffabc.",
    "binstring_4g": b"T\xff\xff\xff\xffabc.",
    "long4_2g": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "frame_2^40": b"\x80\x04\x95" + u64(1 << 40) + b"N.",
    "frame_2^63": b"\x80\x04\x95" + u64(1 << 63) + b"N.",
    # a key whose hash recurses a million times, and one whose hash takes 2^60 steps
    "deep_tuple_key": b"}N" + b"\x85" * 1000000 + b"Ns.",
    "deep_tuple_keys": b"}(N" + b"\x85" * 1000000 + b"Nu.",
    "deep_tuple_set": b"\x8f(N" + b"\x85" * 1000000 + b"\x90.",
    "deep_tuple_frozenset": b"(N" + b"\x85" * 1000000 + b"\x91.",
    "deep_tuple_dict": b"(N" + b"\x85" * 1000000 + b"Nd.",
    "wide_tuple_key": b"}N" + b"2\x86" * 60 + b"Ns.",
    # depth that only memory limits
    "deep_tuples": b"N" + b"\x85" * 1000000 + b".",
    "deep_lists": b"]" * 200000 + b"a" * 199999 + b".",
    "deep_marks": b"(" * 1000000 + b"N.",
    "deep_stack": b"N" * 1000000 + b".",
    "digits": b"L" + b"9" * 2000000 + b"L\n.",
    "int_digits": b"I" + b"9" * 2000000 + b"\n.",
}


def main(name, entry):
    data = BOMBS[name]
    module = {"strict": achar.pickle, "superset": achar}[entry.split(".")[0]]
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    limit = mapped + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        if entry.endswith("loads"):
            value = module.loads(data)
        else:
            value = module.load(io.BytesIO(data))
    except Exception as error:
        print(type(error).__name__, str(error)[:300])
    else:
        print("loaded", type(value).__name__)


if __name__ == "__main__":
    main(*sys.argv[1:])

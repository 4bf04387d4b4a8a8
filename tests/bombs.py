"""Pickles that ask for memory, time or depth out of all proportion. Nothing in them imports or calls
anything. What each tool makes of them: loader/test_bombs.py, codec/test_codec_bombs.py."""

import struct


def u64(number):
    return struct.pack("<Q", number)


def laughs(levels, opcode):
    """Ten times the last, ten times that, and so on, by reference."""
    level = b"0(" + b"h%c" * 10 + opcode + b"\x94"
    return b"N\x94" + b"".join(level % ((number,) * 10) for number in range(levels))


MILLION = 10**6

BOMBS = {
    # seven bytes that ask for 250 MB, 2 GB, 16 GB of memo
    "long_binput_2^24": b"Nr\x00\x00\x00\x01.",
    "long_binput_2^27": b"Nr\x00\x00\x00\x08.",
    "long_binput_2^31": b"Nr\xff\xff\xff\x7f.",
    "long_binput_2^32": b"Nr\xff\xff\xff\xff.",
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
    # a key whose hash recurses a million times, and some whose hash takes 2^24, 2^60, 10^20 steps
    "deep_tuple_key": b"}N" + b"\x85" * MILLION + b"Ns.",
    "deep_tuple_keys": b"}(N" + b"\x85" * MILLION + b"Nu.",
    "deep_tuple_set": b"\x8f(N" + b"\x85" * MILLION + b"\x90.",
    "deep_tuple_frozenset": b"(N" + b"\x85" * MILLION + b"\x91.",
    "deep_tuple_dict": b"(N" + b"\x85" * MILLION + b"Nd.",
    "wide_tuple_key_24": b"}N" + b"2\x86" * 24 + b"Ns.",
    "wide_tuple_key_60": b"}N" + b"2\x86" * 60 + b"Ns.",
    "laughing_key": b"}" + laughs(20, b"t") + b"Ns.",
    # values that are small as long as nobody writes all of them out
    "wide_tuple": b"N" + b"2\x86" * 64 + b".",
    "wide_tuple_of_text": b"X\x00\x10\x00\x00" + b"x" * 4096 + b"2\x86" * 64 + b".",
    "laughing_lists": laughs(20, b"l") + b".",
    "laughing_tuples": laughs(20, b"t") + b".",
    # depth that only memory limits
    "deep_tuples": b"N" + b"\x85" * MILLION + b".",
    "deep_lists": b"]" * 200000 + b"a" * 199999 + b".",
    "deep_persistent": b"N" + b"Q" * 200000 + b".",
    "deep_marks": b"(" * MILLION + b"N.",
    "deep_stack": b"N" * MILLION + b".",
    # digits, which take quadratic time if one is careless
    "digits": b"L" + b"9" * 2000000 + b"L\n.",
    "int_digits": b"I" + b"9" * 2000000 + b"\n.",
    "long4_2mb": b"\x80\x02\x8b" + struct.pack("<I", 2000000) + b"\x7f" * 2000000 + b".",
}

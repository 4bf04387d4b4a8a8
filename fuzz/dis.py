"""The disassembler and the token stream under it against pickletools: the same lines, and then the
same refusal or none."""

import io
import pickletools
import re
import sys

try:
    from _fuzz import disassemble  # fuzz/python.c
except ImportError:
    disassemble = None  # tests/fuzz puts the command in its place

if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)  # achar prints integers of any length


def expected(data):
    """What pickletools prints, and the exception that it then raises, or None."""
    out = io.StringIO()
    refusal = None
    try:
        pickletools.dis(data, out)
    except (ValueError, IndexError) as error:
        refusal = error
    # Before some errors pickletools has printed the position and nothing else.
    printed = out.getvalue()
    return printed[: printed.rfind("\n") + 1], refusal


def escaped(text):
    """Which characters are printable differs between versions of Unicode."""
    return text.encode("ascii", "backslashreplace").decode()


# No interpreter takes a memo index beyond 64 bits; pickletools does not mind.
BEYOND = re.compile(rb"[gp][^\n]{19}")


def check(data):
    if BEYOND.search(data):
        return
    text, refused = disassemble(data)
    printed, refusal = expected(data)
    if isinstance(refusal, UnicodeDecodeError) and escaped(text).startswith(escaped(printed)):
        return  # names beyond ASCII: the interpreter imports them, so achar shows them
    assert escaped(text) == escaped(printed), f"\n{text}\nand not\n{printed}"
    assert refused == (refusal is not None), f"refused: {refused}, pickletools: {refusal!r}"

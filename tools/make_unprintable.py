"""Writes src/codec/unprintable.def: the code points that Python's repr() escapes.

    python3 tools/make_unprintable.py > src/codec/unprintable.def

With the newest CPython at hand, since each has the Unicode of its day.
"""

import sys
import unicodedata

ranges = []
for code in range(0x80, sys.maxunicode + 1):
    if not chr(code).isprintable():
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])

print(
    f"""\
/*
 * unprintable.def - code points from U+0080 on that Python's repr() writes as escapes, those not
 * assigned included. Made by tools/make_unprintable.py, from Unicode {unicodedata.unidata_version}. RANGE(first, last)
 */"""
)
for first, last in ranges:
    print(f"RANGE(0x{first:x}, 0x{last:x})")

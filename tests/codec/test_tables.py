"""Tables made from the standard library's, against those of the Python that runs the tests."""

import _compat_pickle
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).parents[2] / "src" / "codec"
ROW = re.compile(r"^(TO[23]_\w+)\((.*)\)$")
# What a later Python has dropped is kept.
DROPPED = {("Tix", "tkinter.tix"), ("tkinter.tix", "Tix")}


def test_python2_names():
    rows = {}
    for line in (SOURCE / "python2_names.def").read_text().splitlines():
        if row := ROW.match(line):
            rows.setdefault(row.group(1), []).append(tuple(re.findall(r'"(.*?)"', row.group(2))))
    ours = {macro: {row for row in table if row not in DROPPED} for macro, table in rows.items()}
    theirs = {
        "TO3_NAME": {key + value for key, value in _compat_pickle.NAME_MAPPING.items()},
        "TO3_MODULE": set(_compat_pickle.IMPORT_MAPPING.items()) - DROPPED,
        "TO2_NAME": {key + value for key, value in _compat_pickle.REVERSE_NAME_MAPPING.items()},
        "TO2_MODULE": set(_compat_pickle.REVERSE_IMPORT_MAPPING.items()) - DROPPED,
    }
    assert ours == theirs
    for table in rows.values():
        assert table == sorted(table), "binary search needs them sorted"


def test_unprintable_code_points():
    import unicodedata

    text = (SOURCE / "unprintable.def").read_text()
    ranges = [(int(a, 16), int(b, 16)) for a, b in re.findall(r"^RANGE\(0x(\w+), 0x(\w+)\)$", text, re.M)]
    assert ranges == sorted(ranges)
    ours = {code for first, last in ranges for code in range(first, last + 1)}
    theirs = {code for code in range(0x80, sys.maxunicode + 1) if not chr(code).isprintable()}
    # Only what has been assigned since, here or there, may differ.
    assert all(unicodedata.category(chr(code)) == "Cn" for code in theirs - ours)
    version = tuple(map(int, re.search(r"Unicode (\d+\.\d+\.\d+)", text).group(1).split(".")))
    if tuple(map(int, unicodedata.unidata_version.split("."))) <= version:
        assert ours <= theirs

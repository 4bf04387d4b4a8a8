"""Checks that #include arrows point down: base <- codec, base <- runtime, both <- tasks, all of them <- python.

ARCHITECTURE.md draws the picture; this is its enforcement. A public header belongs to the folder
of src/ that has the .c of the same name (none: to base, which everyone may use); achar.h, which
includes them all, is for users of the library only, and src/cli is one.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# folder of src/ -> the folders whose headers its files may include
MAY_INCLUDE = {
    "base": {"base"},
    "codec": {"base", "codec"},
    "tasks": {"base", "codec", "runtime", "tasks"},
    "runtime": {"base", "runtime"},
    "record": {"base", "runtime", "record"},
    "cli": {"base", "codec", "record", "cli"},
    "memo": {"memo"},
    "python": {"base", "codec", "runtime", "memo", "record", "python"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def room_of(path):
    """The folder of src/ that 'path' belongs to; None for what is not ours or not in src/."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "src":
        return parts[1]
    if parts[:2] == ("include", "achar"):
        for room in MAY_INCLUDE:
            if any((ROOT / "src" / room).rglob(path.stem + ".c")):
                return room
        return "base"
    return None


def resolve(including, name):
    """The file of this tree that #include 'name' means in 'including'; None: a system header."""
    for folder in (including.parent, ROOT / "src", ROOT / "include"):
        if (folder / name).is_file():
            return (folder / name).resolve()
    return None


def findings_in(path):
    room = room_of(path)
    text = path.read_text()
    for match in INCLUDE.finditer(text):
        name = match[2]
        where = f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start(1)) + 1}"
        # bench/ has extensions of its own to measure against.
        if name == "Python.h" and room != "python" and path.parts[len(ROOT.parts)] not in ("bench", "fuzz"):
            yield f"{where}: only src/python includes Python.h"
        header = resolve(path, name)
        if header is None:
            continue
        relative = header.relative_to(ROOT)
        if relative.parts[0] == "src" and path.parts[len(ROOT.parts)] in ("include", "examples"):
            yield f"{where}: {name} is internal; include/ and examples/ use the public headers"
        elif path.parts[len(ROOT.parts)] == "src":
            if relative.as_posix() == "include/achar/achar.h" and room != "cli":
                yield f"{where}: inside the library, include the header that is meant"
            elif room_of(header) not in MAY_INCLUDE.get(room, set()):
                yield f"{where}: src/{room} may not include {name} of {room_of(header)}"


def main():
    files = [
        path
        for folder in ("src", "include", "tests", "examples", "bench", "fuzz")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".c", ".h", ".def")
    ]
    findings = [finding for path in files for finding in findings_in(path)]
    for finding in findings:
        print(finding)
    print(f"{len(files)} files, {len(findings)} includes that point the wrong way")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

"""Replays inputs to a Python target in the interpreter that runs this, which must have achar.

    python fuzz/replay.py loads                   all that is kept in fuzz/corpus/loads
    python fuzz/replay.py dumps FINDING...        these files

Each input's name goes to stderr before it is used, so that after a crash the last line says which it
was. Sets have an order of their own only with PYTHONHASHSEED=0.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("ACHAR_BUILD", ROOT / "build"))


def disassemble(data):
    """What fuzz/python.c does, by the command."""
    done = subprocess.run([BUILD / "achar", "dis", "-"], input=data, capture_output=True, timeout=200)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.decode(), done.returncode == 1


def main(name, *paths):
    sys.path.insert(0, str(ROOT))
    target = importlib.import_module(f"fuzz.{name}")
    if name == "dis":
        target.disassemble = disassemble
    paths = [Path(path) for path in paths] or sorted((ROOT / "fuzz" / "corpus" / name).iterdir())
    for path in paths:
        print(path, file=sys.stderr, flush=True)
        target.check(path.read_bytes())
    print(f"{len(paths)} inputs")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.path.pop(0)  # this folder: its dis.py is not the library's
    main(*sys.argv[1:])

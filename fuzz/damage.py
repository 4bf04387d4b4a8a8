"""Every prefix of pickles, and every byte of them changed, through the loads target.

    python fuzz/damage.py [--all] FILE...

--all tries all 256 values of each byte, instead of those that are opcodes of many kinds.
"""

import resource
import sys
from pathlib import Path

MEMORY_LIMIT = 2 << 30
BYTES = b"\x00\xff.(0t2\nRb\x94"


def damaged(data, values):
    for size in range(len(data)):
        yield data[:size]
    for place, byte in enumerate(data):
        for value in values or {*BYTES, byte ^ 1, byte ^ 0x80}:
            yield data[:place] + bytes([value]) + data[place + 1 :]


def main(paths):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import fuzz.loads

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    every = "--all" in paths
    count = 0
    for path in paths[every:]:
        for data in damaged(Path(path).read_bytes(), range(256) if every else None):
            try:
                fuzz.loads.check(data)
            except AssertionError as error:
                sys.exit(f"{path}, as {data!r}:\n{error}")
            count += 1
    print(f"{count} inputs")


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its dis.py is not the library's
    main(sys.argv[1:])

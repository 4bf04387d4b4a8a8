"""Dumps and loads each case of a file many times; prints {case: what grew}, and how many cases there were.

    leaks.py CASES_FILE OUT

Counted are the blocks that Python's allocator has given out, and the references to the objects that the
stream can reach in this process: a leak of one reference to a shared object takes no memory at all.
"""

import gc
import json
import pathlib
import runpy
import sys

ROUNDS = 60
TIMES = 20


def referents(obj):
    """Objects that are shared between rounds: what is reachable from 'obj' in a few steps."""
    found, todo = {}, [obj]
    for _ in range(3):
        todo = [one for one in gc.get_referents(*todo) if id(one) not in found][:300]
        found.update((id(one), one) for one in todo)
    return [one for one in found.values() if not isinstance(one, (int, str, bytes, float, type(None)))]


def measure(obj, dumps, loads):
    """(blocks, references): the least that a round of TIMES has gained. Caches fill; what leaks never stops."""
    watched = referents(obj)
    blocks = references = last_blocks = last_references = None
    for _ in range(ROUNDS):
        for _ in range(TIMES):
            loads(dumps(obj))
        gc.collect()
        now_blocks, now_references = sys.getallocatedblocks(), sum(map(sys.getrefcount, watched))
        if last_blocks is not None:
            blocks = min(now_blocks - last_blocks, blocks if blocks is not None else sys.maxsize)
            references = min(now_references - last_references, references if references is not None else sys.maxsize)
            if blocks < TIMES // 2 and references < TIMES // 2:
                break
        last_blocks, last_references = now_blocks, now_references
    return blocks, references


def main():
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import achar
    import cases

    grown = {}

    def count():
        for make in cases.CASES:
            if make.__name__.startswith("nested_100_000"):
                continue  # minutes, for what one level shows
            obj, _ = make()
            blocks, references = measure(obj, achar.dumps, achar.loads)
            if blocks >= TIMES // 2 or references >= TIMES // 2:
                grown[make.__name__] = [blocks, references]
        grown["cases"] = len(cases.CASES)

    cases.main = count
    file = sys.argv[1]
    sys.argv[:] = [file, sys.argv[2]]
    runpy.run_path(file, run_name="__main__")
    json.dump(grown, sys.stdout)


if __name__ == "__main__":
    main()

"""One hostile pickle (tests/bombs.py), loaded with little memory: prints what came of it.

    python tests/loader/explode.py NAME ENTRY

ENTRY is strict.loads, strict.load, superset.loads or superset.load.
"""

import io
import resource
import sys
from pathlib import Path

import achar
import achar.pickle

EXTRA_MEMORY = 160 << 20
TIME_LIMIT_S = 50


def main(name, entry):
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from bombs import BOMBS

    data = BOMBS[name]
    module = {"strict": achar.pickle, "superset": achar}[entry.split(".")[0]]
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    limit = mapped + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_LIMIT_S, TIME_LIMIT_S))
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

"""many_at_once.py PATH SECONDS: processes that compute, drop, prune, count and check the same results at once."""

import os
import random
import sys
import time
import traceback
import warnings

import achar

path, seconds = sys.argv[1], float(sys.argv[2])


def work(seed):
    warnings.simplefilter("error")
    chance = random.Random(seed)
    memo = achar.Memo(path, max_bytes=3_000_000)
    f = memo(key="name")(lambda n: (n, os.urandom(n % 7 * 20000)))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        what, n = chance.random(), chance.randrange(60)
        if what < 0.7:
            found, data = f(n)
            assert found == n and len(data) == n % 7 * 20000
        elif what < 0.8:
            memo.invalidate(f)
        elif what < 0.85:
            memo.prune(max_bytes=chance.randrange(2_000_000))
        elif what < 0.9:
            assert memo.stats()["damaged"] == 0 and memo.functions() is not None
        elif what < 0.95:
            report = memo.check()
            assert not report["problems"] and not report["damaged"], report
        else:
            f.invalidate(n)


children = []
for seed in range(3):
    pid = os.fork()
    if pid == 0:
        try:
            work(seed)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
memo = achar.Memo(path)
report = memo.check()
rows = memo._run("SELECT count(*) FROM result WHERE beside > 0")[0][0]
files = [name for _, _, names in os.walk(path + ".d") for name in names]
assert not report["problems"] and not report["damaged"] and len(files) == rows, (report, len(files), rows)
print("nobody took anything for damaged")

"""full_disk.py FOLDER: a memo that may not let its files grow."""

import os
import resource
import sys

import achar
import achar.memo

path = os.path.join(sys.argv[1], "m")
memo = achar.Memo(path)
noise = os.urandom(60_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
kept, failure = 0, None
for i in range(100):
    try:
        memo.put(i, noise)
        kept += 1
    except achar.memo.MemoFull as error:
        failure = error
        break
assert failure is not None and kept >= 5, (failure, kept)
assert all(memo.get(i) == noise for i in range(kept)) and memo.get(kept) is None


@memo(key="name")
def large(n):
    return os.urandom(n)


for n in (60_000, 3_000_000):  # in the file, and beside it
    try:
        large(n)
    except achar.memo.Unstorable as error:
        assert len(error.result) == n and isinstance(error.__cause__, achar.memo.MemoFull), error
    else:
        raise AssertionError("there was room")
assert memo.get(0) == noise and not [name for _, _, names in os.walk(path + ".d") for name in names]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
memo.put("later", 1)
report = memo.check()
assert not report["problems"] and report["results"] == kept + 1, report
print("ok")

"""killed_salvage.py FOLDER: kills a process that salvages a damaged file, at each of its steps, and looks for every
result that could be read."""

import os
import shutil
import signal
import sys
import warnings

import achar
import achar.memo
from achar import _memo_salvage

folder = sys.argv[1]
STEPS = ("rename", "unlink", "fsync", "open")
warnings.simplefilter("ignore", achar.memo.MemoDamagedWarning)


def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def written(path):
    """The database has 0 to 299, one page of them damaged; the log the rest, as the kill left it."""
    with achar.Memo(path) as memo:
        for i in range(300):
            memo.put(i, (i, "x" * 100))

    def write_on():
        memo = achar.Memo(path)
        for i in range(300, 400):
            memo.put(i, (i, "x" * 100))
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(write_on) == signal.SIGKILL and os.path.getsize(path + "-wal") > 100_000
    with open(path, "r+b") as file:
        file.seek(4096 * 10 + 5)
        file.write(b"\xff" * 3000)


def found(memo):
    return {i for i in range(400) if memo.get(i) == (i, "x" * 100)}


def salvage(path, step):
    """Dies at the step; the number of steps where there are fewer."""
    count = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    _memo_salvage._copy = counted(_memo_salvage._copy)
    found(achar.Memo(path))
    os._exit(100 + count)


def salvaged(step):
    """What is there after a death at this step, and whether there was one."""
    path = f"{folder}/m{step}"
    for ending in ("", "-wal"):
        shutil.copy(f"{folder}/original{ending}", path + ending)
    status = in_child(lambda: salvage(path, step))
    with achar.Memo(path) as memo:
        there = found(memo)
        memo.put("later", step)
        assert memo.check()["problems"] == [] and memo.get("later") == step
    others = sorted(name[len(f"m{step}") :] for name in os.listdir(folder) if name.startswith(f"m{step}"))
    kept = [name for name in others if name.startswith(".damaged-")]
    assert [name.endswith("-wal") for name in kept] == [False, True] and kept[1] == kept[0] + "-wal", (step, kept)
    assert set(others) - set(kept) <= {"", "-lock"}, (step, others)
    return there, status == signal.SIGKILL


written(folder + "/original")
expected, _ = salvaged(0)
assert len(expected) > 350, len(expected)
step, was_killed = 0, True
while was_killed:
    step += 1
    there, was_killed = salvaged(step)
    assert there == expected, (step, len(there))
assert step > 8, step
print(f"killed at each of {step - 1} steps")

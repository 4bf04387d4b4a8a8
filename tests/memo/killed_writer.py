"""killed_writer.py PATH COUNT [torn | flipped | missing]: kills a process that writes into a memo, COUNT times, and
looks for every result that it had been told is kept; or damages or removes the log that it leaves."""

import os
import random
import signal
import struct
import sys
import time
import warnings

import achar
import achar.memo


def write(path, out, start, end):
    memo = achar.Memo(path)
    for i in range(start, end):
        memo.put(i, (i, "x" * (i * 7919 % 3000)))
        os.write(out, struct.pack("<q", i))  # acknowledged
    time.sleep(600)


def kill_one(path, start, seconds, count=0):
    """The acknowledged numbers of a process that lived so long; of one that has stored so many, and no more."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        try:
            write(path, writable, start, start + count if count else 1 << 30)
        finally:
            os._exit(1)
    os.close(writable)
    told = b""
    while len(told) < 8 * count:
        told += os.read(readable, 1 << 16)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    while more := os.read(readable, 1 << 16):
        told += more
    os.close(readable)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    return [i for (i,) in struct.iter_unpack("<q", told)]


def main():
    warnings.simplefilter("error")
    path, count = sys.argv[1], int(sys.argv[2])
    chance = random.Random(7)
    if sys.argv[3:]:
        with achar.Memo(path) as memo:
            memo.put("before", 1)
        return damaged(path, kill_one(path, 0, 0, count=200), *sys.argv[3:])
    start = total = lost = 0
    for _ in range(count):
        told = kill_one(path, start, chance.random() * 0.008)
        memo = achar.Memo(path)
        lost += sum(memo.get(i) != (i, "x" * (i * 7919 % 3000)) for i in told)
        memo.close()
        total += len(told)
        start = told[-1] + 1 if told else start
    memo = achar.Memo(path)
    report = memo.check()
    assert not report["problems"] and not report["damaged"], report
    lost += sum(i not in memo for i in range(start))
    print(f"{count} kills, {total} results acknowledged, {lost} lost")


def damaged(path, told, how):
    """What is lost is reported, and reported once."""
    if how == "missing":
        os.unlink(path + "-wal")
    else:
        damage(path, how)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        memo = achar.Memo(path)
    (report,) = [str(each.message) for each in seen if each.category is achar.memo.MemoDamagedWarning]
    assert "its log" in report and str(path) in report, report
    assert ("with the 200 results that were stored last, is missing" in report) == (how == "missing"), report
    there = [i for i in told if memo.get(i) == (i, "x" * (i * 7919 % 3000))]
    least = {"torn": 0.25, "flipped": 0.9, "missing": -1}[how]
    assert len(there) > len(told) * least and memo.get("before") == 1, (len(there), len(told))
    memo.put("after", 1)
    assert not memo.check()["problems"]
    memo.close()
    assert achar.Memo(path).get("after") == 1
    print(f"{len(told)} were stored, {len(there)} are left, which is reported")


def damage(path, how):
    with open(path + "-wal", "r+b") as log:
        at = os.path.getsize(path + "-wal") * 2 // 3 + 100
        if how == "torn":
            log.truncate(at)
        else:
            log.seek(at)
            byte = log.read(1)[0]
            log.seek(at)
            log.write(bytes([byte ^ 1]))


main()

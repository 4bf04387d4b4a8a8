"""killed_writer.py PATH COUNT [torn]: kills a process that writes into a memo, COUNT times, and looks for every result
that it had been told is kept."""

import os
import random
import signal
import struct
import sys
import time
import warnings

import achar


def write(path, out, start):
    memo = achar.Memo(path)
    for i in range(start, 1 << 30):
        memo.put(i, (i, "x" * (i * 7919 % 3000)))
        os.write(out, struct.pack("<q", i))  # acknowledged


def kill_one(path, start, seconds, least=0):
    """The acknowledged numbers of a process that lived so long, after it had told so many."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        try:
            write(path, writable, start)
        finally:
            os._exit(1)
    os.close(writable)
    told = b""
    while len(told) < 8 * least:
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
    if sys.argv[3:] == ["torn"]:
        return torn(path, kill_one(path, 0, 0, least=200))
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


def torn(path, told):
    with open(path + "-wal", "r+b") as log:
        log.truncate(os.path.getsize(path + "-wal") * 2 // 3 + 100)
    memo = achar.Memo(path)
    there = [i for i in told if memo.get(i) == (i, "x" * (i * 7919 % 3000))]
    assert there == told[: len(there)] and len(there) > len(told) // 4, (len(there), len(told))
    memo.put("after", 1)
    assert not memo.check()["problems"]
    print(f"{len(told)} were stored, {len(there)} are left: a prefix is there")


main()

"""shared_call.py PATH: several processes make the same call of a memo's function at once."""

import os
import signal
import sys
import time

import achar

path = sys.argv[1]


def appended(line):
    descriptor = os.open(path + ".log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def lines():
    try:
        with open(path + ".log") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(work() != 0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(9)
    return pid


def calls(x, seconds):
    memo = achar.Memo(path)

    @memo(key="name", ignore=["seconds"])
    def f(x, seconds):
        appended(f"{x}:{os.getpid()}")
        time.sleep(seconds)
        return x

    return f(x, seconds) - x


warm = achar.Memo(path + "-warm")  # what is imported at the first call, children need not import
warm(key="name")(abs)(1)
warm.close()
children = [child(lambda: calls(1, 0.3)) for _ in range(6)]
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 6
assert len(lines()) == 1, lines()

first = child(lambda: calls(2, 600))
while len(lines()) < 2:
    time.sleep(0.005)
others = [child(lambda: calls(2, 0.05)) for _ in range(3)]
time.sleep(0.1)
assert len(lines()) == 2
os.kill(first, signal.SIGKILL)
os.waitpid(first, 0)
assert [os.waitpid(pid, 0)[1] for pid in others] == [0] * 3
assert len(lines()) == 3, lines()

memo = achar.Memo(path)
memo.put("before", 1)
forked = child(lambda: memo.put("in the child", memo.get("before") + 1) or calls(3, 0))
assert os.waitpid(forked, 0)[1] == 0 and memo.get("in the child") == 2 and calls(3, 0) == 0 and len(lines()) == 4
print("computed once; taken over; once after a fork")

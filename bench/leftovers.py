"""
Nothing that a measurement starts outlives it: daemons, workers of a killed client, programs that have left
their session.

Their orphans come to us instead of to init (PR_SET_CHILD_SUBREAPER), so that all of them are found below this
process. guarded() runs in a child of its own, which ends us when it dies, and we it.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option, value):
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def below(root):
    """The numbers of all processes below 'root'."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it has just ended
            children.setdefault(parent, []).append(int(name))
    found, ahead = [], [root]
    while ahead:
        ahead = [child for parent in ahead for child in children.get(parent, [])]
        found += ahead
    return found


def kill(seconds=20):
    """Kills all that is below this process, and whatever that starts meanwhile."""
    end = time.monotonic() + seconds
    while alive := below(os.getpid()):
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"processes that cannot be killed: {alive}")
        time.sleep(0.01)


def raise_exit(signum, frame):
    sys.exit(128 + signum)


def guarded(run, *args):
    """
    The exit code that run(*args) returns, in a child. Nothing of what it started is there afterwards, however it
    ends, and if this process is killed, the child ends likewise.
    """
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    parent = os.getpid()
    child = os.fork()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, raise_exit)
    if child == 0:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        try:
            sys.exit(run(*args) if os.getppid() == parent else 1)
        finally:
            kill()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        kill()

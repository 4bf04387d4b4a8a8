"""In a worker: what a task that was told to end (by its time limit, or by force) has started, is ended with it.

The worker goes on, and with it what others have started there: an earlier task, an initializer, an actor.
The kernel tells the age of a process in hundredths of a second: what was started in the same one, before the task
began, is taken for the task's.
"""

import os
import signal
import sys
import time

PASSES_MAX = 20  # a program that starts others faster than they are killed ends with the worker


def end_what_it_started(task: int, age_s: float) -> None:
    """The tasks that it has submitted; the processes of this group that are no older than it."""
    nested = sys.modules.get("achar._nested")
    link = getattr(getattr(nested, "_here", None), "_link", None)
    if link is not None:
        link.cancel_tasks_of(task)
    ticks = os.sysconf("SC_CLK_TCK")
    since = int((time.clock_gettime(time.CLOCK_BOOTTIME) - age_s) * ticks)
    for _ in range(PASSES_MAX):
        started = [pid for pid in _processes_of_group(os.getpgrp(), since) if pid != os.getpid()]
        if not started:
            return
        for pid in started:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass  # it has ended; or it has become another user's
        time.sleep(0.001)


def _processes_of_group(group: int, since: int) -> list[int]:
    """Those that live, and began at tick 'since' or later."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(name)}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (ValueError, OSError):
            continue
        if int(fields[2]) == group and fields[0] not in b"ZX" and int(fields[19]) >= since:
            found.append(int(name))
    return found

"""In a worker: what a task that was told to end (by its time limit, or by force) has started, is ended with it.

The worker goes on, and with it what others have started there: an earlier task, an initializer, an actor.
The kernel tells the age of a process in hundredths of a second: what was started in the same one, before the task
began, is taken for the task's. A process below one that is older than the task is that one's.
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
    try:
        if link is not None:
            link.cancel_tasks_of(task)
    finally:
        _kill_what_began(age_s)


def _kill_what_began(age_s: float) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    since = int((time.clock_gettime(time.CLOCK_BOOTTIME) - age_s) * ticks)
    for _ in range(PASSES_MAX):
        started = _started_by_the_task(_processes_of_group(os.getpgrp()), since)
        if not started:
            return
        for pid in started:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass  # it has ended; or it has become another user's
        time.sleep(0.001)


def _started_by_the_task(processes: dict[int, tuple[int, int]], since: int) -> list[int]:
    """Those that began at tick 'since' or later, but for the offspring of one that is older than the task."""
    worker = os.getpid()

    def is_the_tasks(pid: int) -> bool:
        for _ in processes:
            if pid == worker or pid not in processes:
                break
            pid, began = processes[pid]
            if began < since:
                return False
        return True

    return [pid for pid in processes if pid != worker and is_the_tasks(pid)]


def _processes_of_group(group: int) -> dict[int, tuple[int, int]]:
    """Those that live: the parent, and the tick at which it began."""
    found = {}
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(name)}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (ValueError, OSError):
            continue
        if int(fields[2]) == group and fields[0] not in b"ZX":
            found[int(name)] = int(fields[1]), int(fields[19])
    return found

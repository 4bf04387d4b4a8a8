"""Children that tests of several processes fork."""

import os


def forked(function):
    """Runs function() in a forked child; its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return pid


def ended(pid):
    """Waits for the child; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_until_waiting(who):
    """Until the thread, or the process of that pid, sleeps for one of achar's objects: on a futex that processes may
    share."""
    path = f"/proc/{who}/syscall" if isinstance(who, int) else f"/proc/self/task/{who.native_id}/syscall"
    while True:
        with open(path) as file:
            words = file.read().split()
        if len(words) > 2 and words[2] == "0x9":  # FUTEX_WAIT_BITSET, not private
            return

"""Executor(progress=): a bar on a terminal, with tqdm and without; nothing elsewhere; no harm ever."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import time

import achar
import pytest

SCRIPT = """
    import sys, time, achar
    if sys.argv[1] == "plain":
        sys.modules["tqdm"] = None
    def fails(n):
        raise ValueError
    with achar.Executor(2, progress={progress}) as ex:
        futures = [ex.submit(abs, -n) for n in range(50)] + [ex.submit(fails, 1)]
        assert sum(ex.map(abs, range(1000))) == 499500
        ex.wait(futures)
        time.sleep(0.3)
    print("done")
"""


def on_a_terminal(kind):
    """What the script writes to standard error, which is a terminal."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT).format(progress=True), kind]
    text, deadline = b"", time.monotonic() + 150
    with subprocess.Popen(command, stderr=follower, stdout=subprocess.PIPE) as process:
        os.close(follower)
        while time.monotonic() < deadline:
            if select.select([leader], [], [], 0.2)[0]:
                try:
                    text += os.read(leader, 4096)
                except OSError:  # nobody has the other end any more
                    break
        assert process.stdout.read() == b"done\n" and process.wait(100) == 0, text
    os.close(leader)
    return text.decode()


def test_tqdm_shows_what_has_ended():
    pytest.importorskip("tqdm")
    text = on_a_terminal("tqdm")
    assert re.search(r"achar: 100%\|.*\| 1051/1051 \[.*1 failed\]", text), text


def test_without_tqdm_there_is_a_line():
    text = on_a_terminal("plain")
    assert re.search(r"\rachar: 100% 1051/1051 tasks, \d+/s, 1 failed *\r?\n", text), text


@pytest.mark.parametrize("progress, shown", [(True, False), ("'always'", True), (False, False)])
def test_elsewhere_it_is_silent_unless_asked(progress, shown):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT).format(progress=progress), "plain"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=True)
    assert done.stdout == "done\n" and bool(done.stderr) == shown, done.stderr


def test_a_stream_that_is_broken_is_none_of_the_runs_business(monkeypatch):
    class Broken:
        def isatty(self):
            return True

        def write(self, text):
            raise OSError("no")

    monkeypatch.setattr(sys, "stderr", Broken())
    with pytest.warns(UserWarning, match=r"the bar .* has ended, the run goes on: OSError\('no'\)"):
        with achar.Executor(1, progress=True) as ex:
            assert sum(ex.map(abs, range(100))) == 4950
            for thread in threading.enumerate():
                if thread.name == "achar-progress":
                    thread.join(100)
    tqdm = pytest.importorskip("tqdm")
    for lock in tqdm.tqdm.get_lock().locks:  # which the other bars of the process take
        assert lock.acquire(timeout=100)
        lock.release()


def test_other_values_are_refused():
    with pytest.raises(ValueError, match="progress must be"):
        achar.Executor(1, progress="sometimes")

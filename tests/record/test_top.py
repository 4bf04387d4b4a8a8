"""`achar top`: in a real terminal (tmux), and where there is none."""

import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest
from record_rows import rows

BUILD = pathlib.Path(os.environ.get("ACHAR_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
ACHAR = BUILD / "achar"
RUN = """
    import os, sys, time, achar

    def parse(n):
        return n

    def crash():
        os.kill(os.getpid(), 9)

    def broken(n):
        raise ValueError(f"no {n}")

    def waits():
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)

    def blocks(path):
        while not os.path.exists(path):
            time.sleep(0.01)

    with achar.Executor(2, monitor=sys.argv[1]) as ex:
        ex.wait([ex.submit(parse, n) for n in range(300)] + [ex.submit(broken, 7), ex.submit(crash)])
        futures = [ex.options(name=f"blocks {n}").submit(blocks, sys.argv[2]) for n in range(5)]
        while sum(future.running() for future in futures) < 2:
            time.sleep(0.01)
        assert ex._monitor.record.join(100)
        print("ready", flush=True)
        waits()
"""


def top(*arguments, **options):
    return subprocess.run(
        [ACHAR, "top", *arguments], capture_output=True, text=True, timeout=150, check=False, **options
    )


@pytest.fixture(scope="module")
def under_way(tmp_path_factory):
    """(path, pid) of a run that has done 302 tasks, has two running and three waiting; and goes on until the end."""
    folder = tmp_path_factory.mktemp("top")
    path, flag = folder / "run.db", folder / "flag"
    command = [sys.executable, "-c", textwrap.dedent(RUN), path, flag]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            last = "SELECT task, max(at) FROM sample WHERE worker > 0 GROUP BY worker"
            while sum(task is not None and task > 302 for task, _ in rows(path, last)) < 2:  # samples show both running
                time.sleep(0.05)
            yield path, process.pid
        finally:
            flag.touch()
            process.wait(150)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    path = tmp_path_factory.mktemp("ended") / "run.db"
    script = "import sys, achar\nfor n in 5, 7:\n with achar.Executor(1, monitor=sys.argv[1]) as ex:\n"
    script += "  list(ex.map(abs, range(n)))"
    subprocess.run([sys.executable, "-c", script, path], timeout=150, check=True)
    return path


class Terminal:
    """A tmux of its own, with one window that runs a command."""

    def __init__(self, name, columns, rows, *command):
        self.socket = f"achar-test-{os.getpid()}-{name}"
        line = " ".join(map(str, command)) + "; echo status $?; sleep 1000"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "sh", "-c", line)

    def tmux(self, *arguments):
        command = ["tmux", "-L", self.socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout

    def text(self):
        return self.tmux("capture-pane", "-p")

    def wait_for(self, *patterns):
        """The first text that has them all: what is seen may be a part of what is being drawn."""
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline:
            text = self.text()
            missing = [pattern for pattern in patterns if not re.search(pattern, text, re.MULTILINE)]
            if not missing:
                return text
            time.sleep(0.05)
        raise AssertionError(f"{missing!r} does not come:\n{text}")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True, timeout=100, check=False)


in_terminal = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not here")


@in_terminal
def test_a_run_under_way_in_a_terminal(under_way):
    path, pid = under_way
    with Terminal("run", 120, 50, ACHAR, "top", path) as terminal:
        terminal.wait_for(
            "tasks 307  queued 3  running 2  returned 300  failed 2  cancelled 0",
            f"pid {pid} on .*under way for",
            r"^\[#{39}-\]  98%",
            r"^parse +0 +0 +300 +0 ",
            r"^broken +0 +0 +0 +1 ",
            r"^0\.\d+ +\d+ +\S+ +\d+ MB  blocks 0 +\d",
            "2 workers, 1 ended, 1 of them not by themselves",
            "FAILURES",
            r"broken .* raised +ValueError: no 7",
            r"crash .* lost +signal 9",
        )


@in_terminal
def test_it_fits_into_small_terminals_and_follows_their_size(under_way):
    path, _ = under_way
    with Terminal("small", 60, 12, ACHAR, "top", path) as terminal:
        text = terminal.wait_for(r"\Aachar top", "^NAME")
        assert max(map(len, text.splitlines())) <= 60
        assert "FAILURES" not in text
        terminal.tmux("resize-window", "-x", "130", "-y", "50")
        terminal.wait_for("FAILURES", "ValueError: no 7")
        terminal.tmux("resize-window", "-x", "20", "-y", "3")
        assert terminal.wait_for(r"\Aachar top.*\n.*\n2 workers").count("\n") == 3


@in_terminal
def test_q_quits_and_the_terminal_is_as_it_was(under_way):
    path, _ = under_way
    with Terminal("quit", 100, 30, "echo before;", ACHAR, "top", path) as terminal:
        terminal.wait_for("tasks 307")
        terminal.tmux("send-keys", "x")
        terminal.tmux("send-keys", "q")
        terminal.wait_for(r"\Abefore\n", "^status 0")
        assert terminal.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"


@in_terminal
@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_a_signal_puts_the_terminal_back(under_way, name):
    path, _ = under_way
    with Terminal(name, 100, 30, ACHAR, "top", path, ";", "stty -a | grep -o -e '-*icanon'") as terminal:
        terminal.wait_for("tasks 307")
        pane = int(terminal.tmux("display-message", "-p", "#{pane_pid}"))
        children = pathlib.Path(f"/proc/{pane}/task/{pane}/children").read_text().split()
        os.kill(int(children[0]), getattr(signal, f"SIG{name}"))
        assert re.search(r"^icanon", terminal.wait_for("icanon"), re.MULTILINE)


@in_terminal
def test_while_it_is_stopped_the_terminal_is_as_it_was(under_way):
    path, _ = under_way
    after = ("; stty -a | grep -o -e '-*icanon';", "read line; fg")
    with Terminal("stop", 100, 30, "set -m; ", ACHAR, "top", path, *after) as terminal:
        terminal.wait_for("tasks 307")
        terminal.tmux("send-keys", "C-z")
        assert re.search(r"^icanon", terminal.wait_for("icanon"), re.MULTILINE)
        assert terminal.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"
        terminal.tmux("send-keys", "Enter")
        terminal.wait_for("tasks 307")
        terminal.tmux("send-keys", "C-\\")
        terminal.wait_for("^status 0")


def test_what_a_terminal_would_obey_is_not_shown(tmp_path, ended):
    path = tmp_path / "run\x1b[2J\x9b2J.db"
    shutil.copy(ended, path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE name SET text = CAST(? AS TEXT)", ["a\x9b2J\x85\x1b…é\xa0z\x7f\r".encode() + b"\x9b2Jb"])
    connection.commit()
    connection.close()
    done = subprocess.run([ACHAR, "top", path], capture_output=True, timeout=150, check=True)
    text = done.stdout.decode()
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert "a\xa02J\xa0 …é\xa0z   2Jb" in text and "run [2J\xa02J.db" in text


def test_without_a_terminal_it_prints_once(under_way):
    path, _ = under_way
    done = top(path)
    assert done.returncode == 0 and "\033" not in done.stdout
    assert "tasks 307  queued 3  running 2" in done.stdout


def test_it_finds_the_record_that_is_being_written(under_way):
    path, _ = under_way
    done = top("--once")
    if "several records" in done.stderr:  # others run tests here, too
        assert str(path) in done.stderr
    else:
        assert f"achar top  {path}" in done.stdout, done.stderr


def test_a_run_that_has_ended_and_one_before_it(ended):
    assert "run 2 of 2" in top(ended).stdout and "has ended, after" in top(ended).stdout
    assert re.search("run 1 of 2.*tasks 5 ", top("--once", "--run", "1", ended).stdout, re.DOTALL)
    done = top("--run", "3", ended)
    assert done.returncode == 1 and "there is no such run" in done.stderr


def test_a_run_whose_process_was_killed(tmp_path):
    path = tmp_path / "run.db"
    script = "import os, sys, achar; ex = achar.Executor(1, monitor=sys.argv[1]); ex.submit(abs, 1).result()\n"
    script += "assert ex._monitor.record.join(100); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, path], timeout=150, check=False)
    assert "broken off: its process is gone" in top(path).stdout


@pytest.mark.parametrize("name", ["missing", "text", "newer", "folder"])
def test_what_is_no_record_is_said_to_be_none(tmp_path, ended, name):
    path = tmp_path / "file"
    message = "is not a record of achar's"
    if name == "missing":
        message = "there is no such file"
    elif name == "text":
        path.write_text("x" * 5000)
    elif name == "folder":
        path.mkdir()
        message = ""
    else:
        shutil.copy(ended, path)
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        message = "was written by a newer achar (its schema is 99, and this one knows 2)"
    done = top(path)
    assert done.returncode == 1 and done.stderr.startswith(f"achar: {path}") and message in done.stderr, done.stderr


def test_a_record_in_a_folder_that_cannot_be_written_can_be_read(ended):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copy(ACHAR, folder)
        shutil.copy(ended, folder / "run #1? %41.db")  # which means something else in a URI
        folder.chmod(0o555)
        nobody = {"user": 65534} if os.getuid() == 0 else {}
        command = [folder / "achar", "top", folder / "run #1? %41.db"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, cwd="/", **nobody)
        folder.chmod(0o755)
        assert "has ended, after" in done.stdout, done.stderr


def test_errors_have_nothing_that_a_terminal_would_obey(tmp_path, ended):
    path = tmp_path / "a\x1b[31m\udc9bb\nc"
    assert "a [31m b c: there is no such file" in top(path).stderr
    path.write_text("x" * 5000)
    assert "a [31m b c is not a record of achar's" in top(path).stderr
    assert top("--interval", "\x1b[31m").stderr.startswith("achar top: --interval takes seconds")
    for arguments in ["--interval", "\x1b[31m"], ["--run", "\x1b[31m"]:
        assert "\x1b" not in top(*arguments).stderr


@in_terminal
def test_in_a_terminal_that_obeys_nothing_it_prints_once(under_way):
    path, _ = under_way
    with Terminal("dumb", 100, 60, "TERM=dumb", ACHAR, "top", path) as terminal:
        terminal.wait_for("tasks 307", "^status 0")


def test_a_record_that_is_being_made_is_none_yet(tmp_path):
    (tmp_path / "empty.db").touch()
    assert "is not a record of achar's" in top(tmp_path / "empty.db").stderr


def test_a_damaged_record_is_said_to_be_damaged(tmp_path, ended):
    path = tmp_path / "torn.db"
    data = ended.read_bytes()
    for nbytes in range(200, len(data), len(data) // 20):
        path.write_bytes(data[:nbytes])
        done = top(path)
        assert done.returncode == 1 and f"{path}" in done.stderr, (nbytes, done)


@pytest.mark.parametrize("arguments", [["--interval", "no"], ["--run", "0"], ["a", "b"], ["--none"]])
def test_wrong_use_says_so(arguments):
    done = top(*arguments)
    assert done.returncode == 2 and done.stderr

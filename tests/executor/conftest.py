"""Each program that could hang runs in a process of its own, with a time limit."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

LIMIT_S = 150  # far beyond what any takes: a machine may give a process no processor for many seconds


@pytest.fixture
def run(tmp_path):
    """run(source) runs it as a script without a __main__ guard; returns what it printed."""

    def run(source, *, how="script", limit=LIMIT_S, returncode=0, stderr_empty=True):
        source = textwrap.dedent(source)
        command, stdin = [sys.executable], None
        if how == "script":
            script = tmp_path / "script.py"
            script.write_text(source)
            command.append(str(script))
        elif how == "-c":
            command += ["-c", source]
        elif how == "stdin":
            command.append("-")
            stdin = source
        elif how == "repl":
            command += ["-q", "-i"]
            stdin = source
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(stdin, timeout=limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"hangs after {limit} s\n--- stdout\n{out}\n--- stderr\n{err}")
        if how == "repl":
            err = "".join(line for line in err.splitlines(True) if line.strip(">. \n"))
        shown = f"\n--- stdout\n{out}\n--- stderr\n{err}"
        assert process.returncode == returncode, f"exit code {process.returncode}{shown}"
        if stderr_empty:
            assert not err, shown
        run.stderr = err
        return out

    return run


@pytest.fixture
def children_of():
    """children_of(pid): the pids of its living children."""

    def children_of(pid):
        children = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                children.append(int(name))
        return children

    return children_of

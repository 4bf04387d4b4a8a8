"""Executor.run(): programs as tasks. What stands here runs in the worker, but for Command.

Input and output go through unnamed files, so neither side waits for the other, and nothing is left
behind whatever is killed. The program stays in the worker's process group, which the client kills when
the worker ends: so at a time limit the worker ends itself and all that the program has started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

KEPT_NBYTES = 16 << 20  # longer output stays in a file


class Command:
    """How a program ended: ``args``, ``returncode`` (negative: the signal), ``stdout`` and ``stderr`` (bytes).

    Output of more than 16 MiB is None here, and in the file ``stdout_path`` or ``stderr_path``, which is
    the caller's to delete.
    """

    def __init__(self, args: list[str], returncode: int) -> None:
        self.args, self.returncode = args, returncode
        self.stdout: bytes | None = b""
        self.stderr: bytes | None = b""
        self.stdout_path: str | None = None
        self.stderr_path: str | None = None

    def __repr__(self) -> str:
        return f"Command(args={self.args!r}, returncode={self.returncode})"

    def check_returncode(self) -> None:
        if self.returncode:
            raise subprocess.CalledProcessError(self.returncode, self.args, self.stdout, self.stderr)


def run_command(args: Sequence[str], stdin: bytes | None, check: bool, folder: str) -> Command:
    from .errors import TaskCancelled

    with _unnamed(folder) as out, _unnamed(folder) as err, _unnamed(folder) as into:
        if stdin is not None:
            into.write(stdin)
            into.seek(0)
        source = subprocess.DEVNULL if stdin is None else into
        try:
            process = subprocess.Popen(args, stdin=source, stdout=out, stderr=err)
            command = Command([os.fsdecode(arg) for arg in args], process.wait())
        except (TimeoutError, TaskCancelled):
            os.killpg(0, signal.SIGKILL)  # the program, what it has started, and this worker
            raise
        command.stdout, command.stdout_path = _take(out, folder, "stdout")
        command.stderr, command.stderr_path = _take(err, folder, "stderr")
    if check:
        command.check_returncode()
    return command


def _unnamed(folder: str):
    return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b")


def _take(file, folder: str, kind: str) -> tuple[bytes | None, str | None]:
    if os.fstat(file.fileno()).st_size <= KEPT_NBYTES:
        file.seek(0)
        return file.read(), None
    for name in tempfile._get_candidate_names():  # type: ignore[attr-defined]
        path = os.path.join(folder, f"achar-{name}.{kind}")
        try:
            # With a folder's descriptor, which an absolute path does not need, Python calls linkat().
            os.link(f"/proc/self/fd/{file.fileno()}", path, src_dir_fd=file.fileno(), follow_symlinks=True)
            return None, path
        except FileExistsError:
            continue
    raise FileExistsError("no name left for a file of output")


def run_here(args: list[str], stdin: bytes | None, timeout: float | None, env: Any, cwd: Any, check: bool) -> Command:
    """On a thread."""
    folder = tempfile.gettempdir()
    environment = {**os.environ, **(env or {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    with _unnamed(folder) as out, _unnamed(folder) as err, _unnamed(folder) as into:
        into.write(stdin or b"")
        into.seek(0)
        process = subprocess.Popen(
            args, stdin=into, stdout=out, stderr=err, env=environment, cwd=cwd, start_new_session=True
        )
        try:
            command = Command(args, process.wait(timeout))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise TimeoutError(f"task {args[0]}: its time limit of {timeout:g} s has passed") from None
        command.stdout, command.stdout_path = _take(out, folder, "stdout")
        command.stderr, command.stderr_path = _take(err, folder, "stderr")
    if check:
        command.check_returncode()
    return command

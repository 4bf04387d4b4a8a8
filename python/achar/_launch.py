"""How many workers there are, and how they are started: command line and environment."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Libraries that start a thread per processor in every worker would be in each other's way.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def default_workers() -> int:
    """How many processors this process may use: its affinity mask and its cgroup's quota."""
    count = len(os.sched_getaffinity(0))
    quota = _cgroup_processors()
    if quota is not None:
        count = min(count, max(1, -int(-quota // 1)))
    return count


def _cgroup_processors() -> float | None:
    """The tightest CPU quota of the cgroups that this process is in, in processors."""
    tightest = None
    for path in _cgroup_folders():
        try:
            if path.endswith("/cpu.max"):
                with open(path) as file:
                    quota, period = file.read().split()
            else:
                with open(path) as file:
                    quota = file.read().strip()
                with open(path.replace("quota", "period")) as file:
                    period = file.read().strip()
            if quota not in ("max", "-1"):
                processors = int(quota) / int(period)
                tightest = processors if tightest is None else min(tightest, processors)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # not a limit that is set, or not one that we can see
    return tightest


def _cgroup_folders() -> Iterator[str]:
    """The files that may hold a quota: of this process's cgroups and of all above them."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, folder = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root, name = (
            (f"/sys/fs/cgroup/{controllers}", "cpu.cfs_quota_us") if controllers else ("/sys/fs/cgroup", "cpu.max")
        )
        while True:
            yield f"{root}{folder.rstrip('/')}/{name}"
            if folder in ("", "/"):
                break
            folder = folder.rpartition("/")[0]


def python_command(python: str | Sequence[str] | None) -> list[str]:
    """The command line of a worker; 'python' is another interpreter than this one, with an achar of its own."""
    if python is not None:
        words = program_command([python] if isinstance(python, (str, bytes, os.PathLike)) else python)
        return [*words, "-c", "from achar._worker import main; main()"]
    # Only what finds achar; the rest of sys.path comes with the hello (see _worker.py).
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = f"import sys; sys.path.insert(0, {home!r}); from achar._worker import main; main()"
    return [sys.executable, *interpreter_flags(), "-c", program]


# What a word of the command line makes of these, subprocess knows.
_SELDOM_SET = ("debug", "optimize", "no_site", "verbose", "bytes_warning", "quiet", "dev_mode")
_SELDOM_SET += ("isolated", "ignore_environment", "no_user_site", "safe_path")


def interpreter_flags() -> list[str]:
    """This interpreter's flags as words of a command line."""
    if not (sys.warnoptions or sys._xoptions or any(getattr(sys.flags, name, 0) for name in _SELDOM_SET)):
        return ["-B"] if sys.flags.dont_write_bytecode else []
    import subprocess  # only now: it takes 5 ms

    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]


def path_for(python: object) -> list[str]:
    """sys.path for workers; another interpreter has a standard library and packages of its own."""
    if python is None:
        return list(sys.path)
    own = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    return [entry for entry in sys.path if not any(entry.startswith(prefix + os.sep) for prefix in own)]


def program_command(program: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The command line of a worker that is no Python; a name without a slash is looked for in PATH."""
    if isinstance(program, (str, bytes)) or not program:
        raise TypeError('program must be a command line: ["./worker", ...]')
    words = [os.fsdecode(word) for word in program]
    if os.sep not in words[0]:
        import shutil

        found = shutil.which(words[0])
        if found is None:
            raise FileNotFoundError(f"there is no program {words[0]!r} in PATH")
        words[0] = found
    return words


def environment(workers: int, env: Mapping[str, str | None] | None) -> list[str | bytes] | None:
    share = str(max(1, default_workers() // workers))
    environment = dict(os.environ)
    for name in THREAD_LIMITS:
        environment.setdefault(name, share)
    for name, value in (env or {}).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return [f"{name}={value}" for name, value in environment.items()]


def folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None  # it has been removed; workers stay where they start

"""How much shared memory an executor may use, and where the rest goes."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any


def default_limit() -> int:
    """Half of the machine's memory, or of what the cgroup has."""
    nbytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(name) as file:
                nbytes = min(nbytes, int(file.read()))
        except (OSError, ValueError):
            continue  # not there, or "max"
    return nbytes // 2


def default_folder() -> str:
    """TMPDIR, else what is a disk also where /tmp is memory."""
    return os.environ.get("TMPDIR") or ("/var/tmp" if os.path.isdir("/var/tmp") else "/tmp")


def checked(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, in bytes, or None")
    if value < least:
        raise ValueError(f"{name} must be at least {least:,} bytes")
    return value


def limits(memory_limit: int | None, spill_limit: int | None, spill_dir: Any, workers: int) -> tuple[int, int, Any]:
    """As Pool() takes them: bytes, bytes (0: as many as there are), a folder or None."""
    memory = default_limit() if memory_limit is None else checked("memory_limit", memory_limit, (1 + workers) << 20)
    spill = 0 if spill_limit is None else checked("spill_limit", spill_limit, 0)
    if spill_limit == 0:
        return memory, 0, None
    return memory, spill, default_folder() if spill_dir is None else os.fspath(spill_dir)

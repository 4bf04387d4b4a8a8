"""One name for a memo's file, by whichever it is opened.

SQLite's log, the locks and the large results stand beside the file, and go by its name. Of symbolic links it is known
where they lead. Of hard links all are equal, so the file says by which name it was opened first, in an attribute that
its names share; where attributes are not to be had, it is the name in the same folder that has locks beside it.
"""

from __future__ import annotations

import os

_ATTRIBUTE = "user.achar.memo"


def name_of(path: str) -> str:
    path = os.path.realpath(path)
    try:
        status = os.stat(path)
    except OSError:  # none is there, or opening it says what is wrong
        return path
    if status.st_nlink == 1 or os.path.isdir(path):
        return path
    noted = _noted(path)
    if noted is not None and _is(noted, status):
        return noted
    folder = os.path.dirname(path)
    with os.scandir(folder) as entries:
        names = [os.path.join(folder, entry.name) for entry in entries if entry.inode() == status.st_ino]
    names = sorted(name for name in names if os.path.exists(name + "-lock") and _is(name, status))
    return names[0] if names else path


def note(path: str) -> None:
    """The file is open by this name."""
    if _noted(path) != path:
        try:
            os.setxattr(path, _ATTRIBUTE, os.fsencode(path))
        except (OSError, AttributeError):  # the file system, or the system, has none
            pass


def _noted(path: str) -> str | None:
    try:
        return os.fsdecode(os.getxattr(path, _ATTRIBUTE))
    except (OSError, AttributeError):
        return None


def _is(path: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False

"""Results as bytes: compressed where that pays, and in files of their own, which are there whole or not at all."""

from __future__ import annotations

import os

from . import _memo

_SAMPLE_NBYTES = 64 << 10
_LEVEL = 3


def compressed(data: bytes) -> bytes | None:
    """A zstd frame, if it is a good deal shorter; three samples are tried first."""
    if len(data) > 4 * _SAMPLE_NBYTES:
        middle = len(data) // 2
        view = memoryview(data)
        sample = b"".join(view[at : at + _SAMPLE_NBYTES // 3] for at in (0, middle, len(data) - _SAMPLE_NBYTES // 3))
        frame = _memo.compress(sample, 1)
        if frame is None or len(frame) > len(sample) * 3 // 4:
            return None
    frame = _memo.compress(data, _LEVEL)
    return frame if frame is not None and len(frame) <= len(data) * 3 // 4 else None


def write_file(path: str, data: bytes, to_disk: bool) -> None:
    """A file that is there whole or not at all."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        parent = os.path.dirname(folder)  # <path>.d
        os.makedirs(folder, exist_ok=True)
        if to_disk:
            sync(parent)
            sync(os.path.dirname(parent))
    unfinished = path + ".new"
    try:
        with open(unfinished, "wb") as file:
            file.write(data)
            if to_disk:
                file.flush()
                os.fsync(file.fileno())
        os.rename(unfinished, path)
    except BaseException:
        remove(unfinished)
        raise
    if to_disk:
        sync(folder)


def sync(path: str) -> None:
    """A file or a folder: it is on the disk then."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass

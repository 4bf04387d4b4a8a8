"""Executor(progress=True): a bar that shows how many tasks have ended, by tqdm if that is installed.

A thread looks at the pool's counts a few times a second. Whatever goes wrong with the bar (a stream that is
closed, a broken tqdm) ends the bar with a warning, and nothing else.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings

from . import _achar

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

LOOK_SECONDS = 0.1


def check(progress: object) -> None:
    if progress not in (False, True, "always"):
        raise ValueError('progress must be True, False or "always"')


def start(pool: _achar.Pool, progress: bool | str) -> threading.Thread | None:
    """The thread that shows the bar; None: nobody would see it."""
    if not progress or (progress != "always" and not _in_notebook() and not _is_terminal()):
        return None
    thread = threading.Thread(target=_show, args=(pool,), name="achar-progress", daemon=True)
    thread.start()
    return thread


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except Exception:  # None, closed, or no stream at all
        return False


def _in_notebook() -> bool:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and "ZMQ" in type(get_ipython()).__name__


def _set_total(bar: Any, total: int) -> None:
    if total != bar.total and hasattr(bar, "container"):  # a widget, which takes it in no other way
        start = bar.start_t
        bar.reset(total)
        bar.start_t = start
    bar.total = total


def _has_widgets() -> bool:
    try:
        import importlib.util

        return importlib.util.find_spec("ipywidgets") is not None
    except ValueError:  # somebody has hidden it
        return False


def _show(pool: _achar.Pool) -> None:
    bar = None
    try:
        shown = 0
        while True:
            ended_for_good = pool.join(0) if pool.closed else False
            submitted, ended, failed = pool.progress()
            if submitted and bar is None:
                bar = _make_bar()
            if bar is not None and (ended != shown or bar.total != submitted):
                _set_total(bar, submitted)
                bar.n = shown = ended
                if failed:
                    bar.set_postfix_str(f"{failed} failed", refresh=False)
                # tqdm's own refresh() keeps the lock of all bars for ever when the stream is broken.
                with bar.get_lock():
                    bar.refresh(nolock=True)
            if ended_for_good:
                break
            time.sleep(LOOK_SECONDS)
        if bar is not None:
            bar.close()
    except Exception as error:
        if bar is not None:
            bar.disable = True  # else it writes once more when it is freed
        warnings.warn(f"the bar of Executor(progress=) has ended, the run goes on: {error!r}", stacklevel=1)


def _make_bar() -> Any:
    # The delay, since without one it would refresh itself at once, with the lock.
    options: dict[str, Any] = {"total": 0, "unit": " tasks", "desc": "achar", "dynamic_ncols": True, "delay": 1e-9}
    try:
        if _in_notebook() and _has_widgets():
            from tqdm.notebook import tqdm

            return tqdm(**options)
        from tqdm import tqdm

        return tqdm(**options, file=sys.stderr)
    except ImportError:
        return PlainBar()


class PlainBar:
    """What is to be seen without tqdm: a line that is written over."""

    def __init__(self) -> None:
        self.total = self.n = 0
        self.lock = threading.Lock()
        self.started = time.monotonic()
        self.postfix = ""
        self.width = 0

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        self.postfix = ", " + text

    def get_lock(self) -> threading.Lock:
        return self.lock

    def refresh(self, nolock: bool = False) -> None:
        rate = self.n / max(time.monotonic() - self.started, 1e-9)
        percent = 100 * self.n // self.total if self.total else 0
        line = f"achar: {percent:3}% {self.n}/{self.total} tasks, {rate:.0f}/s{self.postfix}"
        sys.stderr.write("\r" + line.ljust(self.width))
        sys.stderr.flush()
        self.width = len(line)

    def close(self) -> None:
        self.refresh()
        sys.stderr.write("\n")
        sys.stderr.flush()

"""Tasks that submit tasks: the worker's side of what stands between it and the executor that it works for.

A worker opens a connection through the socket that it inherited, its door (nobody else can; it has one
worker behind it, see src/runtime/pool/door.c), and sends calls as bytes that the client does not open. The
client submits them to workers of the next depth: a task waits only for tasks that are deeper than itself,
and the deepest always run, so nesting never deadlocks. Those workers start when the first such call comes,
up to ``max_workers`` at each depth; the ones above sleep meanwhile.

Tasks may write to descriptors that are not theirs. The cookie is the connection's own and random: what does not
begin with it ends the connection (_frames.py). Each task's first call is preceded by a CHECK that the client answers;
without the answer a new connection is made, so what one task has done to it does not reach the next.

A connection that has ended stays ended: its unfinished futures fail, and the client cancels their tasks.
The client's side is in _door.py.
"""

from __future__ import annotations

import array
import atexit
import collections
import concurrent.futures
import contextlib
import fcntl
import os
import socket
import struct
import sys
import termios
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from . import _achar, _worker
from ._frames import (
    ACTOR,
    CALL,
    CANCEL,
    CHECK,
    COUNTS,
    FAILED,
    FRAME,
    GOODBYE,
    HELLO,
    OPTIONS,
    PUT,
    RELEASE,
    RETURNED_OF_KIND,
    SUBMIT,
)
from ._nested_futures import CallFuture, Check, NestedFuture, NestedReference, lost
from ._options import Commands

DEPTH_MAX = 32
DISCARDED_AT_ONCE = 1 << 16
ANSWER_S = 60  # after the client has read the question
CLOSED = "something in this worker closed it, or no descriptor was left there"

_links: weakref.WeakSet[Link] = weakref.WeakSet()  # of this worker


def _forget_after_fork() -> None:
    for link in list(_links):
        link.forget_after_fork()


os.register_at_fork(after_in_child=_forget_after_fork)


class Link:
    """A worker's connection."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair()
        with theirs, socket.socket(fileno=os.dup(_worker.DOOR_FD)) as door:
            if os.fstat(door.fileno()).st_ino != _worker.door:
                raise OSError("something else is where the worker's door was")
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
            cookie = int.from_bytes(os.urandom(8), "little")
            door.sendmsg([HELLO.pack(cookie)], rights)
        self.socket, self.cookie, self.lock, self.number = mine, cookie, threading.Lock(), 0
        self.fd, self.inode = mine.fileno(), os.fstat(mine.fileno()).st_ino
        self.checked = _achar.worker_task()[0]  # the task that has found it whole
        self.futures: dict[int, NestedFuture | Check] = {}  # unfinished
        self.released: collections.deque[int] = collections.deque()
        self.is_forks = self.is_lost = False
        atexit.register(self.leave)
        _links.add(self)
        threading.Thread(target=self.read, name="achar-nested", daemon=True).start()

    def forget_after_fork(self) -> None:
        """In a child of the worker: the connection is the worker's, and nobody reads it here."""
        self.is_forks, self.lock = True, threading.Lock()
        futures, self.futures = list(self.futures.values()), {}
        for future in futures:
            future._condition = threading.Condition()  # another thread may have held it
            future.set_exception(RuntimeError("this future belongs to the process that forked this one"))

    def is_own(self) -> bool:
        """Its descriptor is this connection's: a task may have closed it, and something else may be there by now."""
        try:
            return os.fstat(self.fd).st_ino == self.inode
        except OSError:
            return False

    def send(self, what: int, number: int, *parts: bytes) -> None:
        self.send_all(FRAME.pack(self.cookie, what, number, sum(map(len, parts))), *parts)

    def send_all(self, *parts: bytes) -> None:
        if self.is_forks:
            return
        try:
            with self.lock:
                try:
                    if not self.is_own():
                        raise OSError("its descriptor is closed")
                    for part in parts:
                        self.socket.sendall(part)
                except BaseException as error:  # also a time limit's: nothing can follow half a frame
                    self.end()
                    if isinstance(error, OSError) and not isinstance(error, TimeoutError):  # which is a time limit's
                        raise ConnectionError(CLOSED) from error
                    raise
        finally:
            if self.is_lost:  # the reader does not hear of a descriptor that a task has closed
                self.fail_all(CLOSED, None)

    def end(self) -> None:
        self.is_lost = True
        if self.is_own():
            with contextlib.suppress(OSError):  # the client has ended it
                self.socket.shutdown(socket.SHUT_RDWR)

    def fail_all(self, reason: object, cause: BaseException | None) -> None:
        while self.futures:
            with contextlib.suppress(KeyError):  # another thread has taken it
                future = self.futures.popitem()[1]
                if future.set_running_or_notify_cancel():
                    error = lost(reason)
                    error.__cause__ = cause
                    future.set_exception(error)

    def leave(self) -> None:
        if not self.is_lost:
            with contextlib.suppress(ConnectionError):  # it has ended just now
                self.send(GOODBYE, 0)

    def next_number(self) -> int:
        with self.lock:
            self.number += 1
            return self.number

    def is_whole(self) -> bool:
        """What earlier tasks have written to its descriptor has not ended it."""
        task = _achar.worker_task()[0]
        if self.checked != task and not self.is_lost:
            if not self.check():
                return False
            self.checked = task
        return not self.is_lost

    def check(self) -> bool:
        """Whether the client answers: then it has taken all that has been sent before.

        As long as it has not read the question, it is stopped or slow. Then it answers at once: if nothing comes,
        a task has read the answer.
        """
        number = self.next_number()
        answer = self.futures[number] = Check()
        try:
            self.send(CHECK, number)
        except ConnectionError:
            return False
        while not concurrent.futures.wait([answer], ANSWER_S).done:
            if not self.is_own() or not self.unread_nbytes():
                self.end()
                self.fail_all(CLOSED, None)
                return False
        return answer.exception() is None

    def unread_nbytes(self) -> int:
        """What the client has not read yet, as the kernel counts it: 0 only if it has read all."""
        count = array.array("i", [0])
        fcntl.ioctl(self.fd, termios.TIOCOUTQ, count)
        return count[0]

    def before_end_of_task(self) -> None:
        """When the end of this task is known, its calls of actors are, too: what comes after it, comes after them."""
        if not self.is_forks and any(isinstance(future, CallFuture) for future in list(self.futures.values())):
            self.check()

    def tell_released(self) -> None:
        frames = []
        with contextlib.suppress(IndexError):  # other threads take from it, too
            while True:
                frames.append(FRAME.pack(self.cookie, RELEASE, self.released.popleft(), 0))
        if frames and not self.is_lost:
            with contextlib.suppress(ConnectionError):  # it has ended, and the client holds nothing any more
                self.send_all(b"".join(frames))

    def submit(self, options: tuple, name: str, packed: bytes, inputs: list[int]) -> NestedFuture:
        parent = _achar.worker_task()[0]
        limit, retries, backoff, priority = options
        head = OPTIONS.pack(limit or 0, retries, backoff, priority, parent)
        return self.ask(SUBMIT, head, NestedFuture(self, self.next_number(), parent), name, packed, inputs)

    def call(self, key: int, name: str, packed: bytes, inputs: list[int]) -> NestedFuture:
        parent = _achar.worker_task()[0]
        future = CallFuture(self, self.next_number(), parent)
        _achar.before_end_of_task(self.before_end_of_task)
        return self.ask(CALL, ACTOR.pack(key, parent), future, name, packed, inputs)

    def ask(
        self, what: int, head: bytes, future: NestedFuture, name: str, packed: bytes, inputs: list[int]
    ) -> NestedFuture:
        number = future._number
        self.futures[number] = future
        self.tell_released()
        encoded = name.encode(errors="backslashreplace")
        counts = COUNTS.pack(len(inputs), len(encoded))
        try:
            self.send(what, number, head, counts, struct.pack(f"<{len(inputs)}Q", *inputs), encoded, packed)
        except ConnectionError as error:
            self.futures.pop(number, None)
            raise lost(CLOSED) from error
        return future

    def cancel_tasks_of(self, parent: int) -> None:
        for future in reversed(list(self.futures.values())):  # none is done without those before it
            if future._parent == parent:
                future.cancel()

    def put(self, packed: bytes) -> int:
        number = self.next_number()
        try:
            self.send(PUT, number, packed)
        except ConnectionError as error:
            raise lost(CLOSED) from error
        return number

    def read(self) -> None:
        reason, cause = CLOSED, None
        try:
            with self.socket.makefile("rb") as file:
                while self.read_frame(file):
                    pass
        except OSError as error:
            cause = error
        except Exception as error:  # whatever it is, those who wait hear of it
            reason, cause = f"{type(error).__name__}: {error}", error
        finally:
            self.end()  # first: then whoever sends is refused, or is among those that fail here
            self.fail_all(reason, cause)
            with self.lock:
                if self.is_own():
                    self.socket.close()
                else:
                    self.socket.detach()
            atexit.unregister(self.leave)

    def read_frame(self, file: BinaryIO) -> bool:
        head = file.read(FRAME.size)
        if len(head) < FRAME.size:
            return False
        cookie, what, number, size = FRAME.unpack(head)
        if cookie != self.cookie:
            raise ValueError("something in this worker has read from it")
        error = None
        try:
            data = file.read(size)
        except MemoryError as no_room:  # before anything is read
            data, error, left = b"", no_room, size
            while left and (read := len(file.read(min(left, DISCARDED_AT_ONCE)))):
                left -= read
        if error is None and len(data) < size:
            return False
        self.finish(what, number, data, error)
        return True

    def finish(self, what: int, number: int, data: bytes, error: BaseException | None) -> None:
        future = self.futures.pop(number, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if what == CHECK:
            future.set_result(None)
            return
        try:
            if error is not None:
                raise error
            kind = RETURNED_OF_KIND.index(what) if what != FAILED else 0
            outcome = _achar.loads_packed(kind, data)
        except BaseException as raised:
            what, outcome = FAILED, raised
        if what == FAILED:
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def failed(error: Exception) -> concurrent.futures.Future:
    future: concurrent.futures.Future = concurrent.futures.Future()
    future.set_exception(error)
    return future


class NestedExecutor(Commands, concurrent.futures.Executor):
    """In a task: the executor that the task runs on."""

    def __init__(self, depth: int) -> None:
        self._depth, self._lock = depth, threading.Lock()
        self._link: Link | None = None

    def _connect(self) -> Link:
        if os.getpid() != _worker.place[1]:
            raise RuntimeError("a process that a task has forked cannot submit tasks")
        with self._lock:  # a second connection would be the first one's end
            if self._link is None or not self._link.is_whole():
                try:
                    self._link = Link()
                except TimeoutError:  # a time limit's
                    raise
                except OSError as error:
                    raise RuntimeError("the way to the client is gone: something in this worker closed it") from error
            return self._link

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future:
        return self._submit_with((None, 0, 0, 0), None, fn, args, kwargs)

    def _submit_with(self, options: tuple, name: str | None, fn: Any, args: tuple, kwargs: dict) -> Any:
        from ._calls import name_of

        if self._depth >= DEPTH_MAX:
            raise RecursionError(f"tasks that submit tasks are nested more than {DEPTH_MAX} deep")
        link = self._connect()
        try:
            packed, inputs = self._pack(link, (fn, args, kwargs))
        except Exception as error:
            return failed(error)
        return link.submit(options, name or name_of(fn), packed, inputs)

    def _call_actor(self, key: int, name: str, call: tuple) -> concurrent.futures.Future:
        link = self._connect()
        try:
            packed, inputs = self._pack(link, call)
        except Exception as error:
            return failed(error)
        return link.call(key, name, packed, inputs)

    @staticmethod
    def _pack(link: Link, call: tuple) -> tuple[bytes, list[int]]:
        """And the numbers of the futures in it."""
        collecting, inputs = NestedFuture._collecting, []
        before = getattr(collecting, "inputs", None), getattr(collecting, "link", None)
        collecting.inputs, collecting.link = inputs, link
        try:
            return _achar.dumps(call), inputs
        finally:
            collecting.inputs, collecting.link = before

    def put(self, obj: Any) -> NestedReference:
        """As Executor.put(); the memory is the client's from when a task of this one's needs it."""
        return NestedReference(obj)

    def options(self, **options: Any) -> Any:
        from .executor import Executor

        return Executor.options(self, **options)  # type: ignore[arg-type]

    def _sibling(self, env: dict[str, str | None]) -> Any:
        raise ValueError(
            f"in a task, {', '.join(sorted(env))} cannot be set for another: workers of its own are needed"
        )

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        return self.options().map(fn, *iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize)

    def wait(self, futures: Any, n: int | None = None, timeout: float | None = None) -> Any:
        from .executor import Executor

        return Executor.wait(self, futures, n, timeout)  # type: ignore[arg-type]

    def cancel(self, future: concurrent.futures.Future, *, force: bool = False) -> bool:
        """As Executor.cancel(); what a task has submitted is always ended by force."""
        return future.cancel()

    def actor(self, *args: Any, **options: Any) -> Any:
        raise ValueError("a task cannot make an actor, whose process would outlive it: make it where the executor is")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        raise RuntimeError("this is the executor that the task runs on: the process that made it shuts it down")

    def __reduce__(self) -> Any:
        return current_executor, ()

    def __enter__(self) -> NestedExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


_here: NestedExecutor | None = None


def end_of_task() -> None:
    """What the worker does after each task, once one has asked for current_executor()."""
    link = _here._link if _here is not None else None
    if link is not None and not link.is_forks:
        link.tell_released()


def current_executor() -> Any:
    """In a task, the executor that it runs on: tasks that it submits there run on other workers."""
    threads = sys.modules.get("achar._threads")
    if threads is not None and (level := getattr(threads._local, "executor", None)) is not None:
        return level
    return executor_of_worker()


def executor_of_worker() -> NestedExecutor:
    global _here
    if _here is None:
        if _worker.place is None:
            raise RuntimeError("current_executor() is for tasks; here, use the executor itself")
        _here = NestedExecutor(_worker.place[0])
        _achar.set_nested_future(NestedFuture)
    return _here

"""Tasks that submit tasks: what stands between a worker and the executor that it works for.

A worker opens a connection through the socket that it inherited (nobody else can), and sends calls as
bytes that the client does not open. The client submits them to workers of the next depth: a task waits
only for tasks that are deeper than itself, and the deepest always run, so nesting never deadlocks.
Those workers start when the first such call comes, up to ``max_workers`` at each depth; the ones above
sleep meanwhile.

    frame   [u8 what][u64 id][u64 nbytes][bytes]     both ways; an id is the worker's number for a call

The client's side is one thread with a selector; it never waits for a worker. A connection that ends, or
on which something else than frames arrives, has its unfinished calls cancelled by force.
"""

from __future__ import annotations

import array
import atexit
import concurrent.futures
import contextlib
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from . import _achar, _worker

DEPTH_MAX = 32
DOOR_FD = 6  # src/runtime/pool/wire.h
FRAME = struct.Struct("<BQQ")
# Limit (0: none), retries, backoff, priority, number of the task that submits, input count, size of the name.
OPTIONS = struct.Struct("<dIdiIII")
SUBMIT, CANCEL, RELEASE, GOODBYE, PUT, FAILED, *RETURNED_OF_KIND = range(1, 10)  # the kinds of packed.h: 0, 1, 2
REFERENCE = 1  # of those kinds
HELLO = struct.Struct("<I")  # the worker's depth; sent with the connection


# ---- in the worker

_inputs: list[list[Any]] = []  # of the calls that are being opened, the innermost last


def run_packed(packed: bytes, *inputs: Any) -> Any:
    """What a nested call is for the client: the task that makes it."""
    _inputs.append(list(inputs))
    try:
        fn, args, kwargs = _achar.loads(packed)
    finally:
        _inputs.pop()
    return fn(*args, **kwargs)


def input_of(index: int) -> Any:
    return _inputs[-1][index]


class NestedFuture(concurrent.futures.Future):
    """The future of a task that a task has submitted."""

    _collecting = threading.local()
    _packed: bytes | None = None

    def __init__(self, link: Link, number: int) -> None:
        super().__init__()
        self._link, self._number = link, number

    def __reduce__(self) -> Any:
        inputs = getattr(self._collecting, "inputs", None)
        if inputs is None:
            raise TypeError("a future of a nested task can be an argument of submit(), or what a task returns")
        inputs.append(self._number)
        return input_of, (len(inputs) - 1,)

    def __del__(self) -> None:
        self._link.released.append(self._number)  # told with the next call: this may run anywhere

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled:
            self._link.send(CANCEL, self._number)
        return cancelled


class NestedReference(NestedFuture):
    """What a task has put: bytes, which go to the client when a task of this one's needs them.

    When the task returns it, they are its result, and the future of that is a reference in the client.
    """

    def __init__(self, executor: NestedExecutor, obj: Any) -> None:
        concurrent.futures.Future.__init__(self)
        self._executor, self._link, self._number = executor, None, 0
        self._packed = _achar.pack(obj)
        self.set_result(None)

    def result(self, timeout: float | None = None) -> Any:
        return _achar.loads_packed(REFERENCE, self._packed)

    def __reduce__(self) -> Any:
        if self._link is None and getattr(self._collecting, "inputs", None) is not None:
            self._link = self._executor._connect()
            self._number = self._link.put(self._packed)
        return super().__reduce__()

    def __del__(self) -> None:
        if self._link is not None:
            super().__del__()


class Link:
    """A worker's connection."""

    def __init__(self, depth: int) -> None:
        mine, theirs = socket.socketpair()
        with theirs, socket.socket(fileno=os.dup(DOOR_FD)) as door:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
            door.sendmsg([HELLO.pack(depth)], rights)
        self.socket, self.lock, self.number = mine, threading.Lock(), 0
        self.futures: dict[int, NestedFuture] = {}  # unfinished
        self.released: list[int] = []
        atexit.register(self.send, GOODBYE, 0)
        threading.Thread(target=self.read, name="achar-nested", daemon=True).start()

    def send(self, what: int, number: int, *parts: bytes) -> None:
        with self.lock:
            for part in (FRAME.pack(what, number, sum(map(len, parts))), *parts):
                self.socket.sendall(part)

    def submit(self, options: tuple, name: str, packed: bytes, inputs: list[int]) -> NestedFuture:
        with self.lock:
            self.number += 1
            future = self.futures[self.number] = NestedFuture(self, self.number)
        while self.released:
            self.send(RELEASE, self.released.pop())
        limit, retries, backoff, priority = options
        encoded = name.encode(errors="backslashreplace")
        parent = _achar.worker_task()[0]
        head = OPTIONS.pack(limit or 0, retries, backoff, priority, parent, len(inputs), len(encoded))
        self.send(SUBMIT, future._number, head, struct.pack(f"<{len(inputs)}Q", *inputs), encoded, packed)
        return future

    def put(self, packed: bytes) -> int:
        with self.lock:
            self.number += 1
            number = self.number
        self.send(PUT, number, packed)
        return number

    def read(self) -> None:
        with contextlib.suppress(OSError), self.socket.makefile("rb") as file:
            while len(head := file.read(FRAME.size)) == FRAME.size:
                what, number, size = FRAME.unpack(head)
                self.finish(what, number, file.read(size))
        error = RuntimeError("the connection to the client was lost: something in this worker closed it")
        for future in list(self.futures.values()):
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    def finish(self, what: int, number: int, data: bytes) -> None:
        future = self.futures.pop(number)
        if not future.set_running_or_notify_cancel():
            return
        try:
            kind = RETURNED_OF_KIND.index(what) if what != FAILED else 0
            outcome = _achar.loads_packed(kind, data)
        except BaseException as error:
            what, outcome = FAILED, error
        if what == FAILED:
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class NestedExecutor(concurrent.futures.Executor):
    """In a task: the executor that the task runs on."""

    def __init__(self, depth: int) -> None:
        self._depth, self._owner, self._link = depth, 0, None

    def _connect(self) -> Link:
        if self._owner != os.getpid():  # not yet, or a fork of the worker
            if self._link is not None or os.getpid() != _worker.place[1]:
                raise RuntimeError("a process that a task has forked cannot submit tasks")
            if self._depth >= DEPTH_MAX:
                raise RecursionError(f"tasks that submit tasks are nested more than {DEPTH_MAX} deep")
            try:
                self._link, self._owner = Link(self._depth), os.getpid()
            except OSError as error:
                raise RuntimeError("the way to the client is gone: something in this worker closed it") from error
        return self._link

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future:
        return self._submit_with((None, 0, 0, 0), None, fn, args, kwargs)

    def _submit_with(self, options: tuple, name: str | None, fn: Any, args: tuple, kwargs: dict) -> Any:
        from ._calls import name_of

        link = self._connect()
        before = getattr(NestedFuture._collecting, "inputs", None)
        inputs: list[int] = []
        NestedFuture._collecting.inputs = inputs
        try:
            packed = _achar.dumps((fn, args, kwargs))
        except Exception as error:
            failed = concurrent.futures.Future()
            failed.set_exception(error)
            return failed
        finally:
            NestedFuture._collecting.inputs = before
        return link.submit(options, name or name_of(fn), packed, inputs)

    def put(self, obj: Any) -> NestedReference:
        """As Executor.put(); the memory is the client's from when a task of this one's needs it."""
        return NestedReference(self, obj)

    def options(self, **options: Any) -> Any:
        from .executor import Executor

        return Executor.options(self, **options)  # type: ignore[arg-type]

    def _sibling(self, env: dict[str, str | None]) -> Any:
        raise ValueError(
            f"in a task, {', '.join(sorted(env))} cannot be set for another: workers of its own are needed"
        )

    def map(self, fn: Callable[..., Any], *iterables: Any, timeout: float | None = None, **more: Any) -> Iterator[Any]:
        return self.options().map(fn, *iterables, timeout=timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        raise RuntimeError("this is the executor that the task runs on: the process that made it shuts it down")

    def __reduce__(self) -> Any:
        return current_executor, ()

    def __enter__(self) -> NestedExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


_here: NestedExecutor | None = None


def current_executor() -> NestedExecutor:
    """In a task, the executor that it runs on: tasks that it submits there run on other workers."""
    global _here
    if _here is None:
        if _worker.place is None:
            raise RuntimeError("current_executor() is for tasks; here, use the executor itself")
        _here = NestedExecutor(_worker.place[0])
        _achar.set_nested_future(NestedFuture)
    return _here


# ---- in the client


class Connection:
    def __init__(self, link: socket.socket, depth: int) -> None:
        self.socket, self.depth = link, depth
        self.received, self.to_send = bytearray(), bytearray()
        self.futures: dict[int, Any] = {}

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        while len(self.received) >= FRAME.size:
            what, number, size = FRAME.unpack_from(self.received)
            if what not in (SUBMIT, CANCEL, RELEASE, GOODBYE, PUT):
                raise ValueError("no frame")
            if len(self.received) < FRAME.size + size:
                return
            body = bytes(memoryview(self.received)[FRAME.size : FRAME.size + size])
            del self.received[: FRAME.size + size]
            yield what, number, body


class Server:
    """The thread that takes the workers' calls, and the executors of the depths below the first."""

    def __init__(self, pool: Any, make_executor: Callable[[int], Any]) -> None:
        self.make_executor = make_executor
        self.executors: list[Any] = []  # [0] is of depth 1
        self.pools = [pool]  # [0] is of depth 0
        self.closed = 0  # so many pools take no more tasks, as far as this thread knows
        self.spoiled = False
        self.selector = selectors.DefaultSelector()
        self.bell, self.ring = socket.socketpair()
        for end in (self.bell, self.ring):
            end.setblocking(False)
        self.selector.register(self.bell, selectors.EVENT_READ, None)
        self.watch_door(pool)
        self.lock = threading.Lock()
        self.finished: list[tuple[Connection, int, Any]] = []

    def watch_door(self, pool: Any) -> None:
        door = socket.socket(fileno=os.dup(pool.door))
        door.setblocking(False)
        self.selector.register(door, selectors.EVENT_READ, None)

    def has_ended(self) -> bool:
        """Closes each depth when the one above has no tasks left."""
        while self.closed < len(self.pools) and self.pools[self.closed].closed and self.pools[self.closed].join(0):
            self.closed += 1
            if self.closed <= len(self.executors):
                self.executors[self.closed - 1].shutdown(wait=False)
        return self.closed == len(self.pools)

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            self.ring.send(b"!")

    def serve(self) -> None:
        """Until the pools have ended; each one's door says so."""
        while not self.has_ended():
            for key, events in self.selector.select(0.2 if self.spoiled else None):
                if key.fileobj is self.bell:
                    with contextlib.suppress(OSError):
                        self.bell.recv(4096)
                elif key.data is None:
                    self.accept(key.fileobj)
                elif not self.attend(key.data, events):
                    self.selector.unregister(key.data.socket)
                    self.drop(key.data)
            self.reply()
        for key in list(self.selector.get_map().values()):
            if key.data is not None:
                self.drop(key.data)
            key.fileobj.close()
        self.ring.close()
        self.selector.close()

    def accept(self, door: Any) -> None:
        try:
            data, ancillary, _, _ = door.recvmsg(64, socket.CMSG_SPACE(4))
        except OSError:
            return
        if not data:  # the pool has ended; or a task has spoiled the door, and no more connections come
            self.spoiled = True
            self.selector.unregister(door)
            door.close()
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) // 4 * 4])
        for fd in fds:
            link = socket.socket(fileno=fd)
            if len(data) == HELLO.size and link.family == socket.AF_UNIX:
                link.setblocking(False)
                self.selector.register(link, selectors.EVENT_READ, Connection(link, HELLO.unpack(data)[0]))
            else:
                link.close()

    def attend(self, connection: Connection, events: int) -> bool:
        """False: it is over."""
        try:
            if events & selectors.EVENT_READ:
                data = connection.socket.recv(1 << 18)
                if not data:
                    return False
                connection.received += data
                for frame in connection.frames():
                    self.obey(connection, *frame)
        except BlockingIOError:
            pass
        except Exception:  # nonsense, or no memory: this connection's end, and nobody else's
            return False
        return True

    def obey(self, connection: Connection, what: int, number: int, body: bytes) -> None:
        if what == CANCEL:
            future = connection.futures.get(number)
            if future is not None:
                future._cancel_by_force()
            return
        if what == RELEASE:
            connection.futures.pop(number, None)
            return
        if what == GOODBYE:  # the worker leaves in peace; what its tasks have not waited for is done all the same
            connection.futures.clear()
            return
        if what == PUT:
            connection.futures[number] = self.stored(connection, body)
            return
        limit, retries, backoff, priority, parent, input_count, name_size = OPTIONS.unpack_from(body)
        at = OPTIONS.size
        inputs = struct.unpack_from(f"<{input_count}Q", body, at)
        at += 8 * input_count
        name, packed = body[at : at + name_size].decode(), body[at + name_size :]
        try:
            executor = self.executor_at(connection.depth + 1)
            arguments = (packed, *(connection.futures[n] for n in inputs))
            options = (limit or None, retries, backoff, priority, self.parent(connection.depth, parent))
            future = executor._submit_with(options, name, run_packed, arguments, {})
        except Exception as error:  # whatever it is, it is the task's
            future = concurrent.futures.Future()
            future.set_exception(error)
        connection.futures[number] = future
        future.add_done_callback(lambda done: self.tell(connection, number, done))

    def parent(self, depth: int, number: int) -> int:
        """The task that submits, for the record."""
        source = self.pools[depth].source
        return 0 if source is None or not number else source << 32 | number

    def stored(self, connection: Connection, packed: bytes) -> Any:
        try:
            return self.executor_at(connection.depth + 1)._put_packed(packed)
        except (MemoryError, RuntimeError) as error:
            failed = concurrent.futures.Future()  # and so fails the task that needs it
            failed.set_exception(error)
            return failed

    def executor_at(self, depth: int) -> Any:
        while len(self.executors) < depth <= DEPTH_MAX:
            executor = self.make_executor(len(self.executors) + 1)
            self.executors.append(executor)
            self.pools.append(executor._pool)
            self.watch_door(executor._pool)
        return self.executors[depth - 1]

    def tell(self, connection: Connection, number: int, future: Any) -> None:
        with self.lock:
            self.finished.append((connection, number, future))
        self.wake()

    @staticmethod
    def returned(future: Any) -> tuple[int, Any]:
        """Which frame answers, and what is in it."""
        returned = future._bytes() if hasattr(future, "_bytes") else None
        if returned is not None:
            return RETURNED_OF_KIND[returned[0]], returned[1]
        error = concurrent.futures.CancelledError() if future.cancelled() else future.exception()
        try:
            return FAILED, _achar.dumps(error)
        except Exception:
            return FAILED, _achar.dumps(RuntimeError(f"{type(error).__name__}: {error}"))

    def reply(self) -> None:
        with self.lock:
            finished, self.finished = self.finished, []
        for connection, number, future in finished:
            try:
                what, data = self.returned(future)
                connection.to_send += FRAME.pack(what, number, len(data)) + data
            except Exception as error:  # no memory for the answer: the task hears of that
                data = _achar.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
                connection.to_send += FRAME.pack(FAILED, number, len(data)) + data
        for key in list(self.selector.get_map().values()):
            connection = key.data
            if connection is None or not connection.to_send:
                continue
            with contextlib.suppress(OSError):  # a connection that is gone is noticed when it is read
                sent = connection.socket.send(connection.to_send)
                del connection.to_send[:sent]
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.to_send else 0)
            if events != key.events:
                self.selector.modify(connection.socket, events, connection)

    def drop(self, connection: Connection) -> None:
        connection.socket.close()
        for future in list(connection.futures.values()):
            if not future.done() and hasattr(future, "_cancel_by_force"):
                future._cancel_by_force()

"""Tasks that submit tasks: the client's side, which takes the calls that workers send (_nested.py).

It is one thread with a selector; it never waits for a worker. A connection that ends, or on which
something else than frames arrives, has its unfinished calls cancelled by force. Whatever a task does
to the door or to a connection ends at most what is its worker's; a worker has one connection at a time.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from . import _achar, _handle, _waits
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
    WAIT,
    WAITER,
)
from ._nested import DEPTH_MAX, failed
from ._nested_futures import run_packed
from .errors import _actor_gone, _stuck_call

NBYTES_MAX = 1 << 40
SIZES_MAX = {SUBMIT: NBYTES_MAX, CALL: NBYTES_MAX, PUT: NBYTES_MAX, WAIT: WAITER.size}
SIZES_MAX |= {CANCEL: 0, RELEASE: 0, GOODBYE: 0, CHECK: 0}

_tasks = itertools.count(1)  # numbers of tasks of tasks


class Connection:
    def __init__(self, link: socket.socket, depth: int, worker: int, cookie: int) -> None:
        self.socket, self.depth, self.worker, self.cookie = link, depth, worker, cookie
        self.is_read = False  # so far
        self.received, self.to_send = bytearray(), bytearray()
        self.futures: dict[int, Any] = {}
        self.calls: set[int] = set()  # of these, those of actors
        self.turns: dict[Any, Any] = {}  # see Actor._call_packed()
        self.waits: dict[int, Any] = {}  # the nodes of _waits.py, by number of what they wait for

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        while len(self.received) >= FRAME.size:
            cookie, what, number, size = FRAME.unpack_from(self.received)
            limit = SIZES_MAX.get(what)
            if cookie != self.cookie or limit is None or size > limit:
                raise ValueError("no frame")
            if len(self.received) < FRAME.size + size:
                return
            body = bytes(memoryview(self.received)[FRAME.size : FRAME.size + size])
            del self.received[: FRAME.size + size]
            yield what, number, body

    def answer(self, what: int, number: int, data: Any = b"") -> None:
        self.to_send += FRAME.pack(self.cookie, what, number, len(data))
        self.to_send += data

    def cancel(self, number: int) -> None:
        future = self.futures.get(number)
        if future is not None and number in self.calls:
            future.cancel()  # not one that has begun: it may be killed for that, and with it the actor of others
        elif hasattr(future, "_cancel_by_force"):  # a task that failed when it was submitted has none, and is done
            future._cancel_by_force()

    def end_wait(self, number: int) -> None:
        node = self.waits.pop(number, None)
        if node is not None:
            _waits.end(node, self, number)

    def release(self, number: int) -> None:
        self.futures.pop(number, None)
        self.calls.discard(number)
        self.end_wait(number)

    def take(self, body: bytes, at: int) -> tuple[str, bytes, list[Any]]:
        """What follows the head of a SUBMIT or CALL: name, call, inputs."""
        input_count, name_size = COUNTS.unpack_from(body, at)
        at += COUNTS.size
        numbers = struct.unpack_from(f"<{input_count}Q", body, at)
        at += 8 * input_count
        return body[at : at + name_size].decode(), body[at + name_size :], [self.futures[n] for n in numbers]


class Server:
    """The thread that takes the workers' calls, and the executors of the depths below the first."""

    def __init__(self, pool: Any, make_executor: Callable[[int], Any], is_actors: bool) -> None:
        self.make_executor, self.is_actors = make_executor, is_actors
        self.executors: list[Any] = []  # [0] is of depth 1
        self.pools = [pool]  # [0] is of depth 0
        self.closed = 0  # so many pools have ended, and all that their workers had sent is taken
        self.connections: dict[tuple[int, int], Connection] = {}  # by depth and worker
        with contextlib.ExitStack() as made:
            self.selector = made.enter_context(selectors.DefaultSelector())
            self.bell, self.ring = map(made.enter_context, socket.socketpair())
            for end in (self.bell, self.ring):
                end.setblocking(False)
            self.selector.register(self.bell, selectors.EVENT_READ, None)
            self.watch_doors(0)
            made.pop_all()
        self.lock = threading.Lock()
        self.finished: list[tuple[Connection, int, Any]] = []

    def watch_doors(self, depth: int) -> None:
        self.selector.register(self.pools[depth].door, selectors.EVENT_READ, depth)

    def has_ended(self) -> bool:
        """Closes each depth when the one above has no tasks left."""
        while self.closed < len(self.pools) and self.pools[self.closed].closed and self.pools[self.closed].join(0):
            self.take_the_last(self.closed)
            self.closed += 1
            if self.closed <= len(self.executors):
                self.executors[self.closed - 1].shutdown(wait=False)
        return self.closed == len(self.pools)

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            self.ring.send(b"!")

    def serve(self) -> None:
        """Until the pools have ended; the descriptor of each one's doors says so."""
        while not self.has_ended():
            for key, events in self.selector.select():
                if key.fileobj is self.bell:
                    with contextlib.suppress(OSError):
                        self.bell.recv(4096)
                elif isinstance(key.data, int):
                    self.accept(key.data)
                elif events & selectors.EVENT_READ and self.is_open(key.data):
                    self.attend(key.data)
            self.reply()
        for connection in list(self.connections.values()):
            self.drop(connection)
        for end in (self.bell, self.ring, self.selector):
            end.close()

    def is_open(self, connection: Connection) -> bool:
        return self.connections.get((connection.depth, connection.worker)) is connection

    def take_the_last(self, depth: int) -> None:
        """What the workers of an ended pool had sent: they have left in peace, or not."""
        self.selector.unregister(self.pools[depth].door)
        while self.pools[depth].has_arrivals:
            self.accept(depth)
        for connection in [each for each in self.connections.values() if each.depth == depth]:
            connection.is_read = False
            while not connection.is_read:
                self.attend(connection)

    def accept(self, depth: int) -> None:
        """One for each time that it is rung, so that a worker without end has no more than its turn."""
        try:
            arrival = self.pools[depth].take_arrival()
        except (OSError, MemoryError):  # no descriptor is left: they wait until there is one
            time.sleep(0.1)
            return
        if arrival is not None and arrival[-1] >= 0:
            self.welcome(depth, *arrival)

    def welcome(self, depth: int, worker: int, hello: bytes, fd: int) -> None:
        try:
            link = socket.socket(fileno=fd)
        except OSError:  # a task has sent something that is no socket
            os.close(fd)
            return
        try:
            if len(hello) != HELLO.size or link.family != socket.AF_UNIX:
                raise ValueError("no worker sends this")
            link.setblocking(False)
            connection = Connection(link, depth, worker, *HELLO.unpack(hello))
            self.selector.register(link, selectors.EVENT_READ, connection)
        except (OSError, ValueError):  # the worker sees that its connection has ended
            link.close()
            return
        before = self.connections.get((depth, worker))
        if before is not None:  # the worker has given it up, and may not have been able to say so
            self.drop(before)
        self.connections[depth, worker] = connection

    def attend(self, connection: Connection) -> None:
        """Obeys what has come, if it has not ended."""
        try:
            data = connection.socket.recv(1 << 18)
            if data:
                connection.received += data
                for frame in connection.frames():
                    self.obey(connection, *frame)
                return
        except BlockingIOError:
            connection.is_read = True
            return
        except Exception:  # nonsense, or no memory: this connection's end, and nobody else's
            pass
        connection.is_read = True
        self.drop(connection)

    def obey(self, connection: Connection, what: int, number: int, body: bytes) -> None:
        if what == CANCEL:
            connection.cancel(number)
            return
        if what == CHECK:
            connection.answer(CHECK, number)
            return
        if what == RELEASE:
            connection.release(number)
            return
        if what == GOODBYE:  # the worker leaves in peace; what its tasks have not waited for is done all the same
            connection.futures.clear()
            connection.calls.clear()
            return
        if what == WAIT:
            connection.end_wait(number)
            if body:
                self.begin_wait(connection, number, *WAITER.unpack(body))
            return
        if what == PUT:
            connection.futures[number] = self.stored(connection, body)
            return
        try:
            future = self.submitted(connection, body) if what == SUBMIT else self.called(connection, body)
        except Exception as error:  # whatever it is, it is the task's
            future = failed(error)
        connection.futures[number] = future
        if what == CALL:
            connection.calls.add(number)
        future.add_done_callback(lambda done: self.tell(connection, number, done))

    def submitted(self, connection: Connection, body: bytes) -> Any:
        limit, retries, backoff, priority, parent = OPTIONS.unpack_from(body)
        name, packed, inputs = connection.take(body, OPTIONS.size)
        executor = self.executor_at(connection.depth + 1)
        options = (limit or None, retries, backoff, priority, self.parent(connection.depth, parent))
        number = next(_tasks)
        future = executor._submit_with(options, name, run_packed, (number, packed, *inputs), {})
        future._node = number
        return future

    def called(self, connection: Connection, body: bytes) -> Any:
        key, caller = ACTOR.unpack_from(body)
        name, packed, inputs = connection.take(body, ACTOR.size)
        actor = _handle.known.get(key)
        if actor is None or actor._executor._pool.closed:
            raise _actor_gone(name)
        parent = self.parent(connection.depth, caller)
        future = actor._call_packed(name, packed, inputs, parent, connection.turns, caller)
        future._node = actor._executor._pool
        return future

    def begin_wait(self, connection: Connection, number: int, task: int, pid: int) -> None:
        pool = self.pools[connection.depth]
        node = task or (pool if self.is_actors and connection.depth == 0 else None)
        future = connection.futures.get(number)
        if node is not None and future is not None and not future.done():  # else the answer has crossed this
            connection.waits[number] = node
            _waits.begin(node, _waits.Wait(connection, number, future, pool, pid))

    def parent(self, depth: int, number: int) -> int:
        """The task that submits, for the record."""
        source = self.pools[depth].source
        return 0 if source is None or not number else source << 32 | number

    def stored(self, connection: Connection, packed: bytes) -> Any:
        try:
            return self.executor_at(connection.depth + 1)._put_packed(packed)
        except Exception as error:
            return failed(error)  # and so fails the task that needs it

    def executor_at(self, depth: int) -> Any:
        while len(self.executors) < depth <= DEPTH_MAX:
            try:
                executor = self.make_executor(len(self.executors) + 1)
            except RuntimeError as error:
                raise RuntimeError(
                    f"no workers can be started for the tasks of a task: {error}\n"
                    "  why: the program's main thread has ended, and CPython 3.12 starts no thread from then on\n"
                    "  do:  leave a `with` block of the executor, or shut it down, before the program's end"
                ) from error
            self.pools.append(executor._pool)
            try:
                self.watch_doors(len(self.executors) + 1)
            except OSError:
                self.pools.pop()
                executor.shutdown(wait=False)
                raise
            self.executors.append(executor)
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
        if not future.cancelled():
            error = future.exception()
        elif hasattr(future, "_stuck"):
            error = _stuck_call()
        else:
            error = concurrent.futures.CancelledError()
        try:
            return FAILED, _achar.dumps(error)
        except Exception:
            return FAILED, _achar.dumps(RuntimeError(f"{type(error).__name__}: {error}"))

    def reply(self) -> None:
        with self.lock:
            finished, self.finished = self.finished, []
        for connection, number, future in finished:
            connection.end_wait(number)
            try:
                what, data = self.returned(future)
                connection.answer(what, number, data)
            except Exception as error:  # no memory for the answer: the task hears of that
                data = _achar.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
                connection.answer(FAILED, number, data)
        for connection in list(self.connections.values()):
            if not connection.to_send:
                continue
            key = self.selector.get_key(connection.socket)
            with contextlib.suppress(OSError):  # a connection that is gone is noticed when it is read
                sent = connection.socket.send(connection.to_send)
                del connection.to_send[:sent]
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.to_send else 0)
            if events != key.events:
                try:
                    self.selector.modify(connection.socket, events, connection)
                except OSError:  # the kernel has no memory for it
                    self.drop(connection)

    def drop(self, connection: Connection) -> None:
        del self.connections[connection.depth, connection.worker]
        self.selector.unregister(connection.socket)
        connection.socket.close()
        for number in list(connection.waits):
            connection.end_wait(number)
        for number, future in reversed(list(connection.futures.items())):  # none is done without those before it
            if not future.done():
                connection.cancel(number)

"""achar's locks, conditions and queues, awaited from asyncio: `async with lock.aio`, `await queue.aio.get()`.

Every object's `aio` is a view of it with the interface of asyncio's class of that name. It is the same
object: threads and other processes wait for it at the same time, in one order of arrival.

A task that waits has no thread. Its call runs on a stack of its own, in the loop's thread (a strand);
where it would sleep, the task awaits a future. One thread of the process sleeps for all of them and
writes to the loop's eventfd when one is rung. A task that is cancelled leaves as a thread does for a
signal: what it was given at that moment goes to the next. One that is thrown away without that leaves
as the dead do.

A recursive lock, and so a Condition's own, belongs to the task that took it, not to the thread.
"""

import asyncio
import os
import queue
import weakref

from achar import _achar

_hubs = weakref.WeakKeyDictionary()  # loop to its hub
_numbers = weakref.WeakKeyDictionary()  # task to the number that it takes recursive locks as


class _Hub:
    """What a loop's tasks wait for, and the eventfd that says: look at it."""

    def __init__(self, loop):
        self.pid = os.getpid()
        self.waiting = {}  # by space, by the waiter's number: the future of its task
        self.attachments = {}  # by space
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add_reader(self.fd, self.look)

    def look(self):
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass
        for space, attachment in self.attachments.items():
            for future in _achar.aio_rung(attachment, self.waiting[space]):
                if not future.done():
                    future.set_result(None)

    def __del__(self):
        self.attachments.clear()  # before the descriptor may be another's
        if self.pid == os.getpid():
            os.close(self.fd)


def _hub_of(loop):
    hub = _hubs.get(loop)
    if hub is None or hub.pid != os.getpid():
        hub = _hubs[loop] = _Hub(loop)
    return hub


def _number():
    task = asyncio.current_task()
    number = _numbers.get(task)
    if number is None:
        number = _numbers[task] = _achar.aio_number()
    return number


def _as(number, method, *args):
    """method(*args), where recursive locks are that number's."""
    before = _achar.aio_act_as(number)
    try:
        return method(*args)
    finally:
        _achar.aio_act_as(before)


async def _call(undo, target, name, number=0, *args):
    """target.name(*args), without a thread. undo() is called if it ended just when it was cancelled."""
    loop = asyncio.get_running_loop()
    hub = _hub_of(loop)
    strand = _achar.aio_start(target, name, number, *args)
    if strand.space not in hub.attachments:
        hub.waiting[strand.space] = {}
        hub.attachments[strand.space] = strand.attach(hub.fd)
    waiting = hub.waiting[strand.space]
    cancelled = None
    while (ended := strand.run(cancelled is not None)) is None:
        number = strand.number
        future = waiting[number] = loop.create_future()
        try:
            await future
        except asyncio.CancelledError as error:
            # A condition's lock is taken again first, however often it is cancelled meanwhile.
            cancelled = error
        finally:
            del waiting[number]
    result, completed = ended
    if cancelled is None:
        return result
    if completed and undo:
        undo()
    raise cancelled


class _View:
    __slots__ = ("target",)

    def __init__(self, target):
        self.target = target

    def __repr__(self):
        return f"<aio of {self.target!r}>"


class Event(_View):
    """asyncio.Event"""

    __slots__ = ()

    def is_set(self):
        return self.target.is_set()

    def set(self):
        self.target.set()

    def clear(self):
        self.target.clear()

    async def wait(self):
        return self.target.is_set() or await _call(None, self.target, "wait")


class Lock(_View):
    """asyncio.Lock"""

    __slots__ = ()

    def _number(self):
        return 0

    def _as_task(self, method, *args):
        return method(*args)

    def release(self):
        self._as_task(self.target.release)

    async def acquire(self):
        if self._as_task(self.target.acquire, False):
            return True
        return await _call(self.release, self.target, "acquire", self._number())

    async def __aenter__(self):
        await self.acquire()

    async def __aexit__(self, *exception):
        self._as_task(self.target.__exit__, *exception)

    def locked(self):
        return self.target.locked()


class RLock(Lock):
    """A lock that its task may take again."""

    __slots__ = ()

    def _number(self):
        return _number()

    def _as_task(self, method, *args):
        """A method of the target, called as the current task."""
        return _as(self._number(), method, *args)

    async def __aexit__(self, *exception):
        # Thrown away, it may be in no task now, and the lock may have gone in a wait(). Held, it stays so.
        if exception[0] is not GeneratorExit or (asyncio.current_task() and self._as_task(self.target._is_owned)):
            self._as_task(self.target.__exit__, *exception)


class Condition(RLock):
    """asyncio.Condition"""

    __slots__ = ()

    async def wait(self):
        # Cancelled when it had just been notified, it has the lock, and the next one is notified.
        return await _call(self.notify, self.target, "wait", self._number())

    async def wait_for(self, predicate):
        while not (result := predicate()):
            await self.wait()
        return result

    def notify(self, n=1):
        self._as_task(self.target.notify, n)

    def notify_all(self):
        self._as_task(self.target.notify_all)


class Semaphore(_View):
    """asyncio.Semaphore"""

    __slots__ = ()

    def release(self):
        self.target.release()

    async def acquire(self):
        return self.target.acquire(False) or await _call(self.release, self.target, "acquire")

    async def __aenter__(self):
        await self.acquire()

    async def __aexit__(self, *exception):
        self.release()


class Barrier(_View):
    """asyncio.Barrier"""

    __slots__ = ()

    async def wait(self):
        return await _call(None, self.target, "wait")

    async def __aenter__(self):
        return await self.wait()

    async def __aexit__(self, *exception):
        pass


class Queue(_View):
    """asyncio.Queue; what does not wait (put_nowait, task_done, ...) is the queue's own."""

    __slots__ = ()

    async def put(self, obj):
        if not self.target.full():
            try:
                return self.target.put_nowait(obj)
            except queue.Full:
                pass
        return await _call(None, self.target, "put", 0, obj)

    async def get(self):
        if not self.target.empty():
            try:
                return self.target.get_nowait()
            except queue.Empty:
                pass
        return await _call(None, self.target, "get")

    async def join(self):
        await _call(None, self.target, "join")

    def __getattr__(self, name):
        if name not in ("put_nowait", "get_nowait", "qsize", "empty", "full", "task_done", "maxsize"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.target, name)


_VIEWS = [
    (_achar.Lock, Lock),
    (_achar.RLock, RLock),
    (_achar.Condition, Condition),
    (_achar.Event, Event),
    (_achar.Semaphore, Semaphore),
    (_achar.Barrier, Barrier),
    (_achar.Queue, Queue),
]


def view(target):
    """What target.aio is."""
    for base, made in _VIEWS:
        if isinstance(target, base):
            return made(target)
    raise TypeError(f"not one of achar's objects: {target!r}")

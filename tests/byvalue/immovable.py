"""What cannot sensibly move to another process, and what is said of it."""

import asyncio
import contextvars
import hashlib
import os
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import weakref


def running_generator():
    yield 1


async def coroutine():
    pass


async def async_generator():
    yield 1


def refused():
    """(object, type named, words of the reason, words of the remedy)"""
    generator = running_generator()
    awaitable = coroutine()
    awaitable.close()
    closed = open(__file__)
    closed.close()
    iterated = open(__file__)
    next(iterated)
    return [
        (generator, "generator", "frame of the running interpreter", "list(...)"),
        (async_generator(), "async_generator", "frame of the running interpreter", "list(...)"),
        (awaitable, "coroutine", "frame of the running interpreter", "await it there"),
        (sys._getframe(), "frame", "frame of the running interpreter", "f_lineno"),
        (re.match("a", "a"), "re.Match", "scan of a text", "groups()"),
        (hashlib.md5(), "_hashlib.HASH", "OpenSSL", "digest()"),
        (weakref.finalize(queue.Queue(), print), "weakref.finalize", "object of this process", "inside the task"),
        (threading.Lock(), "_thread.lock", "a fresh lock would exclude nobody", "inside the task"),
        (threading.RLock(), "_thread.RLock", "a fresh lock would exclude nobody", "inside the task"),
        (threading.Condition(), "threading.Condition", "a fresh lock would exclude nobody", "inside the task"),
        (threading.Semaphore(), "threading.Semaphore", "a fresh lock would exclude nobody", "inside the task"),
        (threading.Event(), "threading.Event", "never hear", "inside the task"),
        (threading.Thread(), "threading.Thread", "runs in the process that started it", "inside the task"),
        (threading.local(), "_thread._local", "each thread", "send the value"),
        (queue.Queue(), "queue.Queue", "threads of one process", "send its items"),
        (queue.SimpleQueue(), "_queue.SimpleQueue", "threads of one process", "send its items"),
        (socket.socket(), "socket.socket", "a connection belongs to the process", "connect inside the task"),
        (open(os.devnull, "a"), "_io.TextIOWrapper", "an open file belongs to the process", "send its path"),
        (open(os.devnull, "rb+"), "_io.BufferedRandom", "an open file belongs to the process", "send its path"),
        (open(os.devnull), "_io.TextIOWrapper", "no path leads to", "send what it contains"),
        (closed, "_io.TextIOWrapper", "it is closed", "send its path"),
        (iterated, "_io.TextIOWrapper", "iterated over", "readline()"),
        (tempfile.NamedTemporaryFile(), "tempfile._TemporaryFileWrapper", "an open file", "send its path"),
        (contextvars.copy_context(), "_contextvars.Context", "variables of this process", "send the values"),
        (subprocess.Popen(["true"]), "subprocess.Popen", "one parent", "inside the task"),
        (asyncio.new_event_loop(), "asyncio.unix_events._UnixSelectorEventLoop", "one thread", "asyncio.run()"),
    ]

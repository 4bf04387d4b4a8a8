"""achar inside Parsl: functions, arguments, results and exceptions of its HighThroughputExecutor.

    import achar.engines.parsl

    achar.engines.parsl.register()  # before the first task

That is all: a worker finds this module by the name that stands in front of the bytes, and sends its results by
it from then on. achar has to be installed where the workers run.

**Nothing that arrives can stop Parsl.** Its client decodes results in one thread, which ends when decoding
raises: that task and all later ones hang. So what a worker sends is marked as a result, and one that cannot be
decoded in the client becomes this task's exception.
"""

from __future__ import annotations

from typing import Any

import parsl.serialize.facade as _facade
from parsl.app.errors import RemoteExceptionWrapper
from parsl.serialize.base import SerializerBase

import achar
from achar import errors as _errors
from achar._worker import describe as _describe

__all__ = ["Serializer", "register"]

# The first byte of what is sent. An exception is two pickles, a report in texts and the wrapper itself (nothing
# if it cannot be pickled), with the report's size as 8 bytes, least significant first, before them.
_TASK, _RESULT, _EXCEPTION = b"T", b"R", b"E"

_role: str | None = None  # "client" once register() was called; "worker" once Parsl found us by name


class Serializer(SerializerBase):
    """What Parsl asks. Its ``identifier`` is this module's and class's name, by which workers find it."""

    def __init__(self) -> None:
        global _role
        if _role is None:  # Parsl, in a worker, has found the first bytes of ours
            _role = "worker"
            _install(self)

    def serialize(self, data: Any) -> bytes:
        if isinstance(data, RemoteExceptionWrapper):
            return _dump_exception(data)
        return (_RESULT if _role == "worker" else _TASK) + achar.dumps(data)

    def deserialize(self, payload: bytes) -> Any:
        kind, body = payload[:1], memoryview(payload)[1:]
        if kind == _EXCEPTION:
            return _load_exception(body)
        try:
            return achar.loads(body)
        except Exception as error:
            if kind != _RESULT:
                raise  # in a worker: Parsl sends it as the task's exception
            return _wrap(_errors._unreadable("result", None, error))


def register() -> None:
    """Let Parsl serialize with achar, in this process and in the workers that get its tasks.

    What other serializers wrote can still be read. May be called more than once.
    """
    global _role
    _role = _role or "client"
    _install(Serializer())


def _install(serializer: Serializer) -> None:
    """Only ours writes: Parsl would try another after ours, and hide what ours says of an object."""
    for methods in (_facade.methods_for_code, _facade.methods_for_data):
        _facade.additional_methods_for_deserialization.update(methods)
        methods.clear()
        methods[serializer.identifier] = serializer


def _wrap(error: BaseException) -> RemoteExceptionWrapper:
    return RemoteExceptionWrapper(type(error), error, error.__traceback__)


def _dump_exception(wrapper: RemoteExceptionWrapper) -> bytes:
    type_name, text, lines = _describe(wrapper.get_exception())
    reason = None
    try:
        whole = achar.dumps(wrapper)
    except Exception as error:
        whole, reason = b"", _errors._one_line(error)
    report = achar.dumps((type_name, text, lines, reason))
    return _EXCEPTION + len(report).to_bytes(8, "little") + report + whole


def _load_exception(body: memoryview) -> RemoteExceptionWrapper:
    end = 8 + int.from_bytes(body[:8], "little")
    trouble = None
    if len(body) > end:
        try:
            wrapper = achar.loads(body[end:])
            wrapper.get_exception()
            return wrapper
        except Exception as error:
            trouble = error
    return _wrap(_errors._raised(None, None, trouble, achar.loads(body[8:end])))

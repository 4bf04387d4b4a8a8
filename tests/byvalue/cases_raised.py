"""Exceptions that were raised: what comes along with them. See cases.py.

Each goes through dumps and loads (test_cases.py), and out of a task of an executor (test_raised.py).
"""

import configparser
import functools
import queue
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import traceback
import urllib.error
import zlib

from cases import case, main

HAS_GROUPS = sys.version_info >= (3, 11)


class Refused(Exception):
    """Cannot be made from its args; has slots and a dict."""

    __slots__ = ("where",)

    def __init__(self, where, *, code):
        super().__init__(f"refused at {where}")
        self.where = where
        self.code = code


class Growing(Exception):
    def __init__(self, text):
        super().__init__(text + "!")


def raised(function, *args, **kwargs):
    """The exception that the function raises."""
    try:
        function(*args, **kwargs)
    except BaseException as e:
        return e
    raise AssertionError("nothing was raised")


def refuse(where="the door", code=7):
    raise Refused(where, code=code)


def refuse_from(cause):
    try:
        raise cause
    except Exception as e:
        raise Refused("here", code=1) from e


def refuse_while(context):
    try:
        raise context
    except Exception:
        raise Refused("there", code=2)  # noqa: B904  its context is what this is about


def refuse_from_none():
    try:
        raise KeyError("hidden")
    except KeyError:
        raise Refused("nowhere", code=3) from None


def functions(e):
    return [entry.name for entry in traceback.extract_tb(e.__traceback__)]


def links(e):
    return type(e.__cause__).__name__, type(e.__context__).__name__, e.__suppress_context__


@case
def raised_attributes():
    e = raised(refuse)
    e.more = {"deep": [1, 2]}
    return (
        e,
        lambda e: (
            type(e).__name__ == "Refused"
            and (e.where, e.code, e.more, e.args, str(e))
            == ("the door", 7, {"deep": [1, 2]}, ("refused at the door",), "refused at the door")
        ),
    )


@case
def raised_without_calling_init():
    return Growing("x"), lambda e: e.args == ("x!",)


@case
def raised_attributes_that_share():
    shared = []
    e = raised(refuse, shared)
    e.again = shared
    return e, lambda e: e.where is e.again and e.where == []


@case
def raised_attribute_is_the_exception():
    e = raised(refuse)
    e.itself = [e]
    return e, lambda e: e.itself[0] is e


@case
def raised_with_cause():
    return (
        raised(refuse_from, ValueError("why")),
        lambda e: (
            links(e) == ("ValueError", "ValueError", True)
            and e.__cause__ is e.__context__
            and str(e.__cause__) == "why"
        ),
    )


@case
def raised_with_context():
    return raised(
        refuse_while, ValueError("before")
    ), lambda e: links(e) == ("NoneType", "ValueError", False) and str(e.__context__) == "before"


@case
def raised_from_none():
    return raised(
        refuse_from_none
    ), lambda e: links(e) == ("NoneType", "KeyError", True) and e.__context__.args == ("hidden",)


@case
def raised_with_cause_other_than_context():
    def both():
        try:
            raise KeyError("context")
        except KeyError:
            raise Refused("x", code=0) from OSError(2, "cause", "name")

    return (
        raised(both),
        lambda e: (
            links(e) == ("FileNotFoundError", "KeyError", True)
            and e.__cause__.filename == "name"
            and e.__cause__.__context__ is None
        ),
    )


@case
def raised_with_a_cause_whose_context_shows():
    inner = raised(refuse_while, ValueError("first"))
    return raised(
        refuse_from, inner
    ), lambda e: links(e.__cause__) == ("NoneType", "ValueError", False) and e.__cause__.code == 2


@case
def raised_chain_of_causes():
    e = ValueError(0)
    for _ in range(50):
        e = raised(refuse_from, e)

    def check(e):
        for _ in range(50):
            if (e.code, e.__suppress_context__) != (1, True):
                return False
            e = e.__cause__
        return type(e) is ValueError and e.__cause__ is None

    return e, check


@case
def raised_chain_of_contexts():
    e = ValueError(0)
    for _ in range(50):
        e = raised(refuse_while, e)

    def check(e):
        for _ in range(50):
            if (e.code, e.__suppress_context__) != (2, False):
                return False
            e = e.__context__
        return type(e) is ValueError and e.__context__ is None

    return e, check


@case
def raised_notes():
    class Noted(Exception):
        pass

    def noted():
        e = Noted("text")
        e.__notes__ = ["one", "two\nlines"]
        raise e

    def check(e):
        shown = "".join(traceback.format_exception_only(type(e), e))
        return e.__notes__ == ["one", "two\nlines"] and (not HAS_GROUPS or "one\ntwo\nlines" in shown)

    return raised(noted), check


@case
def raised_notes_along_the_chain():
    cause = ValueError("why")
    cause.__notes__ = ["of the cause"]
    e = raised(refuse_from, cause)
    e.__notes__ = ["of the effect"]
    return e, lambda e: e.__notes__ == ["of the effect"] and e.__cause__.__notes__ == ["of the cause"]


@case
def raised_again_there():
    def check(e):
        again = raised(refuse_from, e)
        return again.__cause__ is e and e.code == 7

    return raised(refuse), check


@case
def raised_is_caught_by_its_bases():
    class Lost(ConnectionError, LookupError):
        def __init__(self, host):
            super().__init__(111, "lost", host)
            self.host = host

    def check(e):
        for base in (ConnectionError, OSError, LookupError):
            try:
                raise e
            except base as caught:
                if caught is not e:
                    return False
        return (e.errno, e.strerror, e.filename, e.host) == (111, "lost", "db", "db")

    return Lost("db"), check


@case
def raised_by_the_standard_library():
    """Classes by name; most cannot be made from their args, and some are made by C code."""
    made = [
        (subprocess.CalledProcessError(3, ["false"], b"out", b"err"), "returncode cmd output stderr"),
        (subprocess.TimeoutExpired("sleep", 5), "cmd timeout output"),
        (urllib.error.URLError("no route"), "reason"),
        (configparser.NoOptionError("o", "s"), "option section message"),
        (raised(__import__("json").loads, "[1,"), "msg doc pos lineno colno"),
        (raised(queue.Queue().get_nowait), "args"),
        (raised(struct.unpack, "i", b""), "args"),
        (raised(zlib.decompress, b"no"), "args"),
        (raised(sqlite3.connect(":memory:").execute, "nonsense"), "args"),
        (raised(b"\xff".decode, "utf-8"), "encoding object start end reason"),
        (socket.gaierror(-2, "no name"), "errno strerror"),
        (ssl.SSLError(1, "handshake"), "errno strerror"),
        (ssl.SSLCertVerificationError(1, "expired"), "errno strerror"),
        (raised(compile, "1 +", "f.py", "eval"), "msg filename lineno offset text"),
    ]

    def state(e, names):
        return {name: getattr(e, name) for name in names.split()}, str(e)

    for e, _ in made:
        e.__traceback__ = None
        e.__cause__, e.__context__ = ValueError("cause"), KeyError("context")
        e.__notes__ = ["a note"]
    expected = [(type(e), state(e, names)) for e, names in made]
    carrier = ValueError([e for e, _ in made])

    def check(carrier):
        for e, (_, names), wanted in zip(carrier.args[0], made, expected, strict=True):
            assert (type(e), state(e, names)) == wanted, (type(e), state(e, names), wanted)
            assert (str(e.__cause__), type(e.__context__)) == ("cause", KeyError), type(e)
            assert e.__notes__ == ["a note"], type(e)
        return True

    return carrier, check


@case
def raised_with_a_reduce_of_its_own():
    class Own(Exception):
        def __init__(self, a, *, b):
            super().__init__(a)
            self.b = b

        def __reduce__(self):
            return functools.partial(Own, b=self.b), self.args

    class Stateful(Exception):
        def __reduce__(self):
            return Stateful, (), [1, 2]

        def __setstate__(self, state):
            self.got = state

    class Else(Exception):
        def __reduce__(self):
            return dict, ([("a", 1)],)

    made = [Own(1, b=2), Stateful(), Else()]
    for e in made:
        e.__cause__, e.__notes__ = made[0], ["a note"]

    def check(carrier):
        own, stateful, other = carrier.args[0]
        return (
            (own.args, own.b, own.__notes__, own.__cause__ is own) == ((1,), 2, ["a note"], True)
            and (stateful.got, stateful.__cause__ is own) == ([1, 2], True)
            and other == {"a": 1}
        )

    return ValueError(made), check


def make_group():
    members = [
        raised(refuse_from, ValueError("a")),
        raised(refuse_while, ValueError("b")),
        ExceptionGroup("inner", [raised(refuse_from_none), OSError(2, "no", "f")]),  # noqa: F821
    ]
    members[0].add_note("of a member")
    group = ExceptionGroup("outer", members)  # noqa: F821
    group.add_note("of the group")
    group.more = members[0]
    raise group


@case
def raised_group():
    if not HAS_GROUPS:
        return ValueError(), lambda e: type(e) is ValueError

    def check(g):
        first, second, inner = g.exceptions
        third, file_error = inner.exceptions
        return (
            (type(g).__name__, g.message, inner.message) == ("ExceptionGroup", "outer", "inner")
            and (g.__notes__, first.__notes__) == (["of the group"], ["of a member"])
            and g.more is first
            and [links(e) for e in (first, second, third)]
            == [("ValueError", "ValueError", True), ("NoneType", "ValueError", False), ("NoneType", "KeyError", True)]
            and [first.code, second.code, third.code] == [1, 2, 3]
            and file_error.filename == "f"
            and [len(part.exceptions) for part in g.split(OSError)] == [1, 3]
        )

    return raised(make_group), check


@case
def raised_group_with_cause():
    if not HAS_GROUPS:
        return ValueError(), lambda e: type(e) is ValueError

    def grouped():
        try:
            raise KeyError("context")
        except KeyError as e:
            raise ExceptionGroup("g", [e, TypeError("t")]) from e  # noqa: F821

    return (
        raised(grouped),
        lambda g: (
            links(g) == ("KeyError", "KeyError", True) and g.__cause__ is g.exceptions[0] and len(g.exceptions) == 2
        ),
    )


@case
def raised_base_group():
    if not HAS_GROUPS:
        return ValueError(), lambda e: type(e) is ValueError

    class Stop(BaseException):
        def __init__(self, *, reason):
            self.reason = reason

    g = BaseExceptionGroup("stop", [Stop(reason="r"), KeyboardInterrupt()])  # noqa: F821
    return (
        g,
        lambda g: (
            type(g).__name__ == "BaseExceptionGroup"
            and g.exceptions[0].reason == "r"
            and type(g.exceptions[1]) is KeyboardInterrupt
        ),
    )


@case
def raised_group_subclass():
    if not HAS_GROUPS:
        return ValueError(), lambda e: type(e) is ValueError

    class Failures(ExceptionGroup):  # noqa: F821
        def __new__(cls, excs, *, job):
            self = super().__new__(cls, f"job {job}", excs)
            self.job = job
            return self

        def __init__(self, excs, *, job):
            super().__init__(f"job {job}", excs)

        def derive(self, excs):
            return Failures(excs, job=self.job)

    def check(g):
        part = g.subgroup(ValueError)
        return (g.message, g.job, part.job, type(part)) == ("job 4", 4, 4, type(g)) and len(part.exceptions) == 1

    return Failures([ValueError(1), refused_here()], job=4), check


def refused_here():
    return raised(refuse)


main()

"""One class is one class, in both directions and however often it travels."""

import enum
import gc
import os
import subprocess
import sys
import typing
import weakref

import achar
import pytest
from byvalue_support import PACKAGE_ROOT, dumps, loads
from peer import Peer


@pytest.fixture
def peer():
    with Peer() as peer:
        yield peer


def local_error():
    class LocalError(Exception):
        def __init__(self, *, code):
            self.code = code

    return LocalError


def test_here_it_is_the_same_class():
    Error = local_error()
    assert loads(dumps(Error)) is Error
    assert type(loads(dumps(Error(code=3)))) is Error


def test_what_a_peer_raises_is_caught_by_class(peer):
    Error = local_error()

    def task(n):
        raise Error(code=n)

    with pytest.raises(Error) as caught:
        peer(task, 7)
    assert caught.value.code == 7


def test_sent_twice_it_is_one_class_there(peer):
    class C:
        pass

    def remember(cls):
        import builtins

        builtins.remembered = cls

    def compare(cls, instance):
        import builtins

        return builtins.remembered is cls and isinstance(instance, cls)

    peer(remember, C)
    assert peer(compare, C, C())


def test_an_instance_comes_home(peer):
    class C:
        def __init__(self, n):
            self.n = n

    back = peer(lambda c: c, C(5))
    assert type(back) is C and back.n == 5
    assert peer(lambda c: type(c), C(5)) is C


def test_a_class_of_the_peer_comes_back_to_it(peer):
    def make():
        import builtins

        class Theirs:
            def hello(self):
                return "hello"

        builtins.theirs = Theirs
        return Theirs()

    def same(obj, cls):
        import builtins

        return type(obj) is builtins.theirs and cls is builtins.theirs

    theirs = peer(make)
    assert theirs.hello() == "hello"
    assert type(peer(make)) is not type(theirs)
    theirs = peer(make)
    assert peer(same, theirs, type(theirs))


def test_at_home_the_class_keeps_its_state(peer):
    class C:
        n = 1

        def method(self):
            return self.n

    method, instance = C.method, C()

    def change(c):
        type(c).n = 99
        type(c).extra = "x"
        type(c).method = lambda self: -1
        return c

    back = peer(change, instance)
    assert type(back) is C and C.n == 1 and C.method is method and not hasattr(C, "extra")


def test_abroad_the_class_is_as_it_was_sent(peer):
    class C:
        n = 1
        kept = "k"

    def change(cls):
        cls.n += 1
        cls.extra = "x"
        del cls.kept
        return cls.n

    def look(cls):
        return cls.n, cls.kept, hasattr(cls, "extra")

    assert peer(change, C) == 2
    assert peer(look, C) == (1, "k", False)
    C.n, C.added = 10, 1
    assert peer(change, C) == 11
    assert peer(lambda cls: cls.added, C) == 1


def test_inheritance_between_classes_sent_apart(peer):
    class A:
        pass

    class B(A):
        pass

    assert peer(lambda a, b: issubclass(b, type(a)), A(), B)
    assert peer(lambda b: b.__mro__[1], B) is A


def test_enum_members_come_home(peer):
    class Color(enum.Enum):
        RED = 1
        BLUE = {"unhashable": []}

    class Bits(enum.Flag):
        A = 1
        B = 2

    both = Bits.A | Bits.B
    assert loads(dumps(Color.RED)) is Color.RED
    assert peer(lambda c: c, Color.RED) is Color.RED
    assert peer(lambda c: c, [Color.BLUE, both]) == [Color.BLUE, both]
    assert peer(lambda a, b: a is type(a).RED and b is type(a), Color.RED, Color)
    assert peer(lambda c: c.RED, Color) is Color.RED
    assert peer(lambda a: a | type(a).B, Bits.A) is both


def test_type_variables_keep_their_identity(peer):
    T = typing.TypeVar("T")

    class Box(typing.Generic[T]):
        pass

    assert loads(dumps(T)) is T
    assert peer(lambda t: t, T) is T
    assert peer(lambda t, box: box.__parameters__ == (t,), T, Box)


def test_sent_classes_can_be_collected():
    def count():
        gc.collect()
        return len(gc.get_objects())

    def once():
        class Meta(type):
            pass

        class C(metaclass=Meta):
            def f(self):
                return C, __class__

        loads(dumps([C, C(), C.f, enum.Enum("E", "A B")]))
        return weakref.ref(C)

    once()
    before = count()
    references = [once() for _ in range(30)]
    gc.collect()
    assert [r() for r in references] == [None] * 30
    del references
    assert count() - before < 30


def test_rebuilt_classes_can_be_collected():
    """Streams from another process, whose classes are not at home here."""
    source = (
        "import sys, typing; from byvalue_support import dumps\n"
        "T = typing.TypeVar('T')\n"
        "class C:\n"
        "    def f(self): return C, len\n"
        "class E(Exception): pass\n"
        "sys.stdout.buffer.write(dumps([C, C(), C.f, E, T, lambda: C]))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGE_ROOT}:{os.path.dirname(__file__)}"}
    data = subprocess.run([sys.executable, "-c", source], env=environment, check=True, capture_output=True).stdout

    def once():
        C, instance, f, E, T, g = loads(data)
        assert type(instance) is C and g() is C and loads(data)[0] is C
        return weakref.ref(C), weakref.ref(E), weakref.ref(T)

    once()
    gc.collect()
    before = len(gc.get_objects())
    references = [r for _ in range(30) for r in once()]
    gc.collect()
    assert [r() for r in references] == [None] * 90
    del references
    gc.collect()
    assert len(gc.get_objects()) - before < 30


def test_ids_of_a_forked_child_are_its_own():
    pid_read, pid_write = os.pipe()
    local_class = local_error()
    dumps(local_class)  # the id's prefix is drawn
    pid = os.fork()
    if pid == 0:
        try:
            os.write(pid_write, dumps(local_error()))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(pid_write)
    mine = local_error()
    dumps(mine)
    with os.fdopen(pid_read, "rb") as file:
        theirs = loads(file.read())
    assert theirs is not mine and theirs.__name__ == "LocalError"


def test_remote_traceback():
    import traceback

    e = ValueError("x")
    achar._achar.attach_traceback(e, "Traceback: somewhere\n")
    assert type(e.__cause__) is achar.RemoteTraceback
    assert "Traceback: somewhere" in "".join(traceback.format_exception(e))

    cause = KeyError("why")
    e = ValueError("x")
    e.__cause__ = cause
    achar._achar.attach_traceback(e, "text")
    assert e.__cause__ is cause and type(cause.__cause__) is achar.RemoteTraceback

    e, ring = ValueError(), KeyError()
    e.__cause__, ring.__cause__ = ring, e
    achar._achar.attach_traceback(e, "text")
    assert e.__cause__ is ring and type(ring.__cause__) is achar.RemoteTraceback
    back = loads(dumps(e))
    assert str(back.__cause__.__cause__) == '\n"""\ntext"""'

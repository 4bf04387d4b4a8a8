"""What cannot be sent says what it is, why, and what to do; malformed streams are errors."""

import pickle
import queue
import re
import sys
import threading
import types

import pytest
from byvalue_support import dumps, loads
from immovable import refused


@pytest.fixture(scope="module", autouse=True)
def quiet():
    yield
    import gc
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.mark.filterwarnings("ignore")
def test_refusals():
    found = refused()
    for obj, name, why, remedy in found:
        with pytest.raises(pickle.PicklingError) as caught:
            dumps([obj])
        first, second, third = str(caught.value).split("\n")[:3]
        actual = f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")
        assert first.endswith(f"{actual} cannot be sent")
        assert name in (actual, "_contextvars.Context") or name.split(".")[-1] == actual.split(".")[-1]
        assert second.startswith("  why: ") and why in second, second
        assert third.startswith("  do:  ") and remedy in third, third
    for obj, *_ in found:
        if hasattr(obj, "close") and not isinstance(obj, types.AsyncGeneratorType):
            obj.close()


def test_captured_by_a_function():
    lock = threading.Lock()
    with pytest.raises(pickle.PicklingError, match="a fresh lock would exclude nobody"):
        dumps(lambda: lock)


def path_of(obj):
    with pytest.raises(pickle.PicklingError) as caught:
        dumps(obj)
    return str(caught.value).partition(": ")[0]


class Client:
    def __init__(self):
        self.lock = threading.Lock()


def test_path_to_the_culprit():
    client = Client()
    free = eval("lambda: (client, other)", {"client": client, "other": 1, "__name__": "__main__"})
    assert path_of(free) == "obj.__globals__['client'].lock"
    first, lock = [1], threading.Lock()
    assert path_of(lambda: (first, lock)) == "obj.__closure__[1].cell_contents"
    assert path_of(lambda: (first, [1, (2, client)])) == "obj.__closure__[0].cell_contents.lock"
    assert path_of(lambda a=(1, client): a) == "obj.__defaults__[0][1].lock"

    class C:
        table = {"k": [client]}

        def method(self):
            return lock

    assert path_of(C) == "obj.table['k'][0].lock"
    del C.table
    assert path_of([C]) == "obj[0].method.__closure__[0].cell_contents"
    e = ValueError("x", client)
    assert path_of(e) == "obj.args[1].lock"
    cause = KeyError()
    cause.__cause__ = e
    cause.note = 1
    assert path_of(cause) == "obj.__cause__.args[1].lock"


def test_subclass_that_knows_better_is_believed():
    class Portable(queue.Queue):
        def __reduce__(self):
            return Portable, (self.maxsize,)

    class Plain(threading.Thread):
        pass

    assert loads(dumps(Portable(3))).maxsize == 3
    with pytest.raises(pickle.PicklingError, match="Plain cannot be sent"):
        dumps(Plain())


def test_copyreg_is_believed():
    import copyreg

    class Holder(threading.Event().__class__):
        pass

    copyreg.pickle(Holder, lambda e: (str, ("an event",)))
    try:
        assert loads(dumps(Holder())) == "an event"
    finally:
        del copyreg.dispatch_table[Holder]


def test_class_made_by_c_that_has_no_name():
    with pytest.raises(pickle.PicklingError, match="made by C code") as caught:
        dumps(type(re.compile("x").scanner("x")))
    assert "  do:  import it inside the task" in str(caught.value)


# ---- malformed streams


def rebuild(function, *args):
    import achar._v1

    return getattr(achar._v1, function)(*args)


def blob_of(function):
    import pickletools

    return next(a for op, a, _ in pickletools.genops(dumps(function)) if isinstance(a, bytes))


def test_another_minor_version():
    blob = bytearray(blob_of(lambda: 1))
    assert tuple(blob[:2]) == sys.version_info[:2]
    blob[1] += 1
    here, there = f"3.{sys.version_info[1]}", f"3.{sys.version_info[1] + 1}"
    with pytest.raises(pickle.UnpicklingError) as caught:
        rebuild("function", bytes(blob), {}, None, "work.task")
    assert f"the function 'work.task' was pickled by Python {there}" in str(caught.value)
    assert f"cannot be loaded by Python {here}" in str(caught.value)
    with pytest.raises(pickle.UnpicklingError, match=f"Python {there} and cannot be loaded by Python {here}"):
        rebuild("code", bytes(blob))


def test_another_minor_version_in_a_stream():
    f = lambda: 1  # noqa: E731
    data = dumps(f)
    blob = blob_of(f)
    assert data.count(blob) == 1
    forged = data.replace(blob, bytes([3, 9]) + blob[2:])
    with pytest.raises(pickle.UnpicklingError, match=r"Python 3\.9 and cannot be loaded"):
        loads(forged)


def test_another_build():
    blob = bytearray(blob_of(lambda: 1))
    blob[2] ^= 0xFF
    with pytest.raises(pickle.UnpicklingError, match="another build"):
        rebuild("code", bytes(blob))


@pytest.mark.parametrize(
    "call",
    [
        ("code",),
        ("code", 3),
        ("code", b""),
        ("code", b"123456"),
        ("function",),
        ("function", b"", {}),
        ("function", 3, {}),
        ("function", b"123456789", []),
        ("function_state", 3, ()),
        ("function_state", len, ()),
        ("cell", 1, 2),
        ("cell_state", 3, (1,)),
        ("method", 3, 4),
        ("module", 3),
        ("new_module", 3),
        ("module_state", 3, {}),
        ("class_", b"", int, "n", (), {}),
        ("class_", b"", type, "n", (3,), {}),
        ("class_",),
        ("class_state", int, ({},)),
        ("class_state", 3, ({},)),
        ("class_state", type("Strange", (), {}), ({},)),
        ("enum_member", 3, "a", ()),
        ("enum_member", type, "a", ()),
        ("enum_member_state", 3, ()),
        ("exception", int),
        ("exception", 3),
        ("exception_by", (), int),
        ("exception_by", 3, int, ()),
        ("exception_by", (), int, 3),
        ("exception_state", 3, {}),
        ("exception_state", ValueError(), {"__cause__": 3}),
        ("exception_state", ValueError(), {"args": 3}),
        ("property_", int, 1, 2, 3, 4),
        ("memory", b"", 3, ()),
        ("dict_view", "other", {}),
        ("typevar", b"", 3, "m", (), {}),
        ("lru_cache", 3),
        ("attribute", 3, "x"),
        ("weak", 3, None),
        ("weak", int, None),
        ("weak_container", dict),
        ("weak_set_state", set(), ([], None)),
        ("traceback", ()),
        ("traceback", ("f", "n", 1)),
        ("traceback", (3, "n", 1, None)),
        ("file", 3, "p", 0, None),
        ("file", 2, "p", 0, None),
        ("context_variable", b"i"),
        ("descriptor", 3, "x"),
    ],
    ids=repr,
)
def test_malformed_arguments(call):
    became_other = "is not (a metaclass|the base of a class|an exception class)\n  why: "
    with pytest.raises(pickle.UnpicklingError, match=f"achar._v1|{became_other}"):
        rebuild(*call)


def test_cells_must_fit_the_code():
    def make(n):
        return lambda: n

    f = make([1])
    blob = blob_of(f)
    for closure in (None, (), (types.CellType(1), types.CellType(2)), (3,), [types.CellType(1)]):
        with pytest.raises(pickle.UnpicklingError, match="cells do not fit"):
            rebuild("function", blob, {}, closure)
    with pytest.raises(pickle.UnpicklingError, match="no such cell"):
        rebuild("function_state", f, (None, (7, 1)))
    with pytest.raises(pickle.UnpicklingError):
        rebuild("function_state", f, (None, (7,)))
    with pytest.raises(pickle.UnpicklingError):
        rebuild("function_state", f, (None, None, 3))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
def test_an_alias_that_names_itself():
    space = {"__name__": "made"}
    exec("type Tree = int | list[Tree]\ntype A = list[B]\ntype B = dict[str, A]", space)
    for obj, path in (({"k": space["Tree"]}, "obj['k']"), ([space["A"]], "obj[0]")):
        with pytest.raises(pickle.PicklingError) as caught:
            dumps(obj)
        assert str(caught.value).startswith(f"{path}: the alias ") and "names the alias itself" in str(caught.value)

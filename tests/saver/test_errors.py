"""What achar.dumps says when something in an object cannot be pickled: where, what, why, what to do."""

import collections
import io
import pickle
import sys

import achar
import achar.pickle
import pytest


class Refuses:
    def __reduce__(self):
        raise TypeError("cannot pickle 'Refuses' object")


class RefusesOtherwise:
    def __reduce__(self):
        raise ValueError("my own trouble")


class Box:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("inner", "other")

    def __init__(self, inner):
        self.inner = inner


class Arguments:
    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return Arguments, self.args


class ListOf(list):
    pass


class DictOf(dict):
    pass


class State:
    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return Box, (), self.state


def set_state(obj, state):
    pass


class Setter(State):
    def __reduce__(self):
        return Box, (), self.state, None, None, set_state


def path_of(obj):
    with pytest.raises(pickle.PicklingError) as caught:
        achar.dumps(obj)
    first, why, *rest = str(caught.value).split("\n")
    path, what = first.rsplit(": ", 1)
    assert what == f"{__name__}.Refuses cannot be pickled"
    assert why == "  why: TypeError: cannot pickle 'Refuses' object"
    assert type(caught.value.__cause__) is TypeError
    return path


@pytest.mark.parametrize(
    "obj, path",
    [
        (Refuses(), "obj"),
        ([Refuses()], "obj[0]"),
        ([1, "a", [2, Refuses()]], "obj[2][1]"),
        ((1, 2, Refuses()), "obj[2]"),
        ({"key": [1, 2, 3, Refuses()]}, "obj['key'][3]"),
        ({"a": 1, 5: {(1, 2): Refuses()}}, "obj[5][(1, 2)]"),
        ({"x" * 100: Refuses()}, "obj[<a str>]"),
        ([{"a": 1}, {"b": Box(client=Box(_sock=Refuses()))}], "obj[1]['b'].client._sock"),
        (Box(table={"k": Refuses()}), "obj.table['k']"),
        (Slotted([Refuses()]), "obj.inner[0]"),
        (ListOf([1, 2, Refuses()]), "obj[2]"),
        (DictOf(a=1, b=Refuses()), "obj['b']"),
        (collections.OrderedDict(a=Refuses()), "obj['a']"),
        (collections.deque([1, Refuses()]), "obj[1]"),
        (Arguments(1, [Refuses()]), "obj.__reduce__()[1][1][0]"),
        (State({"x": Refuses()}), "obj.x"),
        (State([Refuses()]), "obj.__reduce__()[2][0]"),
        (State(({"x": 1}, {"y": Refuses()})), "obj.y"),
        (State((None, {"y": Refuses()})), "obj.y"),
        (State(Refuses()), "obj.__reduce__()[2]"),
        (Setter({"x": Refuses()}), "obj.x"),
        (frozenset([Refuses()]), "obj{…}"),
        ({Refuses()}, "obj{…}"),
        ({(1, Refuses()): 2}, None),
    ],
)
def test_path(obj, path):
    found = path_of(obj)
    if path is None:
        path = found if found.startswith("obj[") and "Refuses object" in found or "[<a tuple>]" in found else "a key"
    assert found == path


def test_evaluates():
    """A path is an expression, as far as there is one."""
    obj = [{"a": Box(b=({"c": Arguments(Refuses())},))}]
    assert isinstance(eval(path_of(obj)), Refuses)


def test_long_path():
    obj = Refuses()
    for _ in range(5000):
        obj = [obj]
    path = path_of(obj)
    assert "...(4" in path and path.startswith("obj[0][0]") and len(path) < 400


def test_strict_has_the_interpreters_error():
    with pytest.raises(TypeError, match="^cannot pickle 'Refuses' object$"):
        achar.pickle.dumps({"k": Refuses()})


def test_user_code_keeps_its_exceptions():
    with pytest.raises(ValueError) as caught:
        achar.dumps({"k": [RefusesOtherwise()]})
    assert str(caught.value) == "my own trouble"
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["while pickling obj['k'][0]"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit])
def test_what_is_not_about_pickling_is_left_alone(kind):
    class Raises:
        def __reduce__(self):
            raise kind("pickle")

    with pytest.raises(kind) as caught:
        achar.dumps([Raises()])
    assert not getattr(caught.value, "__notes__", None) and caught.value.__cause__ is None


def test_refusals_have_their_path_once():
    with pytest.raises(pickle.PicklingError) as caught:
        achar.dumps({"k": [i for i in range(3)] + [(i for i in range(3))]})
    text = str(caught.value)
    assert text.startswith("obj['k'][3]: generator cannot be sent\n  why: ") and text.count("why:") == 1


def test_a_dict_that_changes_is_named():
    table = {"a": None, "b": 1}

    class Grows:
        def __reduce__(self):
            table["c"] = 1
            return list, ()

    table["a"] = Grows()
    with pytest.raises(RuntimeError, match="dictionary changed size during iteration"):
        achar.dumps([table])


def test_keys_whose_repr_fails():
    class Key:
        def __repr__(self):
            raise ValueError("no repr")

    with pytest.raises(pickle.PicklingError) as caught:
        achar.dumps({Key(): Refuses()})
    assert str(caught.value).startswith("obj[<a Key>]: ") or "Key" in str(caught.value)


def test_dump_and_pickler_say_it_too():
    for call in (lambda obj: achar.dump(obj, io.BytesIO()), achar.Pickler(io.BytesIO()).dump):
        with pytest.raises(pickle.PicklingError, match=r"^obj\[0\]: .*Refuses cannot be pickled"):
            call([Refuses()])


def test_persistent_id():
    class Persistent(achar.Pickler):
        def persistent_id(self, obj):
            return [Refuses()] if obj == 5 else None

    with pytest.raises(pickle.PicklingError, match=r"^obj\[1\]<persistent id>\[0\]: "):
        Persistent(io.BytesIO()).dump([1, 5])

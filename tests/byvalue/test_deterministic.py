"""achar.dumps(deterministic=True): the bytes depend on nothing but the object."""

import abc
import contextvars
import gc
import io
import json
import pathlib
import pickle
import random
import subprocess
import sys
import textwrap
import types
import typing
import weakref

import achar
import achar.pickle
import pytest
from byvalue_support import run_python

HERE = pathlib.Path(__file__).parent
OPTIONS = [(), ("portable",)]
# Their objects are files that the case itself makes, under another name each time: the path is part of them.
ITS_OWN_PATH = {"file_text", "file_binary", "file_raw"}


def stable(obj, *args, **options):
    return achar.dumps(obj, *args, deterministic=True, **options)


def fresh(text):
    """An equal str that is another object."""
    return "".join(list(text))


# ---- every kind of object, in ten processes ----


@pytest.fixture(scope="module", params=OPTIONS, ids=["", "portable"])
def runs(request, tmp_path_factory):
    """Options, folder of the last one's pickles, and what ten processes with different hash seeds wrote."""
    found = []
    for seed in range(10):
        folder = tmp_path_factory.mktemp(f"seed{seed}")
        options = [*request.param, *(["shallow"] if 0 < seed < 9 else [])]
        done = run_python(HERE / "dump_all.py", folder, "deterministic", *options, PYTHONHASHSEED=str(seed))
        found.append(json.loads(done.stdout))
    return request.param, folder, found


def test_ten_processes(runs):
    _, _, found = runs
    assert len(found[0]) > 110
    for other in found[1:]:
        assert {name for name in other if other[name] != found[0].get(name)} <= ITS_OWN_PATH


def test_cases_are_what_they_are_without(runs):
    options, folder, _ = runs
    paths = sorted(folder.glob("cases_*.py"))
    assert len(paths) > 5
    if options:
        command = [sys.executable, "-I", "-S", HERE / "receive_plain.py", *paths]
        out = subprocess.run(command, capture_output=True, timeout=200, cwd="/", check=True).stdout
    else:
        out = run_python(HERE / "receive.py", *paths).stdout
    results = json.loads(out)
    assert len(results) > 110 and "nested_100_000_objects" in results
    assert not {name: problem for name, problem in results.items() if problem}


# ---- values have no identity, objects have ----


def equal_pairs():
    """(one, other): equal, made of different objects, or of shared ones here and separate ones there."""
    text, data = "some text", b"some bytes"
    yield [text, text], [fresh(text), fresh(text)]
    yield [data, data], [data, bytes(bytearray(data))]
    pair = (1, "two")
    yield [pair, pair], [tuple([1, fresh("two")]), tuple([1, "two"])]
    yield [1j, 1j], [complex(0, 1), complex(0, 1)]
    deep = ((("a", 1.5), "b"), None)
    yield [deep, deep[0]], [((("a", 1.5), "b"), None), (tuple(["a", 1.5]), "b")]
    yield [frozenset(pair)] * 2, [frozenset(pair), frozenset(reversed(pair))]
    yield {text: 1, "k": {text: 2}}, {fresh(text): 1, fresh("k"): {fresh(text): 2}}
    shared = [1]
    yield [(shared, "x"), (shared, "x")], (lambda kept: [(kept, "x"), (kept, fresh("x"))])([1])
    numbers = [str(i) for i in range(1000)]
    yield set(numbers), set(reversed(numbers))
    grown = set(map(str, range(100_000)))
    grown.intersection_update(numbers)
    yield set(numbers), grown
    yield {(i, frozenset({i, "x"})) for i in range(20)}, {(i, frozenset({fresh("x"), i})) for i in range(19, -1, -1)}
    yield [float("nan")], [float("nan")]


@pytest.mark.parametrize("one, other", list(equal_pairs()))
def test_equal_values(one, other):
    for protocol in range(6):
        data = stable(one, protocol)
        assert data == stable(other, protocol)
        assert repr(pickle.loads(data)) == repr(one) or pickle.loads(data) == one


def different_pairs():
    yield [[1], [1]], [[1]] * 2
    yield [1, 2], [1, 2.0]
    yield [(1,), (1.0,)], [(1,), (1,)]
    yield [(True,), (1,)], [(1,), (1,)]
    yield [(0.0,), (-0.0,)], [(0.0,), (0.0,)]
    yield [0j, -0j], [0j, 0j]
    yield ["a", b"a"], ["a", "a"]
    yield [("a",), (b"a",)], [("a",), ("a",)]
    yield {"a": 1, "b": 2}, {"b": 2, "a": 1}
    yield [([],), ([],)], (lambda kept: [(kept,), (kept,)])([])
    yield frozenset({1}), {1}
    yield [(1,), frozenset({1})], [(1,), (1,)]


@pytest.mark.parametrize("one, other", list(different_pairs()))
def test_different_values(one, other):
    assert stable(one) != stable(other)
    for each in (one, other):
        assert repr(pickle.loads(stable(each))) == repr(each)


def test_sharing_of_objects_is_kept():
    inner, point = [1], types.SimpleNamespace(x=1)
    made = pickle.loads(stable([inner, inner, [1], (point, point), {"k": point}]))
    assert made[0] is made[1] and made[0] is not made[2]
    assert made[3][0] is made[3][1] is made[4]["k"]


def test_what_has_nothing_to_decide_is_written_as_ever():
    for obj in (None, [1, 2.5, "a", [], {}], {"a": {"b": [1, (2, "c")]}}, b"x" * 100_000, len, (), set(), {1}):
        for protocol in range(6):
            assert stable(obj, protocol) == achar.pickle.dumps(obj, protocol)
            assert achar.dumps(obj, protocol, deterministic=0) == achar.dumps(obj, protocol)


def test_random_values():
    def value(random, depth):
        kind = random.randrange(9 if depth else 5)
        if kind < 5:
            return [random.randrange(3), random.choice("ab"), float(random.randrange(2)), None, b"b"][kind]
        items = [value(random, depth - 1) for _ in range(random.randrange(4))]
        return [tuple, frozenset, tuple, frozenset][kind - 5](items)

    def copy(obj):
        if isinstance(obj, (tuple, frozenset)):
            items = [copy(each) for each in obj]
            random.Random(1).shuffle(items) if isinstance(obj, frozenset) else None
            return type(obj)(items)
        return fresh(obj) if isinstance(obj, str) else obj

    for seed in range(200):
        obj = value(random.Random(seed), 5)
        data = stable([obj, obj, {obj}])
        assert data == stable([obj, copy(obj), {copy(obj)}])
        assert stable(pickle.loads(data)) == data
        assert pickle.loads(data) == [obj, obj, {obj}]


def test_deep_nesting():
    obj = other = ()
    for _ in range(100_000):
        obj, other = (obj,), (other,)
    assert stable(obj) == stable(other)
    items = []
    for _ in range(100_000):
        items = [items]
    assert stable(items) == achar.dumps(items)


def test_nested_sets_do_not_take_for_ever():
    obj = frozenset({"a", "b"})
    for i in range(60):
        obj = frozenset({obj, i, str(i)})
    assert pickle.loads(stable(obj)) == obj
    for i in range(60):  # two ways to each level: 2**60 in all
        obj = frozenset({(obj, obj), i})
    assert hash(pickle.loads(stable(obj))) == hash(obj)  # == would take them
    for _ in range(10_000):  # sets of one have no order
        obj = frozenset({obj})
    assert len(stable(obj)) > 10_000


# ---- sets of objects ----

GRAPH = """
import achar, hashlib, sys, weakref
class Node:
    def __init__(self, name): self.name, self.near, self.tags = name, set(), {name, "t%d" % (name % 3)}
class Tags(set):
    pass
nodes = [Node(i) for i in range(40)]
for i, node in enumerate(nodes):
    node.near |= {nodes[(i * 7 + k) % 40] for k in (1, 3, 9)} | {node}
whole = {"nodes": set(nodes), "weak": weakref.WeakSet(nodes), "tags": Tags(f"x{i}" for i in range(9)),
         "frozen": frozenset(nodes[::3]), "functions": {lambda: 1, lambda: 2, lambda: nodes}}
for protocol in (2, 5):
    print(hashlib.sha256(achar.dumps(whole, protocol, deterministic=True)).hexdigest())
made = achar.loads(achar.dumps(whole, deterministic=True))
assert {n.name for n in made["nodes"]} == set(range(40)) and made["frozen"] < made["nodes"]
assert all(n in n.near and len(n.near) == len(nodes[n.name].near) for n in made["nodes"])
assert len(made["weak"]) == 40 and set(made["tags"]) == whole["tags"] and type(made["tags"]).__name__ == "Tags"
"""


def test_graphs_of_objects_in_sets():
    answers = {run_python("-c", GRAPH, PYTHONHASHSEED=str(seed)).stdout for seed in range(5)}
    assert len(answers) == 1


class Changes:
    """Its __reduce__ changes the set that it is in."""

    def __init__(self, change):
        self.change, self.calls = change, 0

    def __reduce__(self):
        self.calls += 1
        self.change(self)
        return Changes, (None,)


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_set_that_changes_while_it_is_ordered(protocol):
    items = set()
    changes = [lambda self: items.add(object()), lambda self: items.clear(), lambda self: items.discard(self)]
    for change in changes:
        items |= {Changes(change), Changes(change), *map(str, range(100))}
        try:
            stable([items], protocol)
        except RuntimeError as e:
            assert "changed size" in str(e)
        else:
            assert protocol == 2  # where a set is written as the list that it was
        items.clear()
    gc.collect()


def test_errors_in_a_set_say_where():
    class Fails:
        def __init__(self):
            self.calls = 0

        def __reduce__(self):
            self.calls += 1
            raise ZeroDivisionError("of its own")

    fails = Fails()
    with pytest.raises(ZeroDivisionError) as caught:
        stable({"key": [{fails, 1}]})
    assert fails.calls == 2
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["while pickling obj['key'][0]{…}"]
    box = types.SimpleNamespace(lock=__import__("threading").Lock())
    holder = type("Holder", (), {"__init__": lambda self: setattr(self, "box", box)})
    with pytest.raises(pickle.PicklingError, match=r"obj\{…\}\.__init__\.\S+\.lock: _thread\.lock cannot be sent"):
        stable({holder(), 1})
    assert isinstance(pickle.loads(stable({holder(), 1}, locks="fresh")), set)


def test_interrupts_and_memory_errors_are_not_swallowed():
    for cls in (KeyboardInterrupt, MemoryError, RecursionError):

        class Raises:
            error = cls

            def __reduce__(self):
                raise self.error

        with pytest.raises(cls):
            stable({Raises(), 1})


def test_out_of_band_buffers_are_reported_once():
    class Owner:
        def __init__(self, data):
            self.buffer = pickle.PickleBuffer(data)

        def __reduce_ex__(self, protocol):
            return Owner, (self.buffer,)

    seen = []
    data = stable({Owner(b"one"), Owner(b"two")}, buffer_callback=seen.append)
    assert sorted(bytes(buffer) for buffer in seen) == [b"one", b"two"]
    assert len(pickle.loads(data, buffers=seen)) == 2


# ---- functions ----


def test_functions_made_in_other_ways():
    source = "def f(a, b=('x', 1)):\n    'documented'\n"
    source += "    return a in {'p', 'q', 'r', 's'}, [b, 1.5, 'text', (1, 2)], (lambda: a)\n"

    def make(code):
        names = {"__name__": "elsewhere"}
        exec(code, names)
        return names["f"]

    one = make(compile(source, "<file>", "exec"))
    other = make(pickle.loads(achar.dumps(compile(source, "<file>", "exec"))))
    kept = [one.__code__.co_consts, one.__code__.co_names]  # more references: marshal would see them
    other.__name__, other.__doc__, other.__module__ = fresh("f"), fresh("documented"), fresh("elsewhere")
    assert stable(one) == stable(other) == stable(make(compile(source, "<file>", "exec")))
    assert stable([one, other], portable=True) == stable([one, make(compile(source, "<file>", "exec"))], portable=True)
    assert stable(one) != stable(make(compile(source, "<other file>", "exec")))
    assert achar.loads(stable(one))("p")[:2] == (True, [("x", 1), 1.5, "text", (1, 2)])
    del kept


def test_attributes_that_appear_by_asking():
    def define():
        class Local(abc.ABC):  # noqa: B024
            def f(self):
                return 1

        return Local

    one, other = define(), define()
    assert other.__annotations__ == {} and other().f() == 1 and isinstance(other(), abc.ABC)
    achar.dumps(other())
    assert stable(one) == stable(other)


# ---- what has an identity ----


def test_classes_come_home():
    class Local:
        pass

    assert achar.loads(stable(Local)) is Local
    assert achar.loads(achar.dumps(Local)) is Local
    assert achar.loads(stable(Local)) is Local
    assert achar.loads(achar.dumps(Local)) is Local
    variable, context = typing.TypeVar("variable"), contextvars.ContextVar("context")
    assert achar.loads(stable([variable, context])) == [variable, context]


def test_equal_classes_stay_two():
    def define(n):
        class Local:
            def get(self):
                return n

        return Local

    first, second, third = define(1), define(1), define(2)
    assert achar.loads(stable([first, second, third, first])) == [first, second, third, first]
    assert stable([first, second]) == stable([define(1), define(1)]) != stable([first, first])
    assert achar.loads(stable(second)) is second and achar.loads(stable(first)) is first
    made = pickle.loads(stable([define(1), define(2)]))
    assert [cls().get() for cls in made] == [1, 2]


def test_dead_classes_leave_nothing():
    def define():
        class Local:
            pass

        return Local

    cls = define()
    data, reference = stable(cls), weakref.ref(cls)
    del cls
    gc.collect()
    assert reference() is None
    made = achar.loads(data)
    assert achar.loads(data) is made and stable(define()) == data


ELSEWHERE = """
import sys, achar
class Local:
    value = [1, {"a", "b"}]
    def get(self): return self.value
sys.stdout.buffer.write(achar.dumps([Local, Local()], deterministic=True))
"""


def test_one_class_from_many_processes():
    sent = {run_python("-c", ELSEWHERE, PYTHONHASHSEED=str(seed)).stdout for seed in range(3)}
    assert len(sent) == 1
    check = f"""
    import achar
    cls, instance = achar.loads({sent.pop()!r})
    again, other = achar.loads({achar.dumps(None)!r} and achar.dumps([cls, instance], deterministic=True))
    assert cls is again is type(other) and other.get() == [1, {{"a", "b"}}]
    """
    run_python("-c", textwrap.dedent(check))


# ---- the option itself ----


def test_dump_and_the_option():
    file = io.BytesIO()
    achar.dump({"x", "y"}, file, deterministic=True)
    assert file.getvalue() == stable({"x", "y"})

    class Undecided:
        def __bool__(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        achar.dumps(1, deterministic=Undecided())
    with pytest.raises(TypeError):
        achar.pickle.dumps(1, deterministic=True)
    big = {f"s{i}" for i in range(20_000)}
    file = io.BytesIO()
    achar.dump([big, big], file, deterministic=True)
    assert file.getvalue() == stable([big, big]) and pickle.loads(file.getvalue()) == [big, big]


def test_no_memory():
    pytest.importorskip("_testcapi", reason="an interpreter without its own test modules")
    done = run_python("-X", "faulthandler", HERE / "streams_no_memory.py", PYTHONMALLOC="debug")
    assert done.stdout == b"done\n"

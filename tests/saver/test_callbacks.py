"""Code that runs while an object is being saved: it reaches back, changes things, fails, and lies.

The adversary below is a pile of objects whose __reduce_ex__ and friends do whatever a seeded random
generator says: return parts that have been written already, change the containers that are being
written, drop references, start collections, save something else meanwhile. Both picklers call back
in the same order, so two piles from one seed must come out the same.
"""

import gc
import io
import pickle
import random

import achar
import achar.pickle
import pytest
from saver_support import PROTOCOLS, Chunks, outcome


class Back:
    """Reduces to a call whose arguments are taken from elsewhere at that moment."""

    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return self.function()


class HashedBack(Back):
    def __hash__(self):
        return 77


class Plain:
    pass


def make(*args):
    return list(args)


def reached_back_list():
    items = [[0]]
    items.append(Back(lambda: (make, (items[0],))))
    return items


def reached_back_string():
    items = ["".join(["not ", "shared"]), ("".join(["nor ", "this"]),)]
    items.append(Back(lambda: (make, (items[0], items[1], items[1][0]))))
    return items


def reached_back_and_taken_out():
    """What was written is taken out of its container, and the memory may be used again."""
    items = [[object.__name__ + "!"] for _ in range(50)]

    def take():
        kept = items[:10]
        del items[:10]
        return make, (kept, [[] for _ in range(100)])

    items.append(Back(take))
    items.append("after")
    return items


def reached_into_open_tuple():
    """The tuple around the callback is not complete and enters its own arguments, once."""
    state = {"left": 1}
    inner = Back(lambda: (make, ((root,) if state.pop("left", 0) else ())))
    root = ("a", [inner])
    return [root]


def reached_into_open_instance():
    state = {"left": 1}
    obj = Plain()
    obj.first = "".join(["a", "b"])
    obj.callback = Back(lambda: (make, ((obj, obj.__dict__) if state.pop("left", 0) else ())))
    return [obj]


def shrinking_list():
    items = [Back(lambda: (items.clear(), (make, ()))[1]), *"abcdef"]
    return items


def growing_list():
    def grow():
        if len(items) < 2500:
            items.extend([[len(items)], "x"])
        return make, ()

    items = [Back(grow) for _ in range(900)]
    return items


def list_of_one_growing():
    items = [Back(lambda: (items.append(1), (make, ()))[1])]
    return items


def growing_dict():
    table = {"a": Back(lambda: (table.update(b=1), (make, ()))[1]), "c": 1}
    return table


def changing_dict():
    table = {"a": Back(lambda: (table.pop("c"), table.update(d=[1]), (make, ()))[2]), "c": [1], "e": 2}
    return table


def dict_whose_key_changes_it():
    class Key(Back):
        __hash__ = object.__hash__

    globals()["Key"] = Key
    Key.__qualname__ = "Key"
    key = Key(lambda: (table.__setitem__(key, "new value"), (make, ()))[1])
    table = {key: ["old value"], "other": 1}
    return table


def changing_set():
    def change():
        items.add("new")
        return make, ()

    items = {HashedBack(change), 1, 2}  # where the set has it must not depend on its address
    return items


def clearing_instance():
    obj = Plain()
    obj.a = Back(lambda: (obj.__dict__.clear(), (make, ()))[1])
    obj.b = [1]
    return obj


def replaced_instance_dict():
    obj = Plain()

    def replace():
        obj.__dict__ = {"z": 1}
        return make, ([1],)

    obj.a = Back(replace)
    obj.b = [1]
    return obj


def dying_temporaries():
    """Each reduce makes fresh containers; what they hold alone goes with them."""
    return [Back(lambda i=i: (make, ([str(i) * 3, [i]], {"k": [str(i)]}), None)) for i in range(300)]


CASES = {name: value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__}
for name in ("Back", "HashedBack", "Plain", "make", "outcome"):
    CASES.pop(name, None)


@pytest.mark.parametrize("name", CASES)
def test_callback(name):
    for protocol in PROTOCOLS:
        want = outcome(pickle.dumps, CASES[name](), protocol)
        assert outcome(achar.pickle.dumps, CASES[name](), protocol) == want
        wrapped = outcome(pickle.dumps, {"k": (CASES[name](), "x")}, protocol)
        assert outcome(achar.pickle.dumps, {"k": (CASES[name](), "x")}, protocol) == wrapped


NONSENSE = [
    lambda: None,
    lambda: 5,
    lambda: b"x",
    lambda: "no_such_name",
    lambda: "",
    lambda: ".",
    lambda: "make.no",
    lambda: [],
    lambda: (),
    lambda: (make,),
    lambda: (make, None),
    lambda: (make, []),
    lambda: (None, ()),
    lambda: (5, ()),
    lambda: (make, (), None, 5),
    lambda: (make, (), None, [1]),
    lambda: (make, (), None, None, {1: 2}),
    lambda: (make, (), None, None, None, 5),
    lambda: (make, (), None, None, None, None, None),
    lambda: (make, (), None, None, iter([1])),
    lambda: (make, (), None, None, iter([(1, 2, 3)])),
    lambda: (make, (), None, None, iter([[1, 2]])),
    lambda: (make, (), None, None, iter([(1, 2), (3,)])),
]


@pytest.mark.parametrize("index", range(len(NONSENSE)))
def test_nonsense(index):
    obj = Back(NONSENSE[index])
    for protocol in PROTOCOLS:
        want = outcome(pickle.dumps, [obj], protocol)
        assert outcome(achar.pickle.dumps, [obj], protocol) == want
        assert index == 14 or isinstance(want, tuple)


class NewObj:
    def __init__(self, args, name="__newobj__"):
        self.args = args
        self.name = name

    def __reduce__(self):
        def __newobj__(*args):
            pass

        __newobj__.__name__ = self.name
        return __newobj__, self.args


@pytest.mark.parametrize(
    "args",
    [
        (),
        (5,),
        (int,),
        (NewObj,),
        (NewObj, 1),
        (NewObj, 1, {}),
        (NewObj, (), {}),
        (NewObj, (1,), {"a": [2]}),
        (5, (), {}),
    ],
)
@pytest.mark.parametrize("name", ["__newobj__", "__newobj_ex__"])
def test_newobj(name, args):
    for protocol in PROTOCOLS:
        obj = NewObj(args, name)
        assert outcome(achar.pickle.dumps, obj, protocol) == outcome(pickle.dumps, obj, protocol)


class Failure(Exception):
    pass


def test_errors_pass_through():
    """The very exception, from wherever user code raised it."""
    failure = Failure("mine")

    def fail(*args, **kwargs):
        raise failure

    class FailingIterator:
        def __iter__(self):
            return self

        __next__ = fail

    class Property:
        @property
        def __reduce_ex__(self):
            raise failure

    class ClassProperty:
        @property
        def __class__(self):
            raise failure

    class Hash(type):
        __hash__ = fail

    class FailingWrite:
        def __init__(self, times):
            self.times = times

        def write(self, data):
            self.times -= 1
            if self.times < 0:
                raise failure

    failing = [
        Back(fail),
        Property(),
        ClassProperty(),
        Back(lambda: (make, (), None, FailingIterator())),
        Back(lambda: (make, (), None, None, FailingIterator())),
        Back(lambda: (make, (Back(fail),))),
        Back(lambda: (make, (), {"a": Back(fail)})),
    ]
    for obj in failing:
        for protocol in PROTOCOLS:
            for wrapped in (obj, [[obj]], ("a", (obj,)), {"k": {"l": obj}}, {"k": (obj, 1)}):
                with pytest.raises(Failure) as caught:
                    achar.pickle.dumps(wrapped, protocol)
                assert caught.value is failure
                with pytest.raises(Failure) as caught:
                    achar.dumps(wrapped, protocol)
                assert caught.value is failure
    big = [["x" * 100] * 3 + [str(i)] for i in range(5000)] + [bytes(100_000), "y" * 100_000, bytearray(100_000)]
    counter = Chunks()
    achar.pickle.dump(big, counter)
    for times in range(len(counter.chunks)):
        with pytest.raises(Failure):
            achar.pickle.dump(big, FailingWrite(times))
    with pytest.raises(Failure):
        achar.pickle.dumps(pickle.PickleBuffer(b"x"), 5, buffer_callback=fail)


class Turned:
    pass


def turn(obj):
    """Gives 'obj' another class, and its own, which nobody else holds, to the allocator."""
    obj.__class__ = Turned
    gc.collect()
    return [b"A" * size for size in range(900, 1300) for _ in range(20)]


@pytest.mark.parametrize("module", [achar, achar.pickle])
@pytest.mark.parametrize("how", ["arguments", "override", "table"])
def test_class_of_an_object_changes_under_its_pickling(module, how):
    def arguments(self):
        turn(self)
        return (1,)

    class Override(module.Pickler):
        def reducer_override(self, obj):
            if type(obj).__name__ == "Last":
                turn(obj)
            return NotImplemented

    class Table(dict):
        def __missing__(self, cls):
            name = getattr(cls, "__name__", "")
            del cls
            if name == "Last":
                turn(objects[0])
            raise KeyError

    class Tabled(module.Pickler):
        dispatch_table = Table()

    # The only references to its class are the object's and the class's own.
    objects = [type("Last", (), {"__getnewargs__": arguments} if how == "arguments" else {})()]
    gc.collect()
    file = io.BytesIO()
    {"arguments": module.Pickler, "override": Override, "table": Tabled}[how](file).dump(objects)
    assert type(module.loads(file.getvalue())[0]) is Turned


def test_write_changes_what_is_written():
    """The file's write() runs between objects: it may empty the containers being saved."""

    class Emptying:
        def __init__(self, *targets):
            self.targets = targets

        def write(self, data):
            for target in self.targets:
                target.clear()
            gc.collect()

    for make_target in (
        lambda: [[str(i), [i]] for i in range(20_000)],
        lambda: {str(i): [str(i)] for i in range(20_000)},
        lambda: {(str(i), i): str(i) for i in range(20_000)},
        lambda: {str(i) for i in range(20_000)},
        lambda: [bytes(70_000) + bytes([i]) for i in range(5)],
        lambda: ["é" * 70_000 + str(i) for i in range(5)],
        lambda: [bytearray(70_000) for i in range(5)],
        lambda: [str(i) * 500 for i in range(1000)],
    ):
        for protocol in PROTOCOLS:
            target = make_target()
            inner = target[0] if isinstance(target, list) and isinstance(target[0], list) else target
            result = outcome(achar.pickle.dump, [target, target], Emptying(target, inner), protocol)
            assert result is None or result[0] is RuntimeError


class Adversary:
    """A pile of objects made and driven by one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.parts = []
        self.calls = 0

    def build(self, depth=0):
        pick = self.random.randrange
        kind = pick(13)
        if depth > 4 or kind == 0:
            part = "".join(["s", str(pick(30))]) if pick(2) else pick(1 << 40)
        elif kind in (1, 2):
            part = [self.build(depth + 1) for _ in range(pick(5))]
        elif kind == 3:
            part = tuple(self.build(depth + 1) for _ in range(pick(5)))
        elif kind == 4:
            part = {"".join(["k", str(i)]): self.build(depth + 1) for i in range(pick(4))}
        elif kind == 5:
            part = Plain()
            for i in range(pick(4)):
                setattr(part, f"a{i}", self.build(depth + 1))
        elif kind == 6:
            part = {("".join(["t", str(i)]), i) for i in range(pick(2))}
        elif kind == 7:
            part = frozenset(["".join(["f", str(pick(5))])])
        elif kind == 8 and self.parts:
            part = self.parts[pick(len(self.parts))]
        elif kind == 9:
            part = bytes([pick(256)]) * pick(300)
        else:
            part = Back(self.call)
        self.parts.append(part)
        return part

    def some(self):
        pick = self.random.randrange
        if pick(3) == 0:
            return ["".join(["new", str(pick(9))]), {"d": [pick(9)]}]
        return self.parts[pick(len(self.parts))]

    def call(self):
        pick = self.random.randrange
        self.calls += 1
        if self.calls > 60:
            return make, ()
        for _ in range(pick(4)):
            self.disturb()
        form = pick(8)
        if form == 0:
            return make, (self.some(), self.some())
        if form == 1:
            return Plain, (), {"x": self.some()}
        if form == 2:
            return ListLike, (), self.some(), iter([self.some(), self.some()])
        if form == 3:
            return DictLike, (), None, None, iter([("k", self.some()), ("l", "".join(["v", "w"]))])
        if form == 4:
            return Plain, (), {"y": self.some()}, None, None, set_state
        if form == 5:
            return make, tuple([["".join(["a", str(i)]), (self.some(),)] for i in range(pick(4))])
        if form == 6:
            return "make"
        return make, ("".join(["end", str(pick(9))]),)

    def disturb(self):
        pick = self.random.randrange
        target = self.parts[pick(len(self.parts))]
        action = pick(6)
        if isinstance(target, list) and action < 4:
            if action == 0:
                target.append(self.some())
            elif action == 1 and target:
                del target[pick(len(target))]
            elif action == 2:
                target.clear()
            else:
                target.reverse()
        elif isinstance(target, dict) and action < 3:
            if action == 0 and target:
                target[next(iter(target))] = self.some()
            elif action == 1 and target:
                del target[next(iter(target))]
            else:
                target[f"n{pick(20)}"] = self.some()
        elif isinstance(target, Plain) and action < 3:
            target.__dict__[f"a{pick(4)}"] = self.some()
        elif action == 4:
            achar.pickle.dumps(self.parts[:2] if not pick(3) and self.calls > 50 else [1, "x"])
        elif action == 5 and pick(10) == 0:
            gc.collect()


class ListLike(list):
    pass


class DictLike(dict):
    pass


def set_state(obj, state):
    obj.__dict__.update(state)


def run_adversary(dumps, seed, protocol):
    adversary = Adversary(seed)
    root = [adversary.build() for _ in range(6)]
    result = outcome(dumps, root, protocol)
    return result, adversary.calls


@pytest.mark.parametrize("block", range(12))
def test_adversary(block):
    calls = 0
    for seed in range(block * 100, block * 100 + 100):
        protocol = (5, 4, 2, 3, 1, 0)[seed % 6]
        want = run_adversary(pickle.dumps, seed, protocol)
        assert run_adversary(achar.pickle.dumps, seed, protocol) == want, seed
        calls += want[1]
    assert calls > 100

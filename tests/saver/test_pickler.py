"""The Pickler types: hooks, memo, fast mode, and use by several callers at once."""

import copyreg
import gc
import io
import pickle
import sys
import threading
import weakref

import achar
import achar.pickle
import pytest
from saver_support import PROTOCOLS, Chunks, outcome, pickled

BOTH = [achar.pickle.Pickler, pickle.Pickler]


class Thing:
    def __init__(self, value=0):
        self.value = value


def test_names_and_places():
    assert achar.pickle.Pickler.__module__ == "achar.pickle"
    assert achar.Pickler.__module__ == "achar"
    assert issubclass(achar.Pickler, achar.pickle.Pickler)
    assert achar.pickle.dumps.__module__ == "achar.pickle"
    assert achar.dumps.__module__ == "achar"
    assert achar.pickle.PicklingError is pickle.PicklingError
    for name in ("dump", "dumps", "Pickler"):
        assert getattr(achar.pickle, name).__doc__
        standard = getattr(pickle, name).__text_signature__
        assert getattr(achar.pickle, name).__text_signature__ == standard
        more = " ".join(getattr(achar, name).__text_signature__.split())
        assert more.startswith(" ".join(standard.removesuffix(")").split()))


@pytest.mark.parametrize("module", [achar, achar.pickle])
def test_arguments(module):
    file = io.BytesIO()
    module.dump(file=file, obj=[1], protocol=2, fix_imports=False, buffer_callback=None)
    assert file.getvalue() == pickle.dumps([1], 2)
    assert module.dumps(obj=[1], protocol=-1) == pickle.dumps([1], 5)
    assert module.dumps([1], None)[1] == (5 if module is achar else pickle.DEFAULT_PROTOCOL)
    for call in (
        lambda: module.dumps(),
        lambda: module.dumps(1, 2, 3),
        lambda: module.dumps(1, nonsense=2),
        lambda: module.dumps(1, obj=2),
        lambda: module.dumps(1, "2"),
        lambda: module.dump(1),
        lambda: module.dump(1, object()),
        lambda: module.Pickler(),
        lambda: module.Pickler(object()),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="pickle protocol must be <= 5"):
        module.dumps(1, 6)
    with pytest.raises(ValueError, match="buffer_callback needs protocol >= 5"):
        module.dumps(1, 4, buffer_callback=print)


def test_persistent_id():
    class Persistent:
        def persistent_id(self, obj):
            if isinstance(obj, Thing):
                return obj.value
            return None

    objects = [[Thing(1), "a", Thing((2, "b")), {"k": Thing([3])}], Thing("é"), 5, ("x", Thing("ascii"))]
    for protocol in PROTOCOLS:
        ours, theirs = (pickled(type("P", (Persistent, base), {}), objects, protocol) for base in BOTH)
        assert ours == theirs


def test_persistent_id_is_asked_about_every_object():
    """Also about the arguments of what is made without any."""
    for protocol in PROTOCOLS:
        asked = []
        for base in BOTH:
            seen = []
            namespace = {"persistent_id": lambda self, obj, seen=seen: seen.append(type(obj))}
            pickled(type("P", (base,), namespace), [Thing(1), [Thing(), ()], object.__new__(Thing)], protocol)
            asked.append(seen)
        assert asked[0] == asked[1]


def test_persistent_id_sees_what_a_callback_took_away():
    class Emptying(achar.pickle.Pickler):
        def persistent_id(self, obj):
            if obj != 0:
                items.clear()
                gc.collect()

    for make in (lambda i: [i], lambda i: (str(i),), lambda i: {"k": i}, str, lambda i: bytes(70_000)):
        items = [make(i) for i in range(3)]
        file = io.BytesIO()
        Emptying(file).dump([items, items])
        assert achar.pickle.loads(file.getvalue())[0] == []


def test_persistent_id_on_the_instance():
    """As everywhere but in 3.13.0, where the attribute was read-only for a while."""
    file = io.BytesIO()
    pickler = achar.pickle.Pickler(file)
    pickler.persistent_id = lambda obj: "p" if obj == 5 else None
    pickler.dump([5, 6])
    loader = type("U", (pickle.Unpickler,), {"persistent_load": lambda self, pid: pid})
    assert loader(io.BytesIO(file.getvalue())).load() == ["p", 6]


def test_reducer_override():
    class Override:
        def reducer_override(self, obj):
            if obj is Thing:
                return "Thing"
            if isinstance(obj, Thing) and obj.value:
                return Thing, (str(obj.value),)
            if isinstance(obj, type(len)):
                return complex, (1, 2)
            return NotImplemented

    objects = [[Thing(1), Thing(0)], Thing, len, {1: Thing(2)}, int]
    for protocol in PROTOCOLS:
        ours, theirs = (pickled(type("P", (Override, base), {}), objects, protocol) for base in BOTH)
        assert ours == theirs


def test_dispatch_table():
    table = {Thing: lambda obj: (Thing, (obj.value,)), type: lambda cls: "int" if cls is int else "Thing"}
    objects = [Thing(1), [Thing(2)], complex(1, 2)]
    for protocol in PROTOCOLS:
        in_class, later = [], []
        for base in BOTH:
            in_class.append(pickled(type("P", (base,), {"dispatch_table": table}), objects, protocol))
            file = io.BytesIO()
            pickler = base(file, protocol)
            with pytest.raises(AttributeError):
                pickler.dispatch_table  # noqa: B018
            pickler.dispatch_table = table
            assert pickler.dispatch_table is table
            later.append(([outcome(pickler.dump, obj) for obj in objects], file.getvalue()))
            del pickler.dispatch_table
            pickler.dump(Thing(3))
        assert in_class[0] == in_class[1]
        assert later[0] == later[1]


def test_copyreg():
    try:
        copyreg.pickle(Thing, lambda obj: (Thing, ([obj.value],)))
        for protocol in PROTOCOLS:
            obj = [Thing(1), Thing(2)]
            assert achar.pickle.dumps(obj, protocol) == pickle.dumps(obj, protocol)
    finally:
        del copyreg.dispatch_table[Thing]


@pytest.mark.parametrize("code", [1, 255, 256, 65535, 65536, 0x7FFFFFFF])
def test_extension_codes(code):
    copyreg.add_extension(__name__, "Thing", code)
    try:
        for protocol in PROTOCOLS:
            obj = [Thing(1), Thing]
            assert achar.pickle.dumps(obj, protocol) == pickle.dumps(obj, protocol)
    finally:
        copyreg.remove_extension(__name__, "Thing", code)


@pytest.mark.parametrize("code", ["one", 0, -1, 1 << 31, 1 << 70])
def test_bad_extension_codes(code):
    key = (__name__, "Thing")
    copyreg._extension_registry[key] = code
    try:
        for protocol in (2, 3, 4, 5):
            want = outcome(pickle.dumps, Thing, protocol)
            assert isinstance(want, tuple)
            assert outcome(achar.pickle.dumps, Thing, protocol) == want
    finally:
        del copyreg._extension_registry[key]


def test_memo_is_kept():
    shared = ["x", Thing()]
    for protocol in PROTOCOLS:
        assert pickled(achar.pickle.Pickler, [shared, shared, [shared]], protocol) == pickled(
            pickle.Pickler, [shared, shared, [shared]], protocol
        )


def test_memo_proxy():
    shared = [["a"], {"b": 1}, ("c",), Thing(), *[str(i) for i in range(100)]]
    copies = []
    for base in BOTH:
        pickler = base(io.BytesIO(), 4)
        pickler.dump(shared)
        copy = pickler.memo.copy()
        assert all(key == id(obj) for key, (_, obj) in copy.items())
        assert pickle.loads(pickle.dumps(pickler.memo.__reduce__()[0])) is dict
        copies.append(copy)
    # the slots of state dicts are temporaries with addresses of their own
    assert {number: type(obj) for number, obj in copies[0].values()} == {
        number: type(obj) for number, obj in copies[1].values()
    }
    for protocol in PROTOCOLS:
        outputs = []
        for base in BOTH:
            for give in copies:
                file = io.BytesIO()
                pickler = base(file, protocol)
                pickler.memo = give
                pickler.dump([shared[0], "new", shared[1]])
                other = base(file, protocol)
                other.memo = pickler.memo
                other.dump([shared[0], "newer", shared[2]])
                other.memo.clear()
                other.dump(shared[0])
                other.dump(shared[0])
                other.clear_memo()
                other.dump(shared[0])
                outputs.append(file.getvalue())
        assert len(set(outputs)) == 1


def test_memo_with_numbers_of_ones_own():
    shared = ["s"]
    for protocol in PROTOCOLS:
        outputs = []
        for base in BOTH:
            file = io.BytesIO()
            pickler = base(file, protocol)
            pickler.memo = {id(shared): (777, shared), id(Thing): (3, Thing)}
            pickler.dump([shared, "a", "a", Thing, shared])
            outputs.append(file.getvalue())
        assert outputs[0] == outputs[1]


def test_bad_memos():
    pickler = achar.pickle.Pickler(io.BytesIO())
    for bad in (5, None, {1: 2}, {1: (1,)}, {1: ("x", [])}, {1: (1, 2, 3)}):
        with pytest.raises(TypeError):
            pickler.memo = bad
    with pytest.raises(TypeError):
        del pickler.memo
    with pytest.raises(TypeError):
        type(pickler.memo)()
    pickler.dump([1])


def test_fast():
    shared = ["s"]
    objects = [[shared, shared, {"a": shared}], (shared, "x", "x"), Thing(1), {1}, frozenset([2])]
    for protocol in PROTOCOLS:
        outputs = []
        for base in BOTH:
            file = io.BytesIO()
            pickler = base(file, protocol)
            pickler.fast = 1
            assert pickler.fast == 1
            outputs.append(([outcome(pickler.dump, obj) for obj in objects], file.getvalue()))
        assert outputs[0] == outputs[1]


@pytest.mark.parametrize("pickler_class", [achar.pickle.Pickler, achar.Pickler])
def test_fast_and_cycles(pickler_class):
    items = []
    items.append(items)
    table = {}
    table["k"] = [table]
    a_tuple = ([],)
    a_tuple[0].append(a_tuple)
    obj = Thing()
    obj.self = obj
    for cycle in (items, table, a_tuple, obj):
        pickler = pickler_class(io.BytesIO())
        pickler.fast = True
        with pytest.raises(ValueError, match="fast mode: can't pickle cyclic objects"):
            pickler.dump(cycle)
        pickler.dump([1])
    for _ in range(60):
        items = [items]


def test_bin():
    assert achar.pickle.Pickler(io.BytesIO(), 0).bin == 0
    assert achar.pickle.Pickler(io.BytesIO(), 1).bin == 1


def test_init_again():
    first, second = io.BytesIO(), io.BytesIO()
    pickler = achar.pickle.Pickler(first, 2)
    shared = ["s"]
    pickler.dump(shared)
    pickler.__init__(second, 4)
    pickler.dump(shared)
    assert first.getvalue() == pickle.dumps(shared, 2)
    assert second.getvalue() == pickle.dumps(shared, 4)


def test_without_init():
    class Lazy(achar.pickle.Pickler):
        def __init__(self):
            pass

    with pytest.raises(pickle.PicklingError, match=r"Pickler.__init__\(\) was not called by Lazy.__init__\(\)"):
        Lazy().dump(1)
    assert Lazy().memo.copy() == {}


class Using:
    """Uses a Pickler while that is dumping it."""

    def __init__(self, use):
        self.use = use

    def __reduce__(self):
        self.result = outcome(self.use)
        return list, ()


def test_used_by_its_own_callbacks():
    busy = (RuntimeError, "Pickler object is already used")
    file = io.BytesIO()
    pickler = achar.pickle.Pickler(file)
    again = Using(lambda: pickler.dump(1))
    init = Using(lambda: pickler.__init__(file))
    pickler.dump([again, init])
    assert again.result == busy
    assert init.result == busy
    assert pickle.loads(file.getvalue()) == [[], []]

    allowed = Using(lambda: (pickler.clear_memo(), pickler.memo.copy(), setattr(pickler, "memo", {})))
    shared = ["s", {"t": ("u",)}]
    pickler.dump([shared, ("x", [allowed], shared), shared, allowed])


def test_used_by_two_threads():
    inside, leave = threading.Event(), threading.Event()
    file = io.BytesIO()
    pickler = achar.pickle.Pickler(file)
    waiting = Using(lambda: (inside.set(), leave.wait(200)))
    thread = threading.Thread(target=pickler.dump, args=(waiting,))
    thread.start()
    assert inside.wait(200)
    assert outcome(pickler.dump, 1) == (RuntimeError, "Pickler object is already used")
    leave.set()
    thread.join(200)
    assert pickle.loads(file.getvalue()) == []


def test_used_while_it_is_set_up():
    """Asking the file for its methods runs code: what a dump borrows must not go meanwhile."""
    outcomes = []

    class File(io.BytesIO):
        @property
        def write(self):
            outcomes.append(outcome(pickler.dump, 1))
            outcomes.append(outcome(pickler.__init__, io.BytesIO()))
            return super().write

    file = io.BytesIO()
    pickler = achar.pickle.Pickler(file)
    pickler.__init__(File())
    assert outcomes == [(RuntimeError, "Pickler object is already used")] * 2
    with pytest.raises(TypeError):
        pickler.__init__(object())
    pickler.__init__(file)  # an error leaves it free
    pickler.dump("x")
    assert pickle.loads(file.getvalue()) == "x"


def test_two_picklers_in_two_threads():
    data = [[str(i), {"k": Thing(i)}] for i in range(3000)]
    want = pickle.dumps(data, 5)
    results = []
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [
            threading.Thread(target=lambda: results.append(achar.pickle.dumps(data, 5) == want)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(200)
    finally:
        sys.setswitchinterval(switch)
    assert results == [True] * 4


def test_after_an_error_the_memo_holds_only_what_was_written_before():
    class Failing:
        def __reduce__(self):
            raise KeyError("no")

    file = io.BytesIO()
    pickler = achar.pickle.Pickler(file)
    shared = ["s"]
    pickler.dump(shared)
    for bad in ([["a"], Failing()], [str(i) * 2 for i in range(100)] + [Failing()], (1, [Failing()])):
        with pytest.raises(KeyError):
            pickler.dump(bad)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        pickler.dump(deep)
    while deep:
        deep = deep.pop()
    del deep, bad
    gc.collect()
    pickler.dump([shared, *[str(i) * 2 for i in range(100)]])
    for _, obj in pickler.memo.copy().values():
        assert repr(obj)


def copy_while_collecting(memo, clear, threshold):
    """memo.copy(), in which the garbage collector comes to an object whose __del__ calls clear()."""

    class Clearing:
        def __del__(self):
            clear()

    garbage = Clearing()
    garbage.itself = garbage
    was_enabled, thresholds = gc.isenabled(), gc.get_threshold()
    gc.disable()
    del garbage
    gc.set_threshold(threshold)
    try:
        gc.enable()
        return memo.copy()
    finally:
        gc.disable()
        gc.set_threshold(*thresholds)
        if was_enabled:
            gc.enable()


@pytest.mark.parametrize("threshold", range(1, 60, 7))
def test_memo_cleared_by_the_collector_while_it_is_copied(threshold):
    pickler = achar.pickle.Pickler(io.BytesIO(), 4)
    pickler.dump([[i] for i in range(50)])  # nobody but the memo holds them
    gc.collect()
    copy = copy_while_collecting(pickler.memo, pickler.clear_memo, threshold)
    assert all(type(obj) is list and key == id(obj) for key, (_, obj) in copy.items())

    unpickler = achar.pickle.Unpickler(io.BytesIO(b"Nr\x00\x00\x00\x10]r\x00\x00\x01\x10."))
    unpickler.load()
    gc.collect()
    copy = copy_while_collecting(unpickler.memo, unpickler.memo.clear, threshold)
    assert copy in ({}, {0x10000000: None, 0x10010000: []})


def test_garbage_collection():
    """A Pickler in a cycle through what it remembers is collected."""

    class Subclass(achar.pickle.Pickler):
        pass

    file = Chunks()
    pickler = Subclass(file)
    remembered = Thing()
    pickler.dump([remembered])
    pickler.memo = {**pickler.memo.copy(), id(file): (10_000, file)}
    file.pickler = pickler
    gone = weakref.ref(pickler)
    del pickler, file
    gc.collect()
    assert gone() is None


def test_sizeof():
    pickler = achar.pickle.Pickler(io.BytesIO())
    before = sys.getsizeof(pickler)
    pickler.dump([str(i) for i in range(10_000)])
    assert sys.getsizeof(pickler) > before + 80_000
    pickler.clear_memo()
    assert sys.getsizeof(pickler) == before


def test_superset_pickler():
    file = io.BytesIO()
    achar.Pickler(file).dump(lambda x: x + 1)
    assert achar.loads(file.getvalue())(1) == 2

    class Refusing(achar.Pickler):
        def reducer_override(self, obj):
            return (int, ()) if isinstance(obj, type(lambda: 0)) else NotImplemented

        def persistent_id(self, obj):
            return None

    file = io.BytesIO()
    Refusing(file).dump([lambda: 1])
    assert pickle.loads(file.getvalue()) == [0]

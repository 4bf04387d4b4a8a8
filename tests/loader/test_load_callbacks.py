"""Python code that runs in the middle of a load: its exceptions, its mischief, and its threads."""

import _pickle
import builtins
import gc
import io
import pickle
import sys
import threading
import weakref

import achar
import achar.pickle
import pytest


class Boom(Exception):
    pass


def boom(*args, **kwargs):
    raise Boom(args)


class RaisesInSetstate:
    def __setstate__(self, state):
        raise Boom


class RaisesInNew:
    def __new__(cls, *args):
        raise Boom


class RaisesInGetattr:
    def __getattr__(self, name):
        raise Boom


class RaisesInDict:
    @property
    def __dict__(self):
        raise Boom


class RaisesInSlot:
    __slots__ = ()

    def __setattr__(self, name, value):
        raise Boom


class RaisesInHash:
    def __hash__(self):
        raise Boom


class Mapping:
    def __setitem__(self, key, value):
        raise Boom


class Sequence:
    def extend(self, items):
        raise Boom


class OldSequence:
    def append(self, item):
        raise Boom


class OldSet:
    def add(self, item):
        raise Boom


def instance(cls):
    return b"c%s\n%s\n)\x81" % (cls.__module__.encode(), cls.__name__.encode())


CALLBACKS = {
    "reduce": b"c%s\nboom\n)R." % __name__.encode(),
    "setstate": instance(RaisesInSetstate) + b"Nb.",
    "new": instance(RaisesInNew) + b".",
    "new_ex": b"c%s\nRaisesInNew\n)}\x92." % __name__.encode(),
    "inst": b"(i%s\nRaisesInNew\n." % __name__.encode(),
    "obj": b"(c%s\nRaisesInNew\no." % __name__.encode(),
    "getattr": instance(RaisesInGetattr) + b"}b.",
    "dict": instance(RaisesInDict) + b"}U\x01aNsb.",
    "slot": instance(RaisesInSlot) + b"N}U\x01aNs\x86b.",
    "hash": b"}" + instance(RaisesInHash) + b"Ns.",
    "hash_many": b"}(K\x01K\x02" + instance(RaisesInHash) + b"Nu.",
    "hash_dict": b"(" + instance(RaisesInHash) + b"Nd.",
    "hash_set": b"\x8f(K\x01" + instance(RaisesInHash) + b"\x90.",
    "hash_frozenset": b"(K\x01" + instance(RaisesInHash) + b"\x91.",
    "hash_in_tuple": b"}" + instance(RaisesInHash) + b"\x85Ns.",
    "setitem": instance(Mapping) + b"K\x01K\x02s.",
    "setitems": instance(Mapping) + b"(K\x01K\x02u.",
    "extend": instance(Sequence) + b"(K\x01K\x02e.",
    "append": instance(OldSequence) + b"(K\x01K\x02e.",
    "append_one": instance(OldSequence) + b"K\x01a.",
    "add": instance(OldSet) + b"(K\x01K\x02\x90.",
    "persid": b"Pone\n.",
    "binpersid": b"K\x01Q.",
    "buffers": b"\x80\x05\x97.",
}


def raising_buffers():
    raise Boom
    yield


class Hooks:
    def persistent_load(self, pid):
        raise Boom


UNPICKLERS = [
    type("Strict", (Hooks, achar.pickle.Unpickler), {}),
    type("Superset", (Hooks, achar.Unpickler), {}),
]


@pytest.mark.parametrize("padding", [0, 5000])
@pytest.mark.parametrize("unpickler", UNPICKLERS)
@pytest.mark.parametrize("name", CALLBACKS)
def test_exceptions_come_through(name, unpickler, padding):
    """From every callback, with the collector as it was; the unpickler can be used again."""
    data = b"N0" * padding + CALLBACKS[name]
    assert gc.isenabled()
    for _ in range(3):
        loader = unpickler(io.BytesIO(data), encoding="latin1", buffers=raising_buffers())
        with pytest.raises(Boom):
            loader.load()
        assert gc.isenabled()
        loader.__init__(io.BytesIO(b"K\x05."))
        assert loader.load() == 5


@pytest.mark.parametrize("method", ["read", "readline", "readinto", "peek"])
def test_exceptions_of_the_file(method):
    class File(io.BufferedReader):
        pass

    data = {"readline": b"I5\n.", "readinto": pickle.dumps(bytes(500000))}.get(method, pickle.dumps([1, 2, 3]))
    setattr(File, method, boom)
    file = File(io.BytesIO(data), 16)
    if method != "peek":
        File.peek = lambda self, size: (_ for _ in ()).throw(NotImplementedError)
    with pytest.raises(Boom):
        achar.pickle.load(file)
    assert gc.isenabled()


def test_find_class_is_asked_for_every_global():
    asked = []

    class Recorder(achar.pickle.Unpickler):
        def find_class(self, module, name):
            asked.append((module, name))
            return super().find_class(module, name)

    for protocol in range(6):
        asked.clear()
        value = [io.BytesIO, len]
        assert Recorder(io.BytesIO(_pickle.dumps(value, protocol))).load() == value
        assert [name for _, name in asked] == ["BytesIO", "len"]


def test_find_class_of_an_instance_and_of_super():
    class Mine(achar.pickle.Unpickler):
        pass

    loader = Mine(io.BytesIO(b"cno.such\nthing\n."))
    loader.find_class = lambda module, name: (module, name)
    assert loader.load() == ("no.such", "thing")
    assert achar.pickle.Unpickler(io.BytesIO()).find_class("os", "path") is sys.modules["os"].path
    with pytest.raises(AttributeError):
        achar.pickle.Unpickler(io.BytesIO()).find_class("os", "path.join")  # no dots before protocol 4


def test_import_hooks_are_honoured(monkeypatch):
    seen = []
    original = builtins.__import__

    def spy(name, *args, **kwargs):
        seen.append(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", spy)
    assert achar.pickle.loads(b"cos.path\njoin\n.") is sys.modules["os"].path.join
    assert "os.path" in seen


def test_sys_modules_is_looked_at_each_time(monkeypatch):
    import types

    data = b"\x80\x04(\x8c\x0cachar_absent\x8c\x04name\x93\x8c\x0cachar_absent\x8c\x04name\x93t."
    with pytest.raises(ModuleNotFoundError):
        achar.pickle.loads(data)
    for value in (1, 2):
        module = types.ModuleType("achar_absent")
        module.name = value
        monkeypatch.setitem(sys.modules, "achar_absent", module)
        assert achar.pickle.loads(data) == (value, value)
        module.name = 3
        assert achar.pickle.loads(data) == (3, 3)
    monkeypatch.setitem(sys.modules, "achar_absent", None)
    with pytest.raises(ModuleNotFoundError):
        achar.pickle.loads(data)


def test_audit_event():
    import subprocess

    code = """
import sys, achar.pickle
seen = []
sys.addaudithook(lambda event, args: seen.append(args) if event == "pickle.find_class" else None)
achar.pickle.loads(b"cos\\ngetcwd\\n.")
print(seen)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "[('os', 'getcwd')]", done.stderr


# ---- an unpickler at work refuses to be used ----


@pytest.mark.parametrize("base", [achar.pickle.Unpickler, achar.Unpickler])
def test_reentrant_load_is_an_error(base):
    class Again(base):
        def persistent_load(self, pid):
            return self.load()

        def find_class(self, module, name):
            return self.load()

    for data in (b"(K\x01K\x01Qt.K\x02.", b"(K\x01cos\nname\nt.K\x02."):
        loader = Again(io.BytesIO(data))
        with pytest.raises(RuntimeError, match="already used"):
            loader.load()
        with pytest.raises(RuntimeError, match="already used"):
            Restart(base, data).load()


def Restart(base, data):
    class Restarting(base):
        def persistent_load(self, pid):
            self.__init__(io.BytesIO(b"N."))

        def find_class(self, module, name):
            self.__init__(io.BytesIO(b"N."))

    return Restarting(io.BytesIO(data))


current = None


class Trap(dict):
    def __setitem__(self, key, value):
        current.load()


class Victim:
    __slots__ = ("__dict__", "slot")

    def __init__(self):
        self.__dict__ = Trap()


def test_reentrant_load_from_build():
    """python/cpython gh-143638"""
    global current
    data = b"\x80\x05c%s\nVictim\n)R}(\x8c\x01aK\x01u}\x8c\x04slotK\x03s\x86b." % __name__.encode()
    current = achar.pickle.Unpickler(io.BytesIO(data * 2))
    with pytest.raises(RuntimeError, match="already used"):
        current.load()


class LoadsInHash:
    def __hash__(self):
        try:
            current.load()
        except RuntimeError as error:
            assert "already used" in str(error)
        return 1


def test_reentrant_load_from_hash():
    """python/cpython gh-143639"""
    global current
    for fill in (b"}%sNs", b"}(%sNu", b"(%sNd", b"\x8f(%s\x90", b"(%s\x91"):
        current = achar.pickle.Unpickler(io.BytesIO(fill % instance(LoadsInHash) + b"." + b"\x80\x05N.."))
        value = current.load()
        assert len(value) == 1


def test_nested_loads_of_other_unpicklers():
    inner = pickle.dumps([1, 2, 3])

    class Nested(achar.pickle.Unpickler):
        def persistent_load(self, pid):
            assert gc.isenabled()
            return [achar.pickle.loads(inner), achar.loads(inner * 500), achar.pickle.load(io.BytesIO(inner))]

    loaded = Nested(io.BytesIO(b"N0" * 2000 + b"K\x01Q.")).load()
    assert loaded == [[1, 2, 3]] * 3
    assert gc.isenabled()


def test_one_unpickler_in_two_threads():
    """The one that comes second gets an error; nothing breaks."""
    inside, leave = threading.Event(), threading.Event()

    class Slow(achar.pickle.Unpickler):
        def persistent_load(self, pid):
            inside.set()
            assert leave.wait(150)
            return pid

    loader = Slow(io.BytesIO(b"K\x01Q.K\x02."))
    results = []
    thread = threading.Thread(target=lambda: results.append(loader.load()))
    thread.start()
    assert inside.wait(150)
    with pytest.raises(RuntimeError, match="already used"):
        loader.load()
    leave.set()
    thread.join(150)
    assert results == [1]
    assert loader.load() == 2


def test_many_threads():
    value = [{"a": i, "b": [str(i)] * 3} for i in range(500)]
    data = pickle.dumps(value)
    wrong = []

    def work():
        for _ in range(30):
            if achar.pickle.loads(data) != value or achar.load(io.BytesIO(data)) != value:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(250)
    assert not wrong
    assert gc.isenabled()


# ---- mischief with what the loader holds ----


def test_memo_cleared_while_loading():
    class Forgetful(achar.pickle.Unpickler):
        def persistent_load(self, pid):
            self.memo.clear()
            return pid

    many = b"".join(b"]r" + i.to_bytes(4, "little") for i in range(300))
    loader = Forgetful(io.BytesIO(b"(" + many + b"K\x01Q\x94h\x00t."))
    assert loader.load()[-1] == 1
    assert loader.memo.copy() == {0: 1}

    class Finalizer:
        def __del__(self):
            loader.memo = {}

    loader = achar.pickle.Unpickler(io.BytesIO(b"Nq\x00Nq\x01."))
    loader.memo = {0: Finalizer(), 5000: Finalizer()}
    loader.load()
    assert loader.memo.copy() == {1: None}


def test_containers_changed_while_loading():
    """What lies on the stack is reached through the memo and changed by the callback."""

    class Meddler(achar.pickle.Unpickler):
        def persistent_load(self, pid):
            for value in self.memo.copy().values():
                value.clear()
            return "x"

    assert Meddler(io.BytesIO(b"]q\x00(K\x01K\x02K\x03QK\x04e.")).load() == [1, 2, "x", 4]
    assert Meddler(io.BytesIO(b"}q\x00(K\x01K\x02K\x03K\x04QK\x05K\x06u.")).load() == {1: 2, 3: "x", 5: 6}
    sorting = [3, 1, 2]

    class Sorter(achar.pickle.Unpickler):
        def persistent_load(self, pid):
            return sorting

    def key(item):
        with pytest.raises((ValueError, pickle.UnpicklingError)):
            raise ValueError
        Sorter(io.BytesIO(b"K\x01Q(K\x07K\x08K\x09e.")).load()
        return item

    with pytest.raises(ValueError, match="list modified during sort"):
        sorting.sort(key=key)


def test_persistent_load_replaced_while_loading():
    class Changing(achar.pickle.Unpickler):
        def persistent_load(self, pid):
            self.persistent_load = lambda pid: "new"
            return "old"

    loaded = Changing(io.BytesIO(b"(K\x01QK\x01Qt.")).load()
    assert loaded[0] == "old" and loaded[1] in ("old", "new")


def test_persistent_load():
    assert achar.pickle.loads(b"N.") is None
    for loads in (_pickle.loads, achar.pickle.loads, achar.loads):
        for data in (b"Pid\n.", b"K\x01Q."):
            with pytest.raises(pickle.UnpicklingError, match="no persistent_load function was specified"):
                loads(data)
    loader = achar.pickle.Unpickler(io.BytesIO(b"Pid\n.K\x07Q.P\xff\n."))
    loader.persistent_load = lambda pid: [pid]
    assert loader.load() == ["id"]
    assert loader.load() == [7]
    with pytest.raises(pickle.UnpicklingError, match="persistent IDs in protocol 0 must be ASCII strings"):
        loader.load()


def test_unpickler_without_init():
    class Bare(achar.pickle.Unpickler):
        def __init__(self):
            pass

    with pytest.raises(pickle.UnpicklingError, match=r"__init__\(\) was not called by Bare"):
        Bare().load()
    assert Bare().find_class("os", "path")
    failed = achar.pickle.Unpickler(io.BytesIO(b"N.N."))
    with pytest.raises(TypeError):
        failed.__init__(object())
    with pytest.raises(pickle.UnpicklingError):
        failed.load()


def test_memo_is_kept_and_can_be_set():
    shared = ["shared"]
    out = io.BytesIO()
    pickler = _pickle.Pickler(out, 4)
    pickler.dump(shared)
    pickler.dump([shared, shared])
    loader = achar.pickle.Unpickler(io.BytesIO(out.getvalue()))
    first = loader.load()
    second = loader.load()
    assert second[0] is first and second[1] is first
    memo = loader.memo.copy()
    assert memo[0] is first
    other = achar.pickle.Unpickler(io.BytesIO(b"h\x00."))
    other.memo = loader.memo
    assert other.load() is first
    loader.memo.clear()
    assert loader.memo.copy() == {}
    assert pickle.loads(_pickle.dumps(other.memo)) == memo
    for wrong, error in ((5, TypeError), ({"a": 1}, TypeError), ({-1: 1}, ValueError), ({2**70: 1}, OverflowError)):
        with pytest.raises(error):
            other.memo = wrong
    assert other.memo.copy() == memo
    with pytest.raises(TypeError):
        del other.memo
    with pytest.raises(TypeError):
        hash(other.memo)


# ---- the collector ----


def test_collector_runs_in_callbacks_and_is_left_as_found():
    states = []

    def note(*args):
        states.append(gc.isenabled())
        return []

    builtins.achar_test_note = note
    try:
        data = b"N0" * 1000 + b"(cbuiltins\nachar_test_note\n)Rcbuiltins\nachar_test_note\n)Rt."
        assert achar.pickle.loads(data) == ([], [])
        assert states == [True, True] and gc.isenabled()
        gc.disable()
        achar.pickle.loads(data)
        assert states[2:] == [False, False] and not gc.isenabled()
        gc.enable()
        with pytest.raises(pickle.UnpicklingError):
            achar.pickle.loads(data[:-1] + b"0000.")
        assert gc.isenabled()
        # What a callback decides stays.
        builtins.achar_test_note = lambda: gc.disable()
        achar.pickle.loads(data)
        assert not gc.isenabled()
    finally:
        gc.enable()
        del builtins.achar_test_note


# ---- leaks ----


def leak_cases():
    good = _pickle.dumps({"a": [1, (2, 3), {4}], "b": io.BytesIO(b"x"), "c": [Hooks(), Hooks()]}, 5)
    yield lambda: achar.pickle.loads(good)
    yield lambda: achar.load(io.BytesIO(good))
    yield lambda: achar.Unpickler(io.BufferedReader(io.BytesIO(good))).load()
    for at in range(0, len(good), 7):
        yield lambda at=at: achar.pickle.loads(good[:at])
        yield lambda at=at: achar.loads(good[:at])
    for data in CALLBACKS.values():
        yield lambda data=data: achar.loads(data, encoding="latin1", buffers=raising_buffers())
        yield lambda data=data: UNPICKLERS[0](io.BytesIO(data), encoding="latin1", buffers=raising_buffers()).load()
    yield lambda: achar.pickle.loads(b"Nr\xff\xff\xff\x0f(Nr\xff\xff\xff\x0fN\x94")
    yield lambda: achar.pickle.loads(b"N" * 500)
    yield lambda: achar.pickle.loads(b"(" * 500)
    yield lambda: achar.loads(b"cno_such_module\nname\n.")
    yield lambda: achar.pickle.load(5)
    yield lambda: achar.pickle.loads(b"N.", encoding=5)


def test_no_leaks():
    def blocks():
        gc.collect()
        return sys.getallocatedblocks()

    for case in leak_cases():

        def attempt(case=case):
            try:
                case()
            except Exception:
                pass

        for _ in range(3):
            attempt()
        grown = []
        while len(grown) < 6:  # caches of the interpreter may still fill up; a leak grows every time
            before = blocks()
            for _ in range(50):
                attempt()
            grown.append(blocks() - before)
            if grown[-1] < 25:
                break
        else:
            pytest.fail(f"blocks that 50 times {case}, {case.__defaults__} left behind: {grown}")


def test_cycles_through_an_unpickler_are_collected():
    class Mine(achar.pickle.Unpickler):
        pass

    loader = Mine(io.BytesIO(b"]q\x00."))
    loader.load().append(loader)
    loader.persistent_load = lambda pid, loader=loader: loader
    gone = weakref.ref(loader)
    del loader
    gc.collect()
    assert gone() is None


def test_arguments():
    data = pickle.dumps([1])
    assert achar.pickle.load(file=io.BytesIO(data)) == [1]
    for wrong in (
        lambda: achar.pickle.loads(),
        lambda: achar.pickle.loads(data, data),
        lambda: achar.pickle.loads(data=data),
        lambda: achar.pickle.loads(data, no_such=1),
        lambda: achar.pickle.loads("text"),
        lambda: achar.pickle.loads(data, encoding=None),
        lambda: achar.pickle.loads(data, errors=b"strict"),
        lambda: achar.pickle.loads(data, buffers=5),
        lambda: achar.pickle.load(data),
        lambda: achar.pickle.load(io.BytesIO(data), file=io.BytesIO(data)),
        lambda: achar.pickle.Unpickler(),
        lambda: achar.pickle.Unpickler(io.BytesIO(), True),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="null character"):
        achar.pickle.loads(data, encoding="a\0b")
    assert achar.pickle.loads(memoryview(b"x" + data)[1:]) == [1]

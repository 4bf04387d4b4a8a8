"""achar.compat: the names of cloudpickle and dill do what they do there."""

import copyreg
import io
import pickle
import socket
import subprocess
import sys
import threading
import types

import pytest
from achar.compat import cloudpickle, dill


def a_module(name):
    module = types.ModuleType(name)
    module.__file__ = "x"
    exec("def f(): return 'by value'", module.__dict__)
    sys.modules[name] = module
    return module


def test_cloudpickle_round_trip(tmp_path):
    n = 3
    f = cloudpickle.loads(cloudpickle.dumps(lambda x: x + n))
    assert f(4) == 7
    with open(tmp_path / "f", "wb") as file:
        cloudpickle.dump(lambda: n, file)
    with open(tmp_path / "f", "rb") as file:
        assert cloudpickle.load(file)() == 3


def test_cloudpickle_pickler_is_subclassed(tmp_path):
    class Own(cloudpickle.CloudPickler):
        def reducer_override(self, obj):
            return (str, ("instead",)) if isinstance(obj, socket.socket) else NotImplemented

    with open(tmp_path / "f", "wb") as file, socket.socket() as s:
        Own(file).dump([s, lambda: 1])
    with open(tmp_path / "f", "rb") as file:
        text, f = pickle.load(file)
    assert (text, f()) == ("instead", 1)


def test_cloudpickle_registry():
    module = a_module("registered_here")
    try:
        assert b"registered_here" in cloudpickle.dumps(module.f)
        cloudpickle.register_pickle_by_value(module)
        assert cloudpickle.list_registry_pickle_by_value() == {"registered_here"}
        data = cloudpickle.dumps(module.f)
        cloudpickle.unregister_pickle_by_value(module)
        with pytest.raises(ValueError, match="not registered"):
            cloudpickle.unregister_pickle_by_value(module)
        with pytest.raises(ValueError, match="should be a module"):
            cloudpickle.register_pickle_by_value("registered_here")
    finally:
        del sys.modules["registered_here"]
    assert cloudpickle.loads(data)() == "by value"
    with pytest.raises(ValueError, match="import"):
        cloudpickle.register_pickle_by_value(module)


def test_cloudpickle_recursion_is_a_pickling_error():
    class Endless:
        def __reduce__(self):
            return self.__reduce__()

    with pytest.raises(pickle.PicklingError, match="recursion"):
        cloudpickle.dumps(Endless())


class Bad:
    def __init__(self):
        self.lock, self.fine = threading.Lock(), 1


def test_dill(tmp_path):
    assert dill.copy(lambda: 5)() == 5
    assert dill.loads(dill.dumps([1], recurse=True, byref=False)) == [1]
    assert dill.pickles(lambda: 1) and dill.pickles([1], exact=True)
    assert not dill.pickles(threading.Lock()) and not dill.pickles(Bad())
    with open(tmp_path / "f", "wb") as file:
        dill.dump({"a": 1}, file)
    with open(tmp_path / "f", "rb") as file:
        assert dill.load(file) == {"a": 1}


def test_dill_detect():
    bad = Bad()
    assert dill.detect.baditems([1, bad, bad.lock, "x"]) == [bad, bad.lock]
    assert dill.detect.badobjects(bad) is bad and dill.detect.badobjects(1) is None
    assert dill.detect.badobjects(bad, depth=1)["lock"] is bad.lock
    assert dill.detect.badtypes(bad) is Bad
    assert "lock" in str(dill.detect.errors(bad)) and dill.detect.errors([1]) is None
    assert isinstance(dill.detect.errors(bad, depth=1)["lock"], pickle.PicklingError)


def test_nothing_of_the_originals_is_imported():
    code = "import sys; from achar.compat import cloudpickle, dill; assert not {'cloudpickle', 'dill'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_cloudpickle_has_its_submodules_and_names():
    from achar.compat.cloudpickle import cloudpickle as inner
    from achar.compat.cloudpickle import cloudpickle_fast

    assert cloudpickle.cloudpickle is inner and cloudpickle_fast.CloudPickler is cloudpickle.Pickler
    for name in ("subimport", "dynamic_subimport", "instance", "CellType", "PYPY", "GLOBAL_OPS", "DEFAULT_PROTOCOL"):
        assert getattr(cloudpickle, name) is getattr(inner, name)
    assert cloudpickle.__version__.split(".")[0] == "3"
    assert cloudpickle.subimport("xml.dom").__name__ == "xml.dom"
    assert cloudpickle.dynamic_subimport("made", {"x": 1}).x == 1
    assert cloudpickle.instance(dict) == {}
    with pytest.raises(AttributeError, match=r"no '_make_function'.*achar\._v1"):
        _ = cloudpickle._make_function
    assert not hasattr(inner, "_class_setstate")
    with pytest.raises(ImportError, match="_class_setstate"):
        from achar.compat.cloudpickle import _class_setstate  # noqa: F401


def test_cloudpickle_dispatch_is_for_all_ways_to_pickle(tmp_path):
    class Held:
        pass

    def reduce_held(held):
        return str, ("as dispatched",)

    cloudpickle.CloudPickler.dispatch[Held] = reduce_held
    try:
        assert Held not in copyreg.dispatch_table
        assert cloudpickle.loads(cloudpickle.dumps([Held()])) == ["as dispatched"]
        with io.BytesIO() as file:
            cloudpickle.dump([Held()], file)
            assert cloudpickle.loads(file.getvalue()) == ["as dispatched"]
    finally:
        del cloudpickle.CloudPickler.dispatch[Held]
    assert type(cloudpickle.loads(cloudpickle.dumps(Held()))) is Held


def test_cloudpickle_in_its_place():
    """A program that imports cloudpickle itself, as joblib and distributed do, given achar's."""
    code = """
import sys, achar.compat.cloudpickle as ours
sys.modules["cloudpickle"] = ours
sys.modules["cloudpickle.cloudpickle"] = ours.cloudpickle
import cloudpickle
from cloudpickle import CloudPickler, Pickler, dumps, loads, register_pickle_by_value
from cloudpickle.cloudpickle import CloudPickler, _should_pickle_by_reference, is_tornado_coroutine
n = 3
assert loads(dumps(lambda: n))() == 3 and cloudpickle.__version__ > "3"
assert not _should_pickle_by_reference(lambda: n)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_what_dill_has_and_this_has_not_says_what_there_is():
    for name, instead in {
        "settings": "nothing to set",
        "source": "source=True",
        "dump_module": "sessions are not covered",
        "register": "copyreg.pickle",
        "whatever": "docs/compat.md",
    }.items():
        with pytest.raises(AttributeError, match=f"achar.compat.dill has no '{name}': .*{instead}"):
            getattr(dill, name)

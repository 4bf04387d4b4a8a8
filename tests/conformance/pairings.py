"""CPython's own pickle tests, run against achar.pickle: one pairing of pickler and unpickler.

    python pairings.py 'ours->C'

Run by run.py in each interpreter. The tests are the abstract classes of test.test_pickle with
pickler and unpickler taken from two of: ours (achar.pickle), Py (pickle.py), C (_pickle).
"""

import _pickle
import collections
import io
import pickle
import sys
import unittest
from types import SimpleNamespace

import achar.pickle as achar_pickle
import report
import test.test_pickle as tp  # by module: an imported test class would be collected twice

PAIRINGS = ["ours->ours", "ours->Py", "Py->ours", "ours->C", "C->ours"]

SIDES = {
    "ours": achar_pickle,
    "C": SimpleNamespace(
        Pickler=_pickle.Pickler, Unpickler=_pickle.Unpickler,
        dump=_pickle.dump, dumps=_pickle.dumps, load=_pickle.load, loads=_pickle.loads,
    ),
    "Py": SimpleNamespace(
        Pickler=pickle._Pickler, Unpickler=pickle._Unpickler,
        dump=pickle._dump, dumps=pickle._dumps, load=pickle._load, loads=pickle._loads,
    ),
}  # fmt: skip


def classes_of(pairing):
    """The test classes of one pairing."""
    saving, loading = (SIDES[name] for name in pairing.split("->"))
    in_c = loading is not SIDES["Py"]
    names = {
        "pickler": saving.Pickler,
        "unpickler": loading.Unpickler,
        "pickler_class": saving.Pickler,
        "unpickler_class": loading.Unpickler,
        "persistent_load_error": pickle.UnpicklingError,
    }
    if in_c:
        names["bad_stack_errors"] = (pickle.UnpicklingError,)
        names["truncated_errors"] = (pickle.UnpicklingError,)

    def derive(name, *bases, **more):
        return type(name, bases, {**names, **more, "__module__": __name__})

    yield derive("Pickler", tp.PyPicklerTests)
    yield derive("PersistentPickler", tp.PyPersPicklerTests)
    yield derive("IdentityPersistentPickler", tp.PyIdPersPicklerTests)
    yield derive("Objects", tp.PyPicklerUnpicklerObjectTests)
    yield derive(
        "Module", tp.AbstractPickleModuleTests, unittest.TestCase,
        dump=staticmethod(saving.dump), dumps=staticmethod(saving.dumps),
        load=staticmethod(loading.load), loads=staticmethod(loading.loads),
        Pickler=saving.Pickler, Unpickler=loading.Unpickler,
    )  # fmt: skip

    def dumps(self, arg, protocol=None, **keywords):
        return saving.dumps(arg, protocol, **keywords)

    def loads(self, data, **keywords):
        return loading.loads(data, **keywords)

    yield derive("InMemory", tp.InMemoryPickleTests, dumps=dumps, loads=loads)
    if pairing != "ours->ours":
        return

    # What concerns one side alone.
    yield derive("Unpickler", tp.PyUnpicklerTests)
    if hasattr(tp, "PyPicklingErrorTests"):
        yield derive("PicklingErrors", tp.PyPicklingErrorTests)
    yield derive("DispatchTable", tp.PyDispatchTableTests)
    yield derive(
        "ChainDispatchTable", tp.PyChainDispatchTableTests,
        get_dispatch_table=lambda self: collections.ChainMap({}, pickle.dispatch_table),
    )  # fmt: skip
    custom = type("CustomPickler", (saving.Pickler, tp.AbstractCustomPicklerClass), {})
    yield derive("Hooks", tp.PyPicklerHookTests, pickler_class=custom)

    def test_issue18339(self):
        unpickler = self.unpickler_class(io.BytesIO())
        with self.assertRaises(TypeError):
            unpickler.memo = object
        with self.assertRaises(ValueError):
            unpickler.memo = {-1: None}
        unpickler.memo = {1: None}

    yield derive("Memo", tp.PyPicklerUnpicklerObjectTests, test_issue18339=test_issue18339)


def main(pairing):
    suite = unittest.TestSuite()
    for test_class in classes_of(pairing):
        setattr(sys.modules[__name__], test_class.__name__, test_class)
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(test_class))
    report.run(suite)


if __name__ == "__main__":
    main(sys.argv[1])

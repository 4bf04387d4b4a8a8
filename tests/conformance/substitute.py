"""CPython's test_pickle, test_pickletools or test_picklebuffer, unmodified, with achar as _pickle.

    python substitute.py EXTENSION test.test_pickle

Run by run.py in each interpreter. achar's strict module takes the place of _pickle in sys.modules
before pickle is first imported.
"""

import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location


def stand_in(extension):
    loader = ExtensionFileLoader("achar._achar", extension)
    module = module_from_spec(spec_from_file_location("achar._achar", extension, loader=loader))
    loader.exec_module(module)
    if "pickle" in sys.modules:
        sys.exit("pickle was imported before achar could take the place of _pickle")
    sys.modules["_pickle"] = module.strict
    import pickle

    if pickle.loads is not module.strict.loads or pickle.dumps is not module.strict.dumps:
        sys.exit("pickle does not use what stands in for _pickle")


stand_in(sys.argv[1])

import unittest  # noqa: E402  after the substitution, and so for all they import

import report  # noqa: E402

# The one class that is waived: it compares the sizes of _pickle's private C structs.
WAIVED = {"SizeofTests"}


def without_waived(suite):
    kept = unittest.TestSuite()
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            kept.addTest(without_waived(test))
        elif type(test).__name__ not in WAIVED:
            kept.addTest(test)
    return kept


report.run(without_waived(unittest.defaultTestLoader.loadTestsFromName(sys.argv[2])))

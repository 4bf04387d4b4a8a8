"""Kinds of objects, each with a check that uses it.

The files cases_*.py are scripts: what they define lives in __main__, so it travels by value. Each
case is a function that returns (object, check). main() writes both, pickled, to the file named on
the command line; check(object) runs in a fresh process, receive.py, and must return True. Options of
dumps that are to be true follow the file's name.
"""

import json
import pickle
import sys
import traceback

CASES = []


def case(function):
    CASES.append(function)
    return function


def main():
    """Writes [(case, object's bytes, check's bytes)]; prints {case: traceback} of those that fail."""
    from byvalue_support import dumps

    options = dict.fromkeys(sys.argv[2:], True)
    written, failed = [], {}
    for make in CASES:
        try:
            obj, check = make()
            written.append((make.__name__, dumps(obj, **options), dumps(check, **options)))
        except Exception:
            failed[make.__name__] = traceback.format_exc()
    with open(sys.argv[1], "wb") as file:
        pickle.dump(written, file)
    json.dump(failed, sys.stdout)

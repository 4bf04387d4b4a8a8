"""Kinds of objects, each with a check that uses it.

The files cases_*.py are scripts: what they define lives in __main__, so it travels by value. Each
case is a function that returns (object, check). main() writes both, pickled, to the file named on
the command line; check(object) runs in a fresh process, receive.py, and must return True. Options of
dumps that are to be true follow the file's name; "shallow" among them leaves out what is nested 100,000 deep,
which is most of the time that all of it takes. With --executor in its place, each case that is an
exception is raised in a task of an executor and checked when it arrives; main() prints what went wrong.
"""

import json
import pickle
import sys
import traceback

CASES = []


def case(function):
    CASES.append(function)
    return function


def fail(make):
    """A task that raises a case's exception."""
    raise make()[0]


def detach(error):
    """Takes off what an executor adds at the end of the chain of causes; returns its text."""
    seen = []
    while type(error.__cause__).__name__ != "RemoteTraceback":
        seen.append(error)
        error = error.__cause__
        assert error is not None and not any(error is one for one in seen), "no remote traceback"
    remote, suppressed = error.__cause__, error.__suppress_context__
    error.__cause__ = None  # which also suppresses the context
    error.__suppress_context__ = suppressed
    return str(remote)


def through_executor():
    """{case: None or what went wrong}, of the cases that are exceptions, each raised in a task."""
    import achar

    results = {}
    with achar.Executor(1) as executor:
        for make in CASES:
            obj, check = make()
            if not isinstance(obj, BaseException):
                continue
            error = executor.submit(fail, make).exception(60)
            try:
                text = detach(error)
                assert "in fail" in text and type(obj).__name__ in text, text
                results[make.__name__] = None if check(error) else f"check failed of {error!r}"
            except Exception:
                results[make.__name__] = traceback.format_exc()
    return results


def main():
    """Writes [(case, object's bytes, check's bytes)]; prints {case: traceback} of those that fail."""
    if sys.argv[1] == "--executor":
        json.dump(through_executor(), sys.stdout)
        return
    from byvalue_support import dumps

    options = dict.fromkeys(sys.argv[2:], True)
    shallow = options.pop("shallow", False)
    written, failed = [], {}
    for make in CASES:
        if shallow and make.__name__.startswith("nested_100_000_"):
            continue
        try:
            obj, check = make()
            written.append((make.__name__, dumps(obj, **options), dumps(check, **options)))
        except Exception:
            failed[make.__name__] = traceback.format_exc()
    with open(sys.argv[1], "wb") as file:
        pickle.dump(written, file)
    json.dump(failed, sys.stdout)

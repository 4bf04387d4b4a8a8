"""Wrong arguments, to every function and method: the errors are the interpreter's own, word for word."""

import _pickle
import io
import sys

import achar
import achar.pickle
import pytest


class File(io.BytesIO):
    """One of its own for each call."""


class NoTruth:
    def __bool__(self):
        raise ValueError("neither true nor false")


PICKLE = b"N."
KEYWORDS = [
    *["obj", "file", "protocol", "fix_imports", "buffer_callback", "data", "encoding", "errors", "buffers"],
    *["nonsense", "pid", "module_name", "self", ""],
]
VALUES = [None, 1, "x", PICKLE, 2**70, -1, 6, 1.5, File, object, NoTruth(), "a\0b", "\ud800", "ASCII"]
TARGETS = {
    "dump": (lambda module: module.dump, [1, File, 4]),
    "dumps": (lambda module: module.dumps, [1, 4]),
    "load": (lambda module: module.load, [File]),
    "loads": (lambda module: module.loads, [PICKLE]),
    "Pickler": (lambda module: module.Pickler, [File, 4]),
    "Unpickler": (lambda module: module.Unpickler, [File]),
    "Pickler.__init__": (lambda module: module.Pickler(File()).__init__, [File, 4]),
    "Unpickler.__init__": (lambda module: module.Unpickler(File()).__init__, [File]),
    "Pickler.dump": (lambda module: module.Pickler(File()).dump, [1]),
    "Pickler.clear_memo": (lambda module: module.Pickler(File()).clear_memo, []),
    "Pickler.memo.copy": (lambda module: module.Pickler(File()).memo.copy, []),
    "Pickler.memo.clear": (lambda module: module.Pickler(File()).memo.clear, []),
    "Unpickler.load": (lambda module: module.Unpickler(File(PICKLE)).load, []),
    "Unpickler.find_class": (lambda module: module.Unpickler(File()).find_class, ["os", "getcwd"]),
    "Unpickler.memo.copy": (lambda module: module.Unpickler(File()).memo.copy, []),
    "Pickler.dump, unbound": (lambda module: module.Pickler.dump, []),
    "Unpickler.load, unbound": (lambda module: module.Unpickler.load, []),
    "Unpickler.find_class, unbound": (lambda module: module.Unpickler.find_class, []),
}
# Later interpreters pass these the class that defines them, and word errors for it in other ways.
if sys.version_info >= (3, 12):
    for method in ("Pickler.dump", "Unpickler.load", "Unpickler.find_class"):
        del TARGETS[method]


def calls(good):
    """(positional arguments, keywords) of every kind around the good ones."""
    for count in range(len(good) + 4):
        yield [*good, 2, 3, 4, 5][:count], {}
    for count in range(len(good) + 1):
        for keyword in KEYWORDS:
            for value in VALUES:
                yield good[:count], {keyword: value}
        yield good[:count], {"nonsense": 1, "more": 2}
        yield good[:count], {"more": 1, "obj": 2, "file": File, "data": PICKLE}
        yield good[:count], {"buffers": None, "file": File, "encoding": "ASCII"}
        yield good[:count], {keyword: 1 for keyword in KEYWORDS}
    for place in range(len(good)):
        for value in VALUES:
            yield good[:place] + [value] + good[place + 1 :], {}
    yield [1] * 10, {"obj": 1}
    yield [File], {"file": File, "encoding": 5}


def outcome(function, positional, keywords):
    def fresh(value):
        return value(PICKLE) if value is File else value

    try:
        result = function(*map(fresh, positional), **{key: fresh(value) for key, value in keywords.items()})
    except Exception as error:
        return type(error), str(error).replace("achar.pickle", "_pickle")
    return result if isinstance(result, (bytes, int, dict, type(None))) else type(result).__name__


@pytest.mark.parametrize("name", TARGETS)
def test_wrong_arguments(name):
    find, good = TARGETS[name]
    failed = 0
    for positional, keywords in calls(good):
        want = outcome(find(_pickle), positional, keywords)
        assert outcome(find(achar.pickle), positional, keywords) == want, (positional, keywords)
        failed += isinstance(want, tuple) and want[0] is TypeError
    assert failed > 10


@pytest.mark.parametrize("name", ["dump", "dumps", "load", "loads"])
def test_the_superset_words_it_alike(name):
    find, good = TARGETS[name]
    for count in range(len(good) + 4):
        for keywords in ({}, {"nonsense": 1}, {"obj": 1}, {"file": File}):
            positional = [*good, 2, 3, 4, 5][:count]
            want = outcome(find(_pickle), positional, keywords)
            if isinstance(want, tuple) and "arguments (" not in want[1]:  # it takes more
                assert outcome(find(achar), positional, keywords) == want

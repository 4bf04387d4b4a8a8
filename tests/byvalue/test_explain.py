"""explain() says before anything is sent what dumps would do; warn_size= what made a pickle large."""

import json
import socket
import threading
import warnings

import achar
import achar.pickle
import numpy
import pytest
from byvalue_support import dumps, loads

TABLE = list(range(5000))


def make_function(table):
    def task(x):
        return table[x] + numpy.add(1, 2) + len(json.dumps(x))

    return task


def named(parts, name):
    return next(part for part in parts if part.name == name)


def test_by_name_and_by_value():
    found = achar.explain(make_function(TABLE))
    assert found.nbytes == len(dumps(make_function(TABLE))) and not found.problems
    task = found.by_value[0]
    assert task.name.endswith("make_function.<locals>.task") and task.why == "it is defined inside a function"
    assert task.nbytes > 10_000 and task.captures["enclosing table"] == len(dumps(TABLE))
    assert named(found.by_name, "numpy").version == numpy.__version__
    text = str(found)
    assert f"numpy: by name, from numpy {numpy.__version__}, must be installed there" in text
    assert "json: by name, from json\n" in text + "\n" and "enclosing table: " in text


def test_registered_module():
    import byvalue_support

    achar.register_by_value(byvalue_support)
    try:
        found = achar.explain(byvalue_support.run_python)
    finally:
        achar.unregister_by_value(byvalue_support)
    assert found.by_value[0].why == "byvalue_support was given to register_by_value"


class Client:
    def __init__(self):
        self.sock, self.lock = socket.socket(), threading.Lock()


def test_everything_that_fails_is_found():
    client = Client()
    found = achar.explain({"clients": [client], "event": threading.Event()})
    client.sock.close()
    assert found.nbytes is None
    assert [p.path for p in found.problems] == [
        "obj['clients'][0].sock",
        "obj['clients'][0].lock",
        "obj['event']",
    ]
    assert all("\n  why: " in str(p) and "\n  do:  " in str(p) for p in found.problems)
    assert str(found).startswith("cannot be sent: 3 problems\n")


def test_an_exception_of_user_code_ends_it():
    class Broken:
        def __reduce__(self):
            raise ValueError("broken")

    (problem,) = achar.explain([Broken()]).problems
    assert isinstance(problem.error, ValueError)


def test_warn_size():
    function = make_function(TABLE)
    with pytest.warns(achar.LargePickleWarning) as caught:
        data = dumps(function, warn_size=1000)
    text = str(caught[0].message)
    assert "more than warn_size=1000" in text
    assert "task takes along enclosing table" in text and "\n  do:  " in text
    assert data == dumps(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dumps(function, warn_size=1_000_000)
        with pytest.raises(achar.LargePickleWarning):
            dumps(b"x" * 2000, warn_size=1000)


def test_fresh_locks():
    lock = threading.Lock()
    with lock:
        fresh, again = loads(dumps([lock, lock], locks="fresh"))
    assert fresh.acquire(blocking=False) and fresh is again
    event = threading.Event()
    event.set()
    assert loads(dumps(event, locks="fresh")).is_set()
    semaphore = loads(dumps(threading.Semaphore(2), locks="fresh"))
    assert [semaphore.acquire(blocking=False) for _ in range(3)] == [True, True, False]
    with loads(dumps(threading.Condition(), locks="fresh")) as held, loads(dumps(threading.RLock(), locks="fresh")):
        assert held
    with pytest.raises(ValueError, match="'fresh'"):
        dumps(lock, locks="stale")
    with pytest.raises(TypeError, match="keyword argument"):
        achar.pickle.dumps(lock, locks="fresh")

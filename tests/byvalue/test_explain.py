"""explain() says before anything is sent what dumps would do; warn_size= what made a pickle large."""

import functools
import inspect
import io
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


def local_class():
    class Local:
        table = TABLE
        other = "x" * 100

        def method(self):
            return 1

    return Local


def slotted():
    class Slotted:
        __slots__ = ("__data",)

        def __init__(self, table):
            self.__data = {"rows": [1, table]}

    return Slotted(TABLE)


def captured_in_method():
    rows = {"x": TABLE}

    class Local:
        def run(self):
            return rows

    return [Local()]


LARGE = [
    (make_function(TABLE), "task takes along enclosing table; obj.__closure__[0].cell_contents (list of 5,000) has "),
    (local_class(), "Local takes along attribute table; obj.table (list of 5,000) has "),
    ([local_class()()], "Local takes along attribute table; obj[0].__class__.table (list of 5,000) has "),
    (slotted(), "obj._Slotted__data['rows'][1] (list of 5,000) has "),
    (captured_in_method(), "obj[0].__class__.run.__closure__[0].cell_contents['x'] (list of 5,000) has "),
    ({"a": numpy.zeros(1000)}, "obj['a'] (numpy.ndarray of 1,000) has "),
    (functools.partial(print, 1, TABLE), "obj.args[1] (list of 5,000) has "),
    (TABLE, "obj is a list of 5,000, and no part of it is most of it"),
    (b"x" * 2000, "obj is a bytes of 2,000, and no part of it is most of it"),
]


@pytest.mark.parametrize("obj, why", LARGE, ids=[why.partition(";")[0] for _, why in LARGE])
def test_warn_size_names_the_largest_piece(obj, why):
    with pytest.warns(achar.LargePickleWarning) as caught:
        dumps(obj, warn_size=1000)
    text = str(caught[0].message)
    assert why in text and "\n  why: " in text and "\n  do:  " in text, text
    assert caught[0].filename == __file__, "the warning is about the line that dumps"


def test_warn_size_of_dump():
    large, small = io.BytesIO(), io.BytesIO()
    big = [TABLE, b"x" * 100_000]  # more than one frame, and what stands outside of any
    with pytest.warns(achar.LargePickleWarning, match="the pickle has 115 kB, more than warn_size=1000") as caught:
        achar.dump(big, large, warn_size=1000)
    assert "obj[1] (bytes of 100,000) has 100 kB" in str(caught[0].message)
    assert large.getvalue() == dumps(big)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        achar.dump(big, small, warn_size=len(dumps(big)))


def test_dump_shows_its_options():
    assert str(inspect.signature(achar.dump)) == str(inspect.signature(achar.dumps)).replace("(obj,", "(obj, file,")
    assert set(inspect.signature(achar.explain).parameters) == set(inspect.signature(dumps).parameters) - {
        "buffer_callback",
        "warn_size",
    }


def test_a_class_says_what_is_large_in_it():
    found = achar.explain(local_class())
    (local,) = [part for part in found.by_value if part.name.endswith("Local")]
    assert list(local.captures)[:2] == ["attribute table", "attribute other"]
    assert "\n      attribute table: 14" in str(found)


def test_options():
    function = make_function([1])
    for options in ({"protocol": 2}, {"deterministic": True}, {"source": True}, {"locks": "fresh"}):
        assert achar.explain(function, **options).nbytes == len(dumps(function, **options)), options
    found = achar.explain(lambda: json.dumps(1), portable=True)
    assert found.nbytes == len(dumps(lambda: json.dumps(1), portable=True))
    assert [part.name.rpartition(".")[2] for part in found.by_value] == ["<lambda>"]
    (problem,) = achar.explain({"k": [function]}, portable=True).problems
    assert "cannot be sent with portable=True" in str(problem) and "numpy" in str(problem)
    assert achar.explain(threading.Lock()).problems and not achar.explain(threading.Lock(), locks="fresh").problems
    with pytest.raises(ValueError, match="exclude each other"):
        achar.explain(1, portable=True, source=True)


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

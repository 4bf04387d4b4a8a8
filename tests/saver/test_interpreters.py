"""Interpreters with a GIL of their own, side by side in one process: each pickles as if it were alone."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

run = getattr(interpreters, "exec", None) or interpreters.run_string
code = '''
import achar, achar.pickle, gc, io, pickle, time

class Point:
    def __init__(self, x):
        self.x = x
    def __eq__(self, other):
        return type(other) is Point and other.x == self.x

class Persistent(achar.pickle.Pickler):
    def persistent_id(self, obj):
        return obj.x if isinstance(obj, Point) and obj.x == 3 else None

class Loading(achar.pickle.Unpickler):
    def persistent_load(self, pid):
        return Point(pid)

def nothing_yet(make):
    return [make(i) for i in range(40)]

value = {
    "points": nothing_yet(Point),
    "text": nothing_yet(lambda i: "text \\u00e9 " * i),
    "numbers": nothing_yet(lambda i: -7 ** i) + nothing_yet(lambda i: i / 3),
    "sets": [{1, 2, "x"}, frozenset([b"bytes"]), {(1, ("a",)): None}],
    "shared": [["x"]] * 20,
}
strict = [pickle.dumps(value, protocol) for protocol in range(6)]
rounds = 0
until = time.monotonic() + 240
while rounds < 60:
    assert time.monotonic() < until
    for protocol in range(6):
        data = achar.pickle.dumps(value, protocol)
        assert data == strict[protocol]
        assert achar.pickle.loads(data) == value
    assert achar.loads(achar.dumps(lambda x: x + rounds))(1) == 1 + rounds
    file = io.BytesIO()
    Persistent(file).dump(value["points"])
    file.seek(0)
    assert Loading(file).load() == value["points"]
    try:
        achar.pickle.loads(data[:-5])
    except Exception as error:
        assert isinstance(error, (pickle.UnpicklingError, EOFError))
    else:
        raise AssertionError
    try:
        achar.pickle.dumps([value, time.sleep, lambda: 0])
    except (pickle.PicklingError, AttributeError):
        pass
    else:
        raise AssertionError
    rounds += 1
assert gc.isenabled()
import os
os.write(int(DONE), b"x")
'''

import os
read, write = os.pipe()
failures = []

def own_gil():
    try:
        return interpreters.create("isolated")  # 3.13
    except TypeError:
        return interpreters.create(isolated=True)

def work():
    try:
        for _ in range(TIMES):
            one = own_gil()
            failed = run(one, code.replace("DONE", str(write)))
            if failed:
                failures.append(failed)
            interpreters.destroy(one)
    except BaseException as error:
        failures.append(repr(error))

TIMES = 2
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
exec(code.replace("DONE", str(write)))  # and the main interpreter beside them
for thread in threads:
    thread.join()
assert not failures, failures[0]
assert os.read(read, 100) == b"x" * (3 * TIMES + 1)
print("done")
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no interpreters with a GIL of their own before 3.12")
def test_side_by_side():
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", SCRIPT], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0 and done.stdout == "done\n", done.stdout + done.stderr[-4000:]

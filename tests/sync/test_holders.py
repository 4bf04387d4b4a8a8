"""Objects that were sent to other processes and then dropped everywhere: their cells are used again."""

import pickle
import subprocess
import sys
from pathlib import Path

import achar
from sync_support import ended, forked

HERE = Path(__file__).parent
ROOM = 65_536  # objects in a space
PRELUDE = """
import os, pickle, signal, sys
import achar
from sync_support import ended, forked

def send_and_drop(count, *makes):
    makes = makes or [achar.Event]
    for number in range(count):
        sent = pickle.dumps(makes[number % len(makes)]())
    return sent

def fails(data):
    try:
        pickle.loads(data)
    except RuntimeError as error:
        return "does not exist any more" in str(error)
    return False
"""


def run(code):
    """In a process of its own: a full space is nothing that other tests should find."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=250, cwd=HERE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dropped_everywhere():
    run(f"send_and_drop({ROOM + 5000}, achar.Event, achar.Condition, achar.Semaphore, achar.Queue)")


def test_who_has_one_keeps_it():
    run(f"""
here = achar.Event()
data = pickle.dumps(here)
loaded = pickle.loads(data)
del here  # another handle is left
send_and_drop({ROOM + 5000})
loaded.set()
assert pickle.loads(data).is_set()
""")


def test_what_is_on_the_way_stays_until_the_room_is_needed():
    run(f"""
first = send_and_drop(1)
send_and_drop(1000)
assert not pickle.loads(first).is_set()  # nobody had it
send_and_drop({2 * ROOM})
assert fails(first)
""")


def test_another_process_keeps_it():
    run(f"""
there, back = achar.Queue(), achar.Queue()

def hold():
    kept = there.get()
    back.put(None)
    there.get()
    back.put(kept)

child = forked(hold)
event = achar.Event()
event.set()
there.put(event)
del event
back.get()
send_and_drop({ROOM + 5000})
there.put(None)
assert back.get().is_set()
assert ended(child) == 0
""")


def test_the_dead_keep_nothing():
    run("""
there, back = achar.Queue(), achar.Queue()

def hold():
    kept = [there.get() for _ in range(40_000)]
    back.put(None)
    signal.pause()

child = forked(hold)
for _ in range(40_000):
    there.put(achar.Event())
back.get()
os.kill(child, signal.SIGKILL)
ended(child)
kept = [achar.Event() for _ in range(60_000)]  # more than are left beside the dead's
""")


def test_what_a_forked_child_has_stays():
    run(f"""
ready, go = achar.Event(), achar.Event()
event = achar.Event()

def use():
    ready.set()
    assert go.wait(200) and event.is_set()

child = forked(use)
assert ready.wait(200)
event.set()
data = pickle.dumps(event)
del event
send_and_drop({ROOM + 5000})
go.set()
assert ended(child) == 0
assert pickle.loads(data).is_set()
""")


def test_a_holder_that_forked_and_died_leaves_it_to_its_child():
    run(f"""
there, back = achar.Queue(), achar.Queue()

def hold():
    kept = there.get()

    def inherit():
        there.get()
        back.put(kept.is_set())

    forked(inherit)
    os._exit(0)

middle = forked(hold)
event = achar.Event()
event.set()
there.put(event)
del event
assert ended(middle) == 0
send_and_drop({ROOM + 5000})
there.put(None)
assert back.get(timeout=200) is True
""")


def test_a_pickle_by_a_forked_child():
    event = achar.Event()
    queue = achar.Queue()
    assert ended(forked(lambda: queue.put(pickle.dumps(event)))) == 0
    pickle.loads(queue.get()).set()
    assert event.is_set()


def test_what_forked_children_make_and_never_send_makes_room():
    run("""
def make_many():
    made = [achar.Lock() for _ in range(4000)]
    os._exit(0)  # without collecting anything

for _ in range(20):
    assert ended(forked(make_many)) == 0
achar.Lock()
""")


def test_many_processes_come_and_go_while_nobody_waits():
    run("""
lock = achar.Lock()

def use():
    with lock:
        pass

for _ in range(600):  # there are 512 places
    assert ended(forked(use)) == 0
""")

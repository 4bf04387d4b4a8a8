"""Programs in the manner of the standard documentation, run as they stand and with only the constructors changed.

Each is run with threading's or multiprocessing's classes and then with achar's in their place; both have
to print the same lines.
"""

import re
import subprocess
import sys

import pytest

NAMES = "Lock|RLock|Condition|Event|Semaphore|BoundedSemaphore|Barrier|Queue|JoinableQueue"

PROGRAMS = {
    # threading: Condition objects, "the typical programming style", with a bounded buffer
    "producer and consumer": """
import threading
cv, full = threading.Condition(), None
lock = threading.Lock()
not_empty, not_full = threading.Condition(lock), threading.Condition(lock)
items = []

def consumer():
    for _ in range(200):
        with not_empty:
            while not items:
                not_empty.wait()
            taken.append(items.pop(0))
            not_full.notify()

def producer(first):
    for item in range(first, first + 200):
        with not_full:
            not_full.wait_for(lambda: len(items) < 3)
            items.append(item)
            not_empty.notify()

taken = []
threads = [threading.Thread(target=consumer) for _ in range(3)]
threads += [threading.Thread(target=producer, args=(n * 200,)) for n in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(taken) == list(range(600)), lock.locked(), items)
""",
    # threading: Condition objects, wait_for with a time limit; errors
    "time limits and mistakes": """
import threading
cv = threading.Condition()
with cv:
    print(cv.wait(0.01), cv.wait_for(lambda: False, timeout=0.01), cv.wait_for(lambda: 7))
for call in (cv.wait, cv.notify, cv.notify_all, cv.release):
    try:
        call()
    except RuntimeError as error:
        print(error)
semaphore = threading.BoundedSemaphore(2)
with semaphore:
    print(semaphore.acquire(blocking=False), semaphore.acquire(blocking=False))
    semaphore.release()
try:
    semaphore.release()
except ValueError as error:
    print(error)
""",
    # threading: Barrier objects, server and client
    "barrier": """
import threading
b = threading.Barrier(2, timeout=100)
said = []

def server():
    said.append("server is up")
    b.wait()
    b.wait()
    said.append("server has a connection")

def client():
    b.wait()
    said.append("client connects")
    b.wait()

threads = [threading.Thread(target=each) for each in (server, client)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(said, b.parties, b.n_waiting, b.broken)
b.abort()
try:
    b.wait()
except threading.BrokenBarrierError:
    print("broken")
""",
    # threading: Semaphore objects, a pool of connections; Event objects
    "pool of connections": """
import threading
maxconnections = 5
pool_sema = threading.BoundedSemaphore(value=maxconnections)
go, inside, most, lock = threading.Event(), 0, 0, threading.RLock()

def connect():
    global inside, most
    go.wait()
    with pool_sema:
        with lock, lock:
            inside += 1
            most = max(most, inside)
        with lock:
            inside -= 1

threads = [threading.Thread(target=connect) for _ in range(30)]
for thread in threads: thread.start()
print(go.is_set()); go.set(); print(go.is_set())
for thread in threads: thread.join()
print(most <= maxconnections, inside)
""",
    # queue: waiting for enqueued tasks to be completed
    "worker thread": """
import queue, threading
q = queue.Queue()
done = []

def worker():
    while True:
        item = q.get()
        done.append(item)
        q.task_done()

threading.Thread(target=worker, daemon=True).start()
for item in range(30):
    q.put(item)
q.join()
print(done == list(range(30)), q.empty(), q.qsize())
try:
    q.get(timeout=0.01)
except queue.Empty:
    print("empty")
small = queue.Queue(maxsize=1)
small.put(1)
try:
    small.put_nowait(2)
except queue.Full:
    print("full", small.full())
""",
    # multiprocessing: exchanging objects between processes; synchronization between processes
    "processes": """
import multiprocessing

def f(q, l, i):
    l.acquire()
    try:
        print("hello world", i, flush=True)
    finally:
        l.release()
    q.put([42, None, "hello", i])

if __name__ == "__main__":
    q, lock = multiprocessing.Queue(), multiprocessing.Lock()
    processes = [multiprocessing.Process(target=f, args=(q, lock, i)) for i in range(4)]
    for p in processes: p.start()
    print(sorted(q.get()[3] for _ in processes))
    for p in processes: p.join()
    print([p.exitcode for p in processes])
""",
    # multiprocessing: "an example showing how to use queues to feed tasks to a collection of worker processes"
    "task queues": """
import multiprocessing

def worker(input, output):
    for func, args in iter(input.get, "STOP"):
        output.put("%s%s = %s" % (func.__name__, args, func(*args)))

def mul(a, b):
    return a * b

def plus(a, b):
    return a + b

if __name__ == "__main__":
    task_queue, done_queue = multiprocessing.Queue(), multiprocessing.Queue()
    for i in range(20):
        task_queue.put((mul, (i, 7)))
    processes = [multiprocessing.Process(target=worker, args=(task_queue, done_queue)) for _ in range(4)]
    for p in processes: p.start()
    for i in range(10):
        task_queue.put((plus, (i, 8)))
    for line in sorted(done_queue.get() for _ in range(30)): print(line)
    for _ in processes: task_queue.put("STOP")
    for p in processes: p.join()
""",
    # multiprocessing: JoinableQueue, Condition, Event and Semaphore passed to processes
    "stages": """
import multiprocessing

def stage(tasks, condition, count, ready, room):
    ready.wait()
    while (task := tasks.get()) is not None:
        with room:
            with condition:
                count.value += task
                condition.notify_all()
        tasks.task_done()
    tasks.task_done()

if __name__ == "__main__":
    tasks, condition = multiprocessing.JoinableQueue(), multiprocessing.Condition()
    ready, room = multiprocessing.Event(), multiprocessing.Semaphore(2)
    count = multiprocessing.Value("i", 0, lock=False)
    processes = [
        multiprocessing.Process(target=stage, args=(tasks, condition, count, ready, room)) for _ in range(3)
    ]
    for p in processes: p.start()
    for n in range(50): tasks.put(n)
    ready.set()
    with condition:
        print(condition.wait_for(lambda: count.value == sum(range(50)), timeout=140))
    for p in processes: tasks.put(None)
    tasks.join()
    for p in processes: p.join()
    print(count.value, [p.exitcode for p in processes])
""",
    # multiprocessing: a pool whose workers inherit a lock
    "pool": """
import multiprocessing

def init(l, e):
    global lock, event
    lock, event = l, e

def work(n):
    with lock:
        return n * n, event.is_set()

if __name__ == "__main__":
    lock, event = multiprocessing.RLock(), multiprocessing.Event()
    event.set()
    with multiprocessing.Pool(3, initializer=init, initargs=(lock, event)) as pool:
        print(pool.map(work, range(20)))
""",
}


def run(folder, program, prelude=""):
    path = folder / "program.py"
    path.write_text(prelude + program)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (name, method)
        for name, program in PROGRAMS.items()
        for method in (["fork", "spawn"] if "multiprocessing" in program else [None])
    ],
)
def test_only_the_constructor_changes(tmp_path, name, method):
    program = PROGRAMS[name]
    if method:
        start = 'if __name__ == "__main__":\n'
        program = program.replace(start, f'{start}    multiprocessing.set_start_method("{method}")\n')
    changed = re.sub(rf"\b(threading|multiprocessing|queue)\.({NAMES})\(", r"achar.\2(", program)
    changed = changed.replace("achar.JoinableQueue", "achar.Queue")
    assert changed != program
    expected = run(tmp_path, program)
    assert run(tmp_path, changed, "import achar\n") == expected
    assert expected

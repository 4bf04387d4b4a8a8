"""What a memo does when its process forks; prints what it found. Argument: a folder."""

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings

import achar
import achar.memo

warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: os.fork() with threads
folder = sys.argv[1]


def in_child(work):
    """Its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def the_parent_closes_first():
    """The child writes while nobody else has the file open."""
    path = os.path.join(folder, "first")
    memo = achar.Memo(path)
    memo.put("parent", 1)
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        memo.put("child", 2)
        os.write(to_parent, b"1")
        os.read(from_parent, 1)
        memo.put("acknowledged", 3)
        os._exit(0)
    os.read(from_child, 1)
    memo.close()
    memo = None
    gc.collect()
    os.write(to_child, b"1")
    assert os.waitpid(pid, 0)[1] == 0
    with achar.Memo(path) as memo:
        return [memo.get(key) for key in ("parent", "child", "acknowledged")]


def threads_of_a_child_open_at_once():
    memo = achar.Memo(os.path.join(folder, "threads"))
    memo.put("x", 1)

    def child():
        found, ready = [], threading.Barrier(4)

        def use():
            ready.wait()
            found.append(memo.get("x"))

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1] * 4, found

    return [in_child(child) for _ in range(3)]


def forks_while_threads_are_inside():
    memo = achar.Memo(os.path.join(folder, "inside"))
    stop, written = threading.Event(), [0, 0]

    def write(which):
        while not stop.is_set():
            memo.put((which, written[which]), "x" * 100)
            assert memo.get((which, written[which])) and memo.stats()["results"]
            written[which] += 1

    def child():
        memo.put("child", os.getpid())
        assert memo.get("child") and memo.stats()["results"]

    threads = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    while min(written) == 0:
        time.sleep(0.001)
    statuses = {in_child(child) for _ in range(15)}
    assert subprocess.run(["true"], preexec_fn=os.getpid, timeout=150).returncode == 0
    stop.set()
    for thread in threads:
        thread.join()
    lost = sum(memo.get((which, i)) is None for which in (0, 1) for i in range(written[which]))
    return statuses, lost, memo.check()["problems"]


def the_file_goes_between():
    """What cannot be opened again is opened anew, with an error for nobody."""
    path = os.path.join(folder, "goes")
    memo = achar.Memo(path)
    memo.put("x", 1)
    os.register_at_fork(before=lambda: os.path.exists(path) and os.rename(path, path + "-away"))
    in_child(lambda: None)
    gone = memo.get("x"), os.path.exists(path + "-away")
    memo.put("x", 2)
    return *gone, memo.get("x"), memo.check()["problems"]


print(the_parent_closes_first())
print(threads_of_a_child_open_at_once())
print(forks_while_threads_are_inside())
print(the_file_goes_between())

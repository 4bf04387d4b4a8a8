"""A storm: tasks while a random worker is killed every 50 ms; every result must be right.

    python tests/executor/storm.py [TASKS]      (100,000; `make stress` runs it, the tests a shorter one)

Plain tasks, tasks in chains, tasks that read what was put, and a map, all with retries.
"""

import os
import random
import signal
import sys
import threading
import time

import achar


def work(n, extra=0):
    return n * n + extra


def follow(previous, n):
    return previous + n


def look(array, n):
    return array[n % len(array)] + n


def main(count):
    killed, going = 0, True
    with achar.Executor(4) as ex:

        def kill():
            nonlocal killed
            in_vain, seen = 0, 0
            while going:
                time.sleep(0.05)
                pids, ended = ex._pool.pids(), ex._pool.progress()[1]
                in_vain, seen = (in_vain if ended == seen else 0), ended
                if pids and in_vain < 4:  # with five that did not get ready a pool may end, as on a busy machine
                    try:
                        os.kill(random.choice(pids), signal.SIGKILL)  # noqa: S311
                        killed += 1
                        in_vain += 1
                    except ProcessLookupError:
                        pass

        thread = threading.Thread(target=kill)
        start = time.monotonic()
        thread.start()
        try:
            task = ex.options(retries=1000, backoff=0)
            ref = ex.put(list(range(1000)))
            futures, chain = [], task.submit(work, 0)
            for n in range(count):
                if n % 10 == 0:
                    futures.append((task.submit(look, ref, n), n % 1000 + n))
                elif n % 10 == 1:
                    chain = task.submit(follow, chain, 1)
                else:
                    futures.append((task.submit(work, n, extra=1), n * n + 1))
            wrong = sum(future.result() != value for future, value in futures)
            wrong += chain.result() != len(range(1, count, 10))
        finally:
            going = False
            thread.join()
        seconds = time.monotonic() - start
        assert ex.submit(work, 3).result() == 9
    print(f"{count} tasks in {seconds:.1f} s, {killed} workers killed, {wrong} results wrong")
    return 1 if wrong or not killed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))

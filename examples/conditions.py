"""Consumers wait, a producer notifies one, some, all; then a barrier built from a condition.

    python examples/conditions.py              with threads
    python examples/conditions.py --processes  the same with processes: only what is started differs

examples/conditions.c is its twin in C.
"""

import argparse
import logging
import multiprocessing
import threading

import achar

CONSUMERS = 5


def name_lines(name):
    """The log lines of this thread, or of this process, carry 'name'."""
    threading.current_thread().name = name
    logging.basicConfig(level=logging.INFO, format="%(threadName)-10s %(message)s")


class Barrier:
    """Nobody goes on before 'parties' have come: a condition and two numbers."""

    def __init__(self, parties, shared):
        self.condition = achar.Condition()
        self.parties, self.shared = parties, shared  # shared: how many came, how often all have come

    def wait(self):
        with self.condition:
            round = self.shared[1]
            self.shared[0] += 1
            if self.shared[0] == self.parties:
                self.shared[0] = 0
                self.shared[1] += 1
                self.condition.notify_all()
            else:
                self.condition.wait_for(lambda: self.shared[1] != round)


def consume(number, condition, waiting, barrier):
    name_lines(f"consumer-{number}")
    with condition:
        logging.info("waits")
        waiting.release()
        condition.wait()
        logging.info("goes on")
    barrier.wait()
    logging.info("is through the barrier")


def produce(condition, waiting, barrier):
    name_lines("producer")
    for _ in range(CONSUMERS):
        waiting.acquire()
    with condition:
        logging.info("notifies one")
        condition.notify()
    with condition:
        logging.info("notifies two more")
        condition.notify(2)
    with condition:
        logging.info("notifies all")
        condition.notify_all()
        logging.info("releases the lock")
    barrier.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", action="store_true")
    if parser.parse_args().processes:
        start, shared = multiprocessing.Process, multiprocessing.Array("i", 2, lock=False)
    else:
        start, shared = threading.Thread, [0, 0]
    condition, waiting, barrier = achar.Condition(), achar.Semaphore(0), Barrier(CONSUMERS + 1, shared)
    workers = [start(target=consume, args=(number, condition, waiting, barrier)) for number in range(CONSUMERS)]
    workers.append(start(target=produce, args=(condition, waiting, barrier)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()

"""obj.aio: asyncio's classes on achar's objects, with threads and processes at the other end."""

import asyncio
import gc
import os
import signal
import tempfile
import threading
import time

import achar
import pytest
from sync_support import ended, forked

ENOUGH = 120


def run(main):
    return asyncio.run(asyncio.wait_for(main, ENOUGH))


def threads_of_the_process():
    return len(os.listdir("/proc/self/task"))


async def settle():
    """Lets every other task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("make", [achar.Lock, achar.RLock, achar.Condition, achar.Semaphore])
def test_tasks_exclude_each_other_in_the_order_of_arrival(make):
    async def main():
        lock, order, inside = make().aio, [], []

        async def use(number):
            async with lock:
                assert not inside
                inside.append(number)
                await asyncio.sleep(0)
                order.append(inside.pop())

        await asyncio.gather(*(use(number) for number in range(50)))
        assert order == list(range(50))

    run(main())


def test_a_recursive_lock_is_its_tasks():
    async def main():
        lock = achar.RLock().aio

        async def other():
            with pytest.raises(RuntimeError, match="un-acquired"):
                lock.release()
            await lock.acquire()
            lock.release()
            return True

        async with lock:
            async with lock:
                waiting = asyncio.create_task(other())
                await settle()
                assert not waiting.done()
        assert await waiting

    run(main())


def test_many_wait_without_a_thread_each():
    async def main():
        event, before = achar.Event(), threads_of_the_process()
        waiting = [asyncio.create_task(event.aio.wait()) for _ in range(2000)]
        await settle()
        assert threads_of_the_process() <= before + 2  # the waker, and who watches processes
        threading.Thread(target=event.set).start()
        assert await asyncio.gather(*waiting) == [True] * 2000

    run(main())


def test_condition():
    async def main():
        condition, numbers, got = achar.Condition(), [], []

        async def consume():
            async with condition.aio as nothing:
                assert nothing is None
                await condition.aio.wait_for(lambda: numbers)
                got.append(numbers.pop(0))

        def produce():
            for number in range(20):
                with condition:
                    numbers.append(number)
                    condition.notify()

        tasks = [asyncio.create_task(consume()) for _ in range(20)]
        await settle()
        thread = threading.Thread(target=produce)
        thread.start()
        await asyncio.gather(*tasks)
        thread.join()
        assert sorted(got) == list(range(20))
        with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
            await condition.aio.wait()
        with pytest.raises(RuntimeError, match="cannot notify on un-acquired lock"):
            condition.aio.notify()

    run(main())


def test_nobody_goes_on_before_the_release():
    async def main():
        condition, gone = achar.Condition().aio, []

        async def wait(number):
            async with condition:
                await condition.wait()
                gone.append(number)

        tasks = [asyncio.create_task(wait(number)) for number in range(3)]
        await settle()
        async with condition:
            condition.notify(2)
            await asyncio.sleep(0.05)
            assert gone == []
        while len(gone) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert gone == [0, 1]
        async with condition:
            condition.notify_all()
        await asyncio.gather(*tasks)
        assert gone == [0, 1, 2]

    run(main())


def test_a_cancelled_wait_has_the_lock_and_passes_its_notification_on():
    async def main():
        condition, woken, held = achar.Condition().aio, [], []

        async def wait(number):
            async with condition:
                try:
                    await condition.wait()
                    woken.append(number)
                except asyncio.CancelledError:
                    assert not held
                    held.append(1)
                    await asyncio.sleep(0.01)
                    held.pop()
                    raise

        for when in ("before", "between", "after"):
            del woken[:]
            tasks = [asyncio.create_task(wait(number)) for number in range(3)]
            await settle()
            if when == "before":
                tasks[0].cancel()
                tasks[0].cancel()
                await settle()
            async with condition:
                condition.notify(1)
                if when == "between":
                    tasks[0].cancel()
                    await settle()
                    assert not tasks[0].done()  # it takes the lock first
            if when == "after":
                tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            await tasks[1]
            await settle()
            assert woken == [1]
            async with condition:
                condition.notify_all()
            await tasks[2]

    run(main())


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("what", ["lock", "semaphore", "queue", "event", "barrier"])
def test_a_cancelled_task_leaves_nothing_behind(what, late):
    """Cancelled while it waits, or just when it was given what it waited for: the next one has it."""

    async def main():
        made = {
            "lock": achar.Lock, "semaphore": lambda: achar.Semaphore(0), "queue": achar.Queue,
            "event": achar.Event, "barrier": lambda: achar.Barrier(2),
        }[what]()  # fmt: skip
        call = {"lock": "acquire", "semaphore": "acquire", "queue": "get", "event": "wait", "barrier": "wait"}[what]
        give = {
            "lock": lambda: made.release(), "semaphore": lambda: made.release(), "queue": lambda: made.put(7),
            "event": lambda: made.set(), "barrier": lambda: None,
        }[what]  # fmt: skip
        if what == "lock":
            made.acquire()
        first = asyncio.create_task(getattr(made.aio, call)())
        await settle()
        if late:
            give()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(getattr(made.aio, call)())
        await settle()
        if not late:
            give()
        if what == "barrier":
            assert made.n_waiting == 1
            assert await made.aio.wait() == 1
        assert await second == {"queue": 7, "barrier": 0}.get(what, True)

    run(main())


def test_thrown_away_tasks_leave_as_the_dead_do():
    lock, semaphore, q = achar.Lock(), achar.Semaphore(0), achar.Queue()
    lock.acquire()
    condition = achar.Condition()

    async def wait_for_notification():
        async with condition.aio:
            await condition.aio.wait()

    async def main():
        for coroutine in (lock.aio.acquire(), semaphore.aio.acquire(), q.aio.get(), wait_for_notification()):
            coroutine.send(None)
            if coroutine.__name__ == "wait_for_notification":
                await settle()
            coroutine.close()
        gc.collect()

    run(main())
    lock.release()
    semaphore.release()
    q.put(1)
    assert lock.acquire(timeout=ENOUGH) and semaphore.acquire(timeout=ENOUGH) and q.get(timeout=ENOUGH) == 1
    with condition:
        condition.notify()


def test_queue_between_a_loop_and_processes():
    q, back = achar.Queue(3), achar.Queue()

    def work():
        while (item := q.get()) is not None:
            back.put(item * 2)
            q.task_done()
        q.task_done()

    pids = [forked(work) for _ in range(2)]

    async def main():
        async def produce():
            for number in range(200):
                await q.aio.put(number)
            for _ in pids:
                await q.aio.put(None)

        producer = asyncio.create_task(produce())
        got = [await back.aio.get() for _ in range(200)]
        await producer
        await q.aio.join()
        return got

    assert sorted(run(main())) == [2 * number for number in range(200)]
    assert [ended(pid) for pid in pids] == [0, 0]


def test_barrier_with_an_action():
    async def main():
        acted = []
        barrier = achar.Barrier(3, action=lambda: acted.append(1)).aio
        assert sorted(await asyncio.gather(*(barrier.wait() for _ in range(3)))) == [0, 1, 2]
        assert acted == [1]

    run(main())


def test_the_death_of_an_owner_is_told():
    lock, ready = achar.Lock(), achar.Event()

    def own():
        lock.acquire()
        ready.set()
        time.sleep(1000)

    pid = forked(own)

    async def main():
        await ready.aio.wait()
        waiting = asyncio.create_task(lock.aio.acquire())
        await settle()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(achar.OwnerDied):
            await waiting
        with pytest.raises(achar.OwnerDied):
            async with lock.aio:
                pass
        lock.recover()
        async with lock.aio:
            assert lock.locked()
        assert not lock.locked()

    run(main())
    ended(pid)


def test_two_loops_and_a_thread_share_a_queue():
    q, results = achar.Queue(), achar.Queue()

    async def consume():
        while (item := await q.aio.get()) is not None:
            results.put(item)

    loops = [threading.Thread(target=lambda: run(consume())) for _ in range(2)]
    for each in loops:
        each.start()
    for number in range(500):
        q.put(number)
    for _ in loops:
        q.put(None)
    for each in loops:
        each.join(ENOUGH)
    assert sorted(results.get_nowait() for _ in range(500)) == list(range(500))


def test_what_cannot_be_awaited():
    async def main():
        with pytest.raises(AttributeError):
            achar.Queue().aio.close()
        from achar import aio

        with pytest.raises(TypeError, match="not one of achar's objects"):
            aio.view(threading.Lock())

    run(main())


def test_forks_do_not_end_what_waits():
    async def main():
        event = achar.Event()
        waiting = asyncio.ensure_future(event.aio.wait())
        await settle()
        assert ended(forked(lambda: None)) == 0
        event.set()
        assert await waiting

    run(main())


def test_a_loop_that_was_forked_leaves_no_descriptor_behind():
    """Once the closed loop's eventfd went on being told, whatever file had its number by then."""

    async def wait_once(meanwhile):
        event = achar.Event()
        waiting = asyncio.ensure_future(event.aio.wait())
        await settle()
        meanwhile()
        event.set()
        await waiting

    run(wait_once(lambda: ended(forked(lambda: None))))
    gc.collect()
    files = [tempfile.TemporaryFile() for _ in range(20)]
    for _ in range(20):
        thread = threading.Thread(target=run, args=[wait_once(lambda: None)])
        thread.start()
        thread.join(ENOUGH)
    assert [os.fstat(file.fileno()).st_size for file in files] == [0] * 20
    for file in files:
        file.close()


def test_loops_in_two_threads_hand_on_one_lock():
    """Whoever looks finds what belongs to the other loop, too, and has to leave it there."""
    lock, done = achar.Lock(), []

    async def many():
        async def one():
            for _ in range(20):
                async with lock.aio:
                    await asyncio.sleep(0)

        await asyncio.wait_for(asyncio.gather(*(one() for _ in range(50))), ENOUGH)
        done.append(1)

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [1, 1] and not lock.locked()

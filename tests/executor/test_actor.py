"""Executor.actor(): state in one process, calls in order, and what happens when it dies."""

import os
import time

import achar
import pytest


def classes():
    class Counter:
        def __init__(self, start=0):
            self.value = start

        def add(self, n):
            self.value += n
            return self.value

        def pid(self):
            import os

            return os.getpid()

        def die(self, signal):
            import os

            os.kill(os.getpid(), signal)

        def fail(self):
            raise ValueError("no")

        def rest(self, seconds):
            import time

            time.sleep(seconds)

        def note(self, *what):
            self.notes = [*getattr(self, "notes", []), *what]
            return self.notes

    class Broken:
        def __init__(self):
            raise ValueError("cannot be made")

        def method(self):
            pass

    return Counter, Broken


Counter, Broken = classes()


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def test_state_and_order(ex):
    counter, other = ex.actor(Counter), ex.actor(Counter, start=1000)
    futures = [counter.add(1) for _ in range(2000)]
    assert [future.result() for future in futures] == list(range(1, 2001))
    assert other.add(1).result() == 1001
    assert len({counter.pid().result(), other.pid().result(), ex.submit(os.getpid).result(), os.getpid()}) == 4
    with pytest.raises(ValueError, match="no"):
        counter.fail().result()
    with pytest.raises(AttributeError):
        counter.absent().result()
    assert counter.add(0).result() == 2000


def test_death_is_reported(ex):
    counter = ex.actor(Counter)
    assert counter.add(1).result() == 1
    counter.rest(0.2)
    dies, behind = counter.die(9), [counter.add(1) for _ in range(5)]
    error = dies.exception()
    assert isinstance(error, achar.WorkerDied) and error.signal == "SIGKILL"
    for future in [*behind, counter.add(1)]:
        error = future.exception()
        assert isinstance(error, achar.ActorDied) and error.signal == "SIGKILL" and "Counter.add" in str(error)
    assert ex.submit(pow, 2, 3).result() == 8
    assert ex.actor(Counter).add(2).result() == 2


def test_restarts(ex):
    counter = ex.actor(Counter, 10, restarts=2)
    pids = set()
    for _ in range(2):
        pids.add(counter.pid().result())
        assert counter.add(1).result() == 11
        dies, behind = counter.die(11), [counter.add(1) for _ in range(3)]
        assert isinstance(dies.exception(), achar.WorkerDied)
        assert [future.result() for future in behind] == [11, 12, 13]  # a new one, in order
        counter.add(-3)
    pids.add(counter.pid().result())
    assert len(pids) == 3
    counter.die(9)
    assert isinstance(counter.add(1).exception(), achar.ActorDied)


def test_that_cannot_be_made(ex):
    actor = ex.actor(Broken)
    error = actor.method().exception()
    assert isinstance(error, achar.InitializerFailed) and "cannot be made" in str(error)


def test_ends_with_the_executor():
    with achar.Executor(1) as ex:
        counter = ex.actor(Counter)
        pid = counter.pid().result()
        last = counter.add(5)
    assert last.result() == 5
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(RuntimeError, match="after shutdown"):
        counter.add(1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.actor(Counter)


def test_ends_when_nobody_has_it(ex):
    counter = ex.actor(Counter)
    pid = counter.pid().result()
    last = counter.add(5)
    del counter
    assert last.result() == 5
    deadline = time.monotonic() + 120
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{pid}")


def later(value, seconds=0.1):
    time.sleep(seconds)
    return value


def test_futures_in_a_call_are_awaited_and_order_is_kept(ex):
    """Of this executor, of another, of the same actor and of another; at any depth; the calls behind wait, too."""
    notes, counter = ex.actor(Counter), ex.actor(Counter)
    with achar.Executor(1) as other:
        calls = [notes.note(0), notes.note(ex.submit(later, 1), 2), notes.note(3)]
        calls.append(notes.note([4, {"deep": (other.submit(later, 5),)}]))
        calls.append(notes.note(calls[0], counter.add(counter.add(ex.submit(later, 6)))))
        last = notes.note(ex.put(7))
        assert last.result(60) == [0, 1, 2, 3, [4, {"deep": (5,)}], [0], 12, 7]
        assert [call.result(60) for call in calls] == [last.result()[:n] for n in (1, 3, 4, 5, 7)]
        assert notes.note(8).result(60) == [*last.result(), 8]
    assert not notes._turns.held


def test_arguments_of_a_call_that_waits_are_those_of_when_it_was_made(ex):
    notes = ex.actor(Counter)
    value = [1]
    call = notes.note(ex.submit(later, 0), value)
    value.append(2)
    assert call.result(60) == [0, [1]]


def test_a_failed_input_fails_the_call_and_names_where_it_began(ex, tmp_path):
    def fails(seconds):
        time.sleep(seconds)
        raise KeyError("why")

    notes = ex.actor(Counter)
    for seconds in (0.1, 0):
        root = ex.submit(fails, seconds)
        between = ex.submit(later, root)
        if not seconds:
            assert between.exception(60)
        call, behind = notes.note(between), notes.note(seconds)
        error = call.exception(60)
        assert isinstance(error, achar.InputFailed) and error.task.endswith("fails")
        assert isinstance(error.__cause__, KeyError) and behind.result(60)[-1] == seconds
    path = str(tmp_path / "go")

    def wait():
        while not os.path.exists(path):
            time.sleep(0.01)

    busy = [ex.submit(wait) for _ in range(2)]
    cancelled = ex.submit(int)
    call = notes.note(cancelled)
    assert cancelled.cancel()
    open(path, "w").close()
    assert isinstance(call.exception(60), achar.InputFailed) and "cancelled" in str(call.exception())
    assert ex.wait(busy) == (busy, [])


def test_calls_that_wait_are_cancelled(ex):
    notes = ex.actor(Counter)
    slow = ex.submit(time.sleep, 600)
    first, second, third = notes.note(slow), notes.note(2), notes.note(3)
    with pytest.raises(TimeoutError):
        second.result(0.01)
    assert second.cancel() and ex.cancel(first, force=True)
    assert third.result(60) == [3] and first.cancelled() and second.cancelled()
    assert ex.cancel(slow, force=True)


def test_who_hears_of_a_cancelled_call_may_ask_for_it(run):
    """The call behind it, which has it as its argument, and callbacks of the program's."""
    out = run("""
        import concurrent.futures, os, time, achar

        class Notes:
            def note(self, what):
                return what

        def slow(path):
            while not os.path.exists(path):
                time.sleep(0.01)

        def ask(call):
            try:
                call.result(0)
            except concurrent.futures.CancelledError:
                print("cancelled")

        with achar.Executor(1) as ex:
            notes = ex.actor(Notes)
            first = notes.note(ex.submit(slow, "over"))
            second = notes.note(first)
            first.add_done_callback(lambda call: print(call.cancel(), call.cancelled(), second.done()))
            first.add_done_callback(ask)
            print(first.cancel())
            print(type(second.exception()).__name__, notes.note(3).result())
            open("over", "w").close()
    """)
    assert out == "True True True\ncancelled\nTrue\nInputFailed 3\n"


def test_a_future_made_by_hand_is_refused_behind_a_call_that_waits_too(run):
    """And not waited for: nobody may ever end it."""
    out = run("""
        import concurrent.futures, time, achar

        class Notes:
            def note(self, what):
                return what

        with achar.Executor(1) as ex:
            notes = ex.actor(Notes)
            calls = [notes.note(what) for what in (ex.submit(time.sleep, 0.3), concurrent.futures.Future(), 3)]
        print(calls[0].result(), "cannot be sent" in str(calls[1].exception()), calls[2].result())
    """)
    assert out == "None True 3\n"


def test_what_waits_is_done_when_the_executor_ends():
    with achar.Executor(1) as ex:
        calls = [ex.actor(Counter).add(ex.submit(later, n)) for n in range(3)]  # nobody has the actors
        failed = ex.actor(Counter).add(ex.submit(later, 1), "too many")
    assert [call.result(0) for call in calls] == [0, 1, 2]
    assert isinstance(failed.exception(0), TypeError)


def test_an_actor_that_dies_before_a_call_had_its_turn(ex, tmp_path):
    def one_when(path):
        while not os.path.exists(path):
            time.sleep(0.01)
        return 1

    counter = ex.actor(Counter)
    pid = counter.pid().result(60)
    call = counter.add(ex.submit(one_when, str(tmp_path / "killed")))
    os.kill(pid, 9)
    (tmp_path / "killed").touch()
    assert isinstance(call.exception(60), achar.ActorDied)

"""Executor(kind="thread").actor(): calls in their order, also those that wait for futures."""

import concurrent.futures
import threading

import achar
import pytest

LIMIT_S = 100


class Notes:
    def __init__(self):
        self.notes = []

    def note(self, *what):
        self.notes += what
        return list(self.notes)

    def until(self, event):
        event.wait(LIMIT_S)


@pytest.fixture
def ex():
    with achar.Executor(2, kind="thread") as executor:
        yield executor


def test_a_call_that_waits_keeps_its_place(ex):
    """Of this executor's futures, others', the actor's own, and those made by hand; the calls behind it wait, too."""
    notes, other, go_on = ex.actor(Notes), ex.actor(Notes), threading.Event()
    by_hand = concurrent.futures.Future()
    slow = ex.submit(lambda: go_on.wait(LIMIT_S) and 1)
    calls = [notes.note(0), notes.note(slow), notes.note(2), notes.note({"deep": [by_hand]}), notes.note(4)]
    calls += [notes.note(len(calls), calls[0]), notes.note(other.note(other.note(slow)))]
    assert calls[0].result(LIMIT_S) == [0]
    by_hand.set_result(3)
    assert not any(call.done() for call in calls[1:])
    go_on.set()
    wanted = [0, 1, 2, {"deep": [3]}, 4, 5, [0], [1, [1]]]
    assert [call.result(LIMIT_S) for call in calls] == [wanted[:n] for n in (1, 2, 3, 4, 5, 7, 8)]
    assert notes.note().result(LIMIT_S) == wanted


def test_those_that_fail_or_are_cancelled_hold_up_nobody(ex):
    notes, go_on = ex.actor(Notes), threading.Event()
    fails = ex.submit(lambda: go_on.wait(LIMIT_S) and 1 / 0)
    calls = [notes.note(fails), notes.note("a"), notes.note(fails), notes.note("b"), notes.note("c")]
    assert calls[1].cancel()
    go_on.set()
    for call in (calls[0], calls[2]):
        error = call.exception(LIMIT_S)
        assert isinstance(error, achar.InputFailed) and isinstance(error.__cause__, ZeroDivisionError)
    assert calls[3].result(LIMIT_S) == ["b"] and calls[4].result(LIMIT_S) == ["b", "c"]
    never = concurrent.futures.Future()
    first, second = notes.note(never), notes.note("d")
    assert not second.done() and first.cancel()
    assert second.result(LIMIT_S) == ["b", "c", "d"]


def test_a_call_that_waits_holds_up_its_caller_only():
    with achar.Executor(1, kind="thread") as ex:
        notes, go_on = ex.actor(Notes), threading.Event()

        def task():
            go_on.wait(LIMIT_S)
            later = ex.submit(lambda: "later")
            return [call.result(LIMIT_S) for call in [notes.note("first"), notes.note(later), notes.note("third")]]

        waits = ex.submit(task)
        held = notes.note(ex.submit(abs, -1))  # the only thread does the other first
        go_on.set()
        assert waits.result(LIMIT_S) == [["first"], ["first", "later"], ["first", "later", "third"]]
        assert held.result(LIMIT_S) == ["first", "later", "third", 1]


def test_many_that_wait(ex):
    """More than the stack holds; from several threads."""
    notes, go_on, count = ex.actor(Notes), threading.Event(), 3_000
    slow = ex.submit(lambda: go_on.wait(LIMIT_S) and 0)
    calls = [notes.note(slow)] + [notes.note(n) for n in range(1, count)]
    go_on.set()
    concurrent.futures.wait(calls, LIMIT_S)
    assert calls[-1].result(LIMIT_S) == list(range(count))

    def caller(name):
        own = [notes.note(f"{name}{n}") for n in range(100)]
        return own[-1].result(LIMIT_S)

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        list(threads.map(caller, "abc"))
    seen = notes.note().result(LIMIT_S)[count:]
    for name in "abc":
        assert [each for each in seen if each[0] == name] == [f"{name}{n}" for n in range(100)]


def test_what_waits_is_done_when_the_executor_ends():
    go_on = threading.Event()
    with achar.Executor(1, kind="thread") as ex:
        notes = ex.actor(Notes)
        calls = [notes.note(ex.submit(lambda: go_on.wait(LIMIT_S) and 1)), notes.note(2)]
        threading.Timer(0.2, go_on.set).start()
    assert [call.result(0) for call in calls] == [[1], [1, 2]]
    with pytest.raises(RuntimeError, match="after shutdown"):
        notes.note(3)


def test_who_would_wait_for_itself_is_told(ex):
    """As test_actor_handles.py has it for processes."""

    class Via:
        def __init__(self):
            self.value = 0

        def add(self, n):
            self.value += n
            return self.value

        def via(self, others, n):
            return others[0].via(others[1:], n).result() if others else self.add(n)

        def via_task(self, other):
            return ex.submit(lambda: ex.submit(lambda: other.add(100).result()).result()).result()

        def held(self, me, other):
            return str(other.add(ex.submit(lambda: me.add(100).result())).exception())

        def asks(self, me):
            return type(me.add(100).exception())

        def returns(self, me):
            return me.add(1)

        def tells(self, me):
            me.add(1)

        def is_patient(self, me):
            with pytest.raises(concurrent.futures.TimeoutError):
                me.add(1).result(0.2)
            return self.value

    a, b, c = (ex.actor(Via) for _ in range(3))
    calls = [a.via([a], 100), a.via([b, a], 100), b.via([a, c, a], 100), a.via_task(a), a.returns(a)]
    for call in calls:
        error = call.exception(LIMIT_S)
        assert isinstance(error, RuntimeError) and "a deadlock" in str(error), error
    text = a.held(a, b).result(LIMIT_S)
    assert "failed" in text and "a deadlock" in text
    assert a.asks(a).result(LIMIT_S) is RuntimeError
    assert a.tells(a).result(LIMIT_S) is None
    assert a.is_patient(a).result(LIMIT_S) == 1
    assert [actor.add(0).result(LIMIT_S) for actor in (a, b, c)] == [2, 0, 0]
    assert a.via([b, c, b], 5).exception(LIMIT_S) is not None and a.via([b, c], 5).result(LIMIT_S) == 5


def test_one_call_at_a_time(ex):
    """Also while one waits."""

    class Alone:
        def __init__(self):
            self.is_busy = False

        def work(self, other, *more):
            assert not self.is_busy
            self.is_busy = True
            try:
                return [future.result() for future in [other.note(1), ex.submit(abs, -1), *more]]
            finally:
                self.is_busy = False

    notes = ex.actor(Notes)
    alone = ex.actor(Alone)
    calls = [alone.work(notes) for _ in range(50)]
    assert [len(call.result(LIMIT_S)) for call in calls] == [2] * 50


def test_a_task_waits_for_an_actor_that_waits_for_a_task():
    class Asking:
        def ask(self, executor):
            return executor.submit(int, "5").result()

    with achar.Executor(1, kind="thread") as ex:
        actor = ex.actor(Asking)
        assert ex.submit(lambda: actor.ask(ex).result()).result(100) == 5

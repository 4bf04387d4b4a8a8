"""Handles of actors in tasks and in other actors: calls from there, their order, their failures, and who ends when."""

import concurrent.futures
import gc
import os
import subprocess
import sys
import time

import achar
import achar._door
import pytest

LIMIT_S = 100


def classes():
    class Counter:
        def __init__(self, start=0):
            self.value, self.notes = start, []

        def add(self, n):
            self.value += n
            return self.value

        def note(self, *what):
            self.notes += what
            return list(self.notes)

        def pid(self):
            import os

            return os.getpid()

        def die(self):
            import os

            os._exit(3)

        def fail(self):
            raise ValueError("no")

        def same(self, what):
            return what

        def until(self, path):
            import os
            import time

            open(f"{path}.begun", "w").close()
            while not os.path.exists(path):
                time.sleep(0.01)
            return self.add(1)

    class Caller:
        def __init__(self, other=None):
            self.other = other
            self.first = None if other is None else other.add(1).result()

        def add(self, n):
            return self.other.add(n).result()

        def through(self, other, n):
            return other.add(n).result()

        def tell(self, n):
            self.other.add(n)

        def task(self, path):
            import achar

            return achar.current_executor().submit(len, path).result()

    return Counter, Caller


Counter, Caller = classes()


def wait_for(path):
    end = time.monotonic() + LIMIT_S
    while not os.path.exists(path):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def test_wherever_a_handle_can_be(ex):
    counter = ex.actor(Counter)

    def add(handle, n):
        return handle.add(n).result()

    def nested(handle):
        here = achar.current_executor()
        return here.submit(lambda: here.submit(add, handle, 1).result()).result()

    assert ex.submit(add, counter, 1).result(LIMIT_S) == 1
    assert ex.submit(lambda: counter.add(1).result()).result(LIMIT_S) == 2
    assert ex.submit(lambda held: held["x"][0].add(1).result(), {"x": (counter,)}).result(LIMIT_S) == 3
    assert ex.submit(lambda held: held[0].add(1).result(), ex.put([counter])).result(LIMIT_S) == 4
    assert ex.submit(nested, counter).result(LIMIT_S) == 5
    assert sorted(ex.map(add, [counter] * 20, [1] * 20, timeout=LIMIT_S)) == list(range(6, 26))
    own = ex.options(env={"OMP_NUM_THREADS": "1"})  # workers of its own
    assert own.submit(add, counter, 1).result(LIMIT_S) == 26
    caller = ex.actor(Caller, counter)
    assert caller.add(1).result(LIMIT_S) == 28
    assert ex.actor(Caller).through(counter, 1).result(LIMIT_S) == 29
    assert ex.submit(lambda: ex.actor and caller.add(1).result()).result(LIMIT_S) == 30
    for thing in (counter, [counter]):  # back here it is the actor itself
        back = ex.submit(lambda x: x, thing).result(LIMIT_S)
        assert back is counter or back[0] is counter
    assert achar.loads(achar.dumps(counter)) is counter


def test_results_and_arguments(ex):
    counter = ex.actor(Counter)

    def parent():
        here = achar.current_executor()
        later = here.submit(pow, 2, 5)
        large = counter.same(bytes(3 << 20))
        put = here.put([1, 2])
        return [
            counter.same(later).result(),
            counter.same({"deep": [counter.same(7), later]}).result(),
            len(large.result()),
            counter.same(put).result(),
            here.submit(abs, counter.add(-5).result()).result(),
        ]

    assert ex.submit(parent).result(LIMIT_S) == [32, {"deep": [7, 32]}, 3 << 20, [1, 2], 5]
    assert ex.submit(lambda: counter.add(7)).result(LIMIT_S) == 2  # a task may return the call's future


def test_calls_of_one_task_are_in_order(ex):
    counter = ex.actor(Counter)

    def calls(n):
        return [future.result() for future in [counter.add(1) for _ in range(n)]]

    assert ex.submit(calls, 300).result(LIMIT_S) == list(range(1, 301))
    both = [ex.submit(calls, 100) for _ in range(2)]
    for seen in [future.result(LIMIT_S) for future in both]:
        assert seen == sorted(seen)
    assert counter.add(0).result(LIMIT_S) == 500


def test_what_comes_after_a_task_comes_after_its_calls(ex):
    """Which it has not waited for."""
    notes, caller = ex.actor(Counter), ex.actor(Counter)

    def tell(n):
        for _ in range(5):
            notes.note(n)

    for n in range(20):
        ex.submit(tell, n).result(LIMIT_S)
        assert notes.note().result(LIMIT_S) == [i for i in range(n + 1) for _ in range(5)]
    teller = ex.actor(Caller, caller)
    for n in range(10):
        teller.tell(1).result(LIMIT_S)
        assert caller.add(0).result(LIMIT_S) == 2 + n


def test_a_call_that_waits_holds_up_its_own_task_only(ex, tmp_path):
    """What a held call of the client's waits for may be behind the very task that calls."""
    with achar.Executor(1) as one:
        notes = one.actor(Counter)
        path = str(tmp_path / "go")

        def waits():
            while not os.path.exists(path):
                time.sleep(0.01)
            here = achar.current_executor()
            slow = here.submit(lambda: time.sleep(0.1) or "slow")
            calls = [notes.note("first"), notes.note(slow), notes.note("third")]
            return [call.result() for call in calls]

        task = one.submit(waits)
        behind = one.submit(abs, -1)  # the only worker does the other first
        held = notes.note(behind)
        (tmp_path / "go").touch()
        assert task.result(LIMIT_S) == [["first"], ["first", "slow"], ["first", "slow", "third"]]
        assert held.result(LIMIT_S) == ["first", "slow", "third", 1]


def test_failures(ex):
    counter = ex.actor(Counter)

    def parent():
        def outcome(future):
            error = future.exception()
            return type(error).__name__, str(error).splitlines()[0]

        calls = [counter.fail(), counter.absent(), counter.same(n for n in [1]), counter.note(1, wrong=2)]
        here = achar.current_executor()
        calls.append(counter.same(here.submit(lambda: 1 / 0)))
        calls += [counter.die(), counter.add(1)]
        return [outcome(call) for call in calls]

    names, texts = zip(*ex.submit(parent).result(LIMIT_S))
    assert names == (
        "ValueError",
        "AttributeError",
        "PicklingError",
        "TypeError",
        "InputFailed",
        "WorkerDied",
        "ActorDied",
    )
    assert "Counter.die" in texts[5] and "Counter.add" in texts[6]


def test_a_restarted_actor_goes_on(ex):
    counter = ex.actor(Counter, 10, restarts=1)

    def parent():
        died, behind = counter.die(), counter.add(1)
        return type(died.exception()).__name__, behind.result()

    assert ex.submit(parent).result(LIMIT_S) == ("WorkerDied", 11)


@pytest.mark.parametrize("how", ["dies", "by force"])
def test_a_caller_ends_with_calls_under_way(ex, how, tmp_path):
    """The actor does the one that it has begun, and none of those behind it."""
    counter = ex.actor(Counter)
    path = str(tmp_path / "go")

    def caller():
        calls = [counter.until(path), *(counter.add(100) for _ in range(3))]
        while not os.path.exists(f"{path}.begun"):
            time.sleep(0.01)
        assert achar.current_executor()._link.check()  # the client has them
        if how == "dies":
            os._exit(1)
        open(f"{path}.made", "w").close()
        calls[-1].result()

    task = ex.submit(caller)
    if how == "dies":
        assert isinstance(task.exception(LIMIT_S), achar.WorkerDied)
    else:
        wait_for(f"{path}.made")
        assert ex.cancel(task, force=True)
        with pytest.raises(concurrent.futures.CancelledError):
            task.result(LIMIT_S)
    end = time.monotonic() + LIMIT_S
    while any(not call.done() and not call.running() for call in calls_of_tasks()):  # the client hears of it after that
        assert time.monotonic() < end
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert counter.add(0).result(LIMIT_S) == 1


def test_of_a_callers_calls_none_is_done_without_those_before_it(ex, tmp_path):
    counter = ex.actor(Counter)
    path = str(tmp_path / "never")

    def never():
        while not os.path.exists(path):
            time.sleep(0.01)

    def caller(has_to_wait):
        counter.note(0)
        counter.note(achar.current_executor().submit(never) if has_to_wait else 1)
        for i in range(2, 100):
            counter.note(i)
        assert achar.current_executor()._link.check()
        os._exit(1)

    for has_to_wait in True, False:
        before = len(counter.note().result(LIMIT_S))
        assert isinstance(ex.submit(caller, has_to_wait).exception(LIMIT_S), achar.WorkerDied)
        end = time.monotonic() + LIMIT_S
        while not all(call.done() for call in calls_of_tasks()):
            assert time.monotonic() < end
            time.sleep(0.01)
        noted = counter.note().result(LIMIT_S)[before:]
        assert noted == list(range(len(noted))) and (len(noted) <= 1 or not has_to_wait)


def calls_of_tasks():
    connections = [each for each in gc.get_objects() if isinstance(each, achar._door.Connection) and each.calls]
    return [future for each in connections for future in list(each.futures.values())]


def test_a_call_is_cancelled_by_its_caller(ex, tmp_path):
    counter = ex.actor(Counter)
    path = str(tmp_path / "go")

    def caller():
        first, second, third = counter.until(path), counter.add(100), counter.add(1)
        assert second.cancel() and second.cancelled()
        open(path, "w").close()
        return first.result(), third.result()

    assert ex.submit(caller).result(LIMIT_S) == (1, 2)


def test_tasks_of_an_actor_do_not_make_its_object(ex, tmp_path):
    class Made:
        def __init__(self, path):
            with open(path, "a") as file:
                file.write("made\n")

        def task(self, path):
            return achar.current_executor().submit(len, path).result()

    path = str(tmp_path / "made")
    assert ex.actor(Made, path).task(path).result(LIMIT_S) == len(path)
    with open(path) as file:
        assert file.read() == "made\n"


def test_an_actor_lives_as_long_as_tasks_may_call_it():
    with achar.Executor(1) as ex:
        counter = ex.actor(Counter)
        pid = counter.pid().result(LIMIT_S)
        keeper = ex.actor(Caller, counter)
        del counter
        assert keeper.add(1).result(LIMIT_S) == 2
        del keeper
        assert os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("way", ["with", "wait=False", "exit", "collected"])
def test_what_is_under_way_when_the_executor_ends_is_done(run, way):
    """Also calls that nobody waits for, from tasks, tasks of tasks and actors that begin after that."""
    out = run(
        f"""
        import achar, time, sys

        class Sum:
            def __init__(self, total, name, count):
                self.total, self.name, self.count = total, name, count
            def add(self, n):
                time.sleep(0.02)
                self.count -= 1
                if self.total is not None:
                    self.total.add(n + 1)
                if not self.count:
                    print(self.name, n, flush=True)

        def parent(first, n):
            time.sleep(0.2)
            if n:
                achar.current_executor().submit(parent, first, n - 1)
            else:
                first.add(0)

        def start(ex):
            last = ex.actor(Sum, None, "last", 2)
            first = ex.actor(Sum, last, "first", 2)
            for n in range(2):
                ex.submit(parent, first, n if {way!r} == "with" or sys.version_info[:2] != (3, 12) else 0)

        ex = achar.Executor(1, output="plain")
        start(ex)
        if {way!r} == "with":
            with ex:
                pass
        elif {way!r} == "wait=False":
            ex.shutdown(wait=False)
            try:
                ex.submit(int)
            except RuntimeError:
                print("closed", flush=True)
        elif {way!r} == "collected":
            del ex
        """,
        limit=200,
    )
    assert sorted(out.splitlines()) == ["closed"] * (way == "wait=False") + ["first 0", "last 1"]


def test_an_executor_that_has_ended():
    with achar.Executor(1) as other:
        counter = other.actor(Counter)
        data = achar.dumps(counter)
    with achar.Executor(1) as ex:
        assert not ex._actors
        error = ex.submit(lambda: counter.add(1).result()).exception(LIMIT_S)
        assert isinstance(error, achar.ActorDied) and "has ended" in str(error) and "Counter.add" in str(error)
    with pytest.raises(RuntimeError, match="after shutdown"):
        counter.add(1)
    program = "import sys, achar\ntry: achar.loads(bytes.fromhex(sys.argv[1]))\nexcept RuntimeError as e: print(e)"
    out = subprocess.run([sys.executable, "-c", program, data.hex()], capture_output=True, text=True, timeout=LIMIT_S)
    assert "Counter cannot be called here" in out.stdout, out


def test_an_actor_of_another_executor_of_this_process(ex):
    with achar.Executor(1) as other:
        counter = other.actor(Counter)
        assert ex.submit(lambda: counter.add(3).result()).result(LIMIT_S) == 3


def test_an_actor_on_threads_is_not_for_processes(ex):
    with achar.Executor(1, kind="thread") as threads:
        counter = threads.actor(Counter)
        assert threads.submit(lambda: counter.add(1).result()).result(LIMIT_S) == 1
        assert "on threads" in str(ex.submit(lambda: counter.add(1)).exception(LIMIT_S))


def test_an_actor_has_no_digest(ex):
    """A memo would take what it returned once for what it always returns."""
    counter = ex.actor(Counter)
    for thing in (counter, [counter]):
        with pytest.raises(Exception, match="depends on what was called before"):
            achar.digest(thing)


def test_many_tasks_and_actors(ex):
    counters = [ex.actor(Counter) for _ in range(3)]

    def calls(n):
        for _ in range(10):
            for counter in counters:
                counter.add(1)
        return counters[n % 3].add(0).result() > 0

    assert all(ex.map(calls, range(30), timeout=LIMIT_S))
    assert [counter.add(0).result(LIMIT_S) for counter in counters] == [300] * 3


def test_who_would_wait_for_itself_is_told(ex):
    """An actor that waits for a call of its own, by way of others and of tasks: that call fails, and nothing else."""

    class Via:
        def __init__(self):
            self.value = 0

        def add(self, n):
            self.value += n
            return self.value

        def via(self, others, n):
            return others[0].via(others[1:], n).result() if others else self.add(n)

        def via_task(self, other):
            here = achar.current_executor()
            return here.submit(lambda: here.submit(lambda: other.add(100).result()).result()).result()

        def held(self, me, other):
            here = achar.current_executor()
            error = other.add(here.submit(lambda: me.add(100).result())).exception()
            return str(error)

        def returns(self, me):
            return me.add(1)

        def tells(self, me):
            me.add(1)

    a, b, c = (ex.actor(Via) for _ in range(3))
    calls = [a.via([a], 100), a.via([b, a], 100), b.via([a, c, a], 100), a.via_task(a), a.returns(a)]
    for call in calls:
        error = call.exception(LIMIT_S)
        assert isinstance(error, RuntimeError) and "a deadlock" in str(error), error
    text = a.held(a, b).result(LIMIT_S)
    assert "failed" in text and "a deadlock" in text
    assert a.tells(a).result(LIMIT_S) is None
    assert [actor.add(0).result(LIMIT_S) for actor in (a, b, c)] == [1, 0, 0]


def test_long_waits_are_no_deadlock(ex, tmp_path):
    """Of tasks and actors for actors that are at work, and for others behind those."""
    counter, middle, last = ex.actor(Counter), ex.actor(Caller), ex.actor(Counter)
    path = str(tmp_path / "go")

    class Waiter:
        def until(self, other, path):
            return other.until(path).result()

        def add(self, other, n):
            return other.add(n).result()

    waiter, another = ex.actor(Waiter), ex.actor(Waiter)
    slow = waiter.until(counter, path)
    wait_for(f"{path}.begun")
    behind = [another.add(counter, 1), ex.submit(lambda: counter.add(1).result()), middle.through(last, 5)]
    tasks = ex.submit(lambda: achar.current_executor().submit(lambda: waiter.add(last, 1).result()).result())
    assert behind[2].result(LIMIT_S) == 5  # before 'waiter' comes to 'last'
    time.sleep(0.5)  # until all have said that they wait, mostly
    (tmp_path / "go").touch()
    assert slow.result(LIMIT_S) == 1
    assert sorted(call.result(LIMIT_S) for call in behind) == [2, 3, 5]
    assert tasks.result(LIMIT_S) == 6


ENDINGS = {
    "shutdown": "ex.shutdown(wait=False); go()",
    "dropped": "del ex, caller; gc.collect(); go()",
    "exit": "threading.Thread(target=go_at_exit).start()",
}


@pytest.mark.parametrize("how", ENDINGS)
def test_an_actor_that_only_another_actor_calls_is_there_until_that_has_ended(run, tmp_path, how):
    """Though no task has ever called it, and this process has dropped it."""
    path = str(tmp_path / "go")
    printed = run(
        f"""import achar, achar._pools, gc, os, threading, time
class Called:
    def add(self, n):
        return n + 1
class Caller:
    def call(self, called, path):
        open(path + ".begun", "w").close()
        while not os.path.exists(path):
            time.sleep(0.01)
        return called.add(1).result()
def go():
    open({path!r}, "w").close()
    print(future.result())
def go_at_exit():
    while not achar._pools.exiting:
        time.sleep(0.01)
    go()
ex = achar.Executor(1)
called, caller = ex.actor(Called), ex.actor(Caller)
future = caller.call(called, {path!r})
while not os.path.exists({path!r} + ".begun"):
    time.sleep(0.01)
del called
{ENDINGS[how]}
"""
    )
    assert printed == "2\n"


def test_ctrl_c_in_shutdown_ends_the_calls_of_actors_that_were_sent(run):
    run(
        """import achar, signal, sys, threading, time
class Busy:
    def never(self):
        while True:
            time.sleep(0.01)
def interrupt():
    names = []
    while "wait_for_end" not in names:
        frame, names = sys._current_frames()[threading.main_thread().ident], []
        while frame:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
    signal.raise_signal(signal.SIGINT)
ex = achar.Executor(1)
busy = ex.actor(Busy)
ex.submit(lambda busy: None, busy).result()
future = busy.never()
while not future.running():
    time.sleep(0.01)
threading.Thread(target=interrupt, daemon=True).start()
try:
    ex.shutdown()
except KeyboardInterrupt:
    pass
else:
    raise AssertionError("not interrupted")
"""
    )

"""Executor.options(): time limits that reach whatever a task does, and names."""

import concurrent.futures
import os
import sys
import time

import achar
import pytest

# A machine that gives a process no processor for a while lets a limit pass before the task has come to what it is to be
# found in; then with the next one.
LIMITS_S = (0.2, 4, 40)


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def test_within_the_limit(ex):
    assert ex.options(timeout=100).submit(pow, 2, 10).result() == 1024
    assert list(ex.options(timeout=100).map(pow, range(5), range(5))) == [n**n for n in range(5)]
    assert ex.options().submit(dict, a=1).result() == {"a": 1}


def test_a_task_is_told_to_end(ex):
    """It gets TimeoutError where it stands, cleans up, and its worker lives on."""

    def task():
        try:
            time.sleep(60)
        finally:
            print("cleaned up")

    with achar.Executor(1) as executor:
        executor._pool.be_patient(60)
        before = executor.submit(os.getpid).result()
        for limit in LIMITS_S:
            error = executor.options(timeout=limit).submit(task).exception()
            assert type(error) is TimeoutError and str(error) == "the task's time limit has passed"
            if "time.sleep(60)" in str(error.__cause__):
                break
        assert "time.sleep(60)" in str(error.__cause__)
        assert executor.submit(os.getpid).result() == before


def tasks_that_do_not_end():
    """Made here, so that they travel by value: importing this module takes pytest along, and time."""

    def catch_everything():
        while True:
            try:
                time.sleep(60)
            except BaseException:  # noqa: S110
                pass

    def stay_in_c():
        sum(range(10**15))

    def run_a_program():
        import subprocess

        subprocess.run(["sleep", "1000"], check=True)

    def be_unpicklable():
        class Slow:
            def __reduce__(self):
                time.sleep(1000)

        return Slow()

    return locals()


TASKS = tasks_that_do_not_end()


@pytest.mark.parametrize("name", TASKS)
def test_whatever_it_does(ex, name):
    futures = [ex.submit(pow, n, 2) for n in range(20)]
    overdue = ex.options(timeout=0.2).submit(TASKS[name])
    futures += [ex.submit(pow, n, 2) for n in range(20)]
    assert isinstance(overdue.exception(120), TimeoutError), overdue.exception()
    assert [future.result() for future in futures] == [n * n for n in range(20)] * 2
    assert ex.submit(len, "abc").result() == 3


def test_reading_what_was_sent_counts(ex):
    class Slow:
        def __reduce__(self):
            return time.sleep, (60,)

    error = ex.options(timeout=0.2).submit(id, Slow()).exception()
    assert type(error) is TimeoutError, error


def test_the_message_of_a_task_that_was_killed(ex):
    for limit in LIMITS_S:
        error = ex.options(timeout=limit, name="the slow one").submit(TASKS["catch_everything"]).exception()
        assert type(error) is TimeoutError
        if str(error) != "the task's time limit has passed":  # else it had not begun to catch everything
            break
    wanted = f"task the slow one: its time limit of {limit} s has passed\n  why: it did not end when"
    assert str(error).startswith(wanted), error


def test_child_processes_end_with_it(ex, tmp_path):
    def task(path):
        import os
        import subprocess

        child = subprocess.Popen(["sleep", "1000"])
        path.write_text(str(child.pid))
        os.system("sleep 1000")

    path = tmp_path / "pid"
    path.touch()
    for limit in (0.5, 4, 32):  # on a busy machine it may pass before the task has come to that
        assert isinstance(ex.options(timeout=limit).submit(task, path).exception(), TimeoutError)
        if pid := path.read_text():
            break
    assert pid
    wait_until_dead(pid)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_dead(pid):
    """It has been killed, and has to die; for that, too, it needs a processor."""
    deadline = time.monotonic() + 60
    while is_alive(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["its time limit", "force"])
def test_a_task_that_ends_when_told_leaves_no_processes_behind(tmp_path, how):
    """What it has started is killed; what was there before it, and the worker, go on."""

    def start(path):
        import subprocess

        program = subprocess.Popen(["sleep", "1000"])
        subprocess.run(["sh", "-c", f"sleep 1000 & echo $! >> {path}"], check=True)
        return program.pid

    def task(path):
        with open(path, "a") as file:
            file.write(f"{start(path)}\n")
        time.sleep(60)

    path = tmp_path / "pids"
    with achar.Executor(1) as executor:
        executor._pool.be_patient(60)
        before = executor.submit(os.getpid).result(), executor.submit(start, tmp_path / "other").result()
        time.sleep(0.05)  # the kernel's clock of processes ticks every 10 ms
        for limit in (1, 8, 64) if how != "force" else (None,):  # on a busy machine it may pass before they are started
            path.write_text("")
            ended = executor.options(timeout=limit).submit(task, path)
            while len(path.read_text().split()) < 2 and not ended.done():
                time.sleep(0.01)
            if len(path.read_text().split()) == 2:
                break
        assert len(path.read_text().split()) == 2
        if how == "force":
            assert executor.cancel(ended, force=True)
        assert concurrent.futures.wait([ended], 120).done
        assert ended.cancelled() or isinstance(ended.exception(), TimeoutError)
        assert executor.submit(os.getpid).result() == before[0]  # so it has ended, too, what that task had started
        for pid in path.read_text().split():
            wait_until_dead(pid)
        assert is_alive(before[1])
    wait_until_dead(before[1])  # with the worker, what an earlier task started


def test_what_is_returned_after_the_limit_is_thrown_away(ex):
    def task():
        try:
            time.sleep(60)
        except Exception:
            return "as if nothing had happened"

    ex._pool.be_patient(60)
    for limit in LIMITS_S:
        error = ex.options(timeout=limit).submit(task).exception()
        assert type(error) is TimeoutError
        if str(error) != "the task's time limit has passed":
            break
    assert "what it returned after that is thrown away" in str(error)


def test_what_is_raised_after_the_limit_is_its_cause(ex):
    """The limit's TimeoutError is an OSError, which many catch: the import system says that there is no such module."""

    def task():
        try:
            time.sleep(60)
        except OSError:
            raise ModuleNotFoundError("no such module") from None

    ex._pool.be_patient(60)
    for limit in LIMITS_S:
        error = ex.options(timeout=limit).submit(task).exception()
        assert type(error) is TimeoutError and str(error).startswith("the task's time limit has passed"), error
        if "no such module" in str(error.__cause__):
            break
    assert "no such module" in str(error.__cause__)


def test_what_is_raised_after_the_limit_cannot_be_sent(ex):
    """Thread.start() raises such a KeyError, when the limit passes in there."""

    def task():
        import threading

        try:
            time.sleep(60)
        except TimeoutError:
            raise KeyError(threading.Lock()) from None

    ex._pool.be_patient(60)
    for limit in LIMITS_S:
        error = ex.options(timeout=limit).submit(task).exception()
        assert type(error) is TimeoutError and str(error).startswith("the task's time limit has passed"), error
        if "KeyError" in str(error.__cause__):
            break
    assert "KeyError" in str(error.__cause__)


def test_the_limit_passes_within_an_import(tmp_path):
    """It waits for the import's end: half of one would be found by the tasks after it."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("value = 5\n")
    (tmp_path / "module.py").write_text(
        f"import time\nopen({str(tmp_path / 'runs')!r}, 'a').write('x')\ntime.sleep(0.4)\n"
    )

    def package(folder):
        import sys

        external = sys.modules["_frozen_importlib_external"]
        stat = external._path_stat

        def is_slow(path):
            if path.endswith("__init__.py"):
                external._path_stat = stat
                time.sleep(0.4)
            return stat(path)

        sys.path.append(folder)
        external._path_stat = is_slow
        __import__("package")
        time.sleep(60)

    def module(folder):
        import sys

        sys.path.append(folder)
        __import__("module")
        time.sleep(60)

    def value():
        import package

        return package.value

    for task in (package, module):
        with achar.Executor(1) as executor:
            executor._pool.be_patient(60)
            before = executor.submit(os.getpid).result()
            error = executor.options(timeout=0.2).submit(task, str(tmp_path)).exception()
            assert type(error) is TimeoutError, error
            assert executor.submit(sys.path.append, str(tmp_path)).result() is None
            assert executor.submit(value).result() == 5
            if task is module:
                executor.submit(__import__, "module").exception()
            assert executor.submit(os.getpid).result() == before
    assert (tmp_path / "runs").read_text() == "x"


def test_time_in_the_queue_does_not_count():
    with achar.Executor(1) as executor:
        for limit in (0.5, 5, 50):  # within which the task has to get a processor
            executor.submit(time.sleep, limit + 0.1)
            error = executor.options(timeout=limit).submit(int).exception()
            if error is None:
                break
        assert error is None


def test_map_with_a_limit(ex):
    for limit in (1, 8, 64):  # within which the short ones have to get a processor
        results = ex.options(timeout=limit).map(time.sleep, [0, 0.001, 600, 0])
        before = []
        with pytest.raises(TimeoutError):
            before.extend(results)
        if len(before) == 2:
            break
    assert before == [None, None]


def test_tasks_that_end_at_their_limit(ex):
    """The signal may come when the task has just ended: then it is nobody's."""
    limit = 0.02
    with_limit = [ex.options(timeout=limit).submit(time.sleep, limit - 0.004 + n * 0.0001) for n in range(80)]
    others = [ex.submit(pow, n, 2) for n in range(1000)]
    assert [future.result() for future in others] == [n * n for n in range(1000)]
    for future in with_limit:
        assert isinstance(future.exception(), TimeoutError | None), future.exception()


def test_a_timer_of_the_tasks_own():
    """What SIGALRM does to a process that has no handler for it, it does here."""

    def task():
        import signal
        import time

        signal.alarm(1)
        time.sleep(60)

    with achar.Executor(1) as executor:
        error = executor.submit(task).exception()
        assert isinstance(error, achar.WorkerDied)
        assert error.signal == "SIGALRM"
        assert executor.submit(len, "abc").result() == 3


# ---- retries


def attempts_at(path):
    """How often a task that notes its attempts in 'path' has begun."""
    return len(path.read_text()) if path.exists() else 0


def failing_until(path, good, how):
    def task():
        with open(path, "a") as file:
            file.write("x")
        if len(open(path).read()) < good:
            how()
        return "good"

    return task


WAYS_TO_FAIL = {"raise": lambda: {}["not yet"], "die": lambda: os._exit(9), "take too long": lambda: time.sleep(600)}


def test_retries_have_the_time_limit_too(ex, tmp_path):
    """Nobody is there who would wake the pool's thread after it has sent the next attempt itself."""
    options = ex.options(retries=50, backoff=0.001, timeout=0.02)  # on a busy machine some end before they noted it
    for i in range(40):
        path = tmp_path / str(i)
        assert options.submit(failing_until(str(path), 3, WAYS_TO_FAIL["take too long"])).result() == "good"
        assert attempts_at(path) >= 3  # and not 2, of which one has no end; the good one may be late, too


@pytest.mark.parametrize("how", WAYS_TO_FAIL)
def test_retries(ex, tmp_path, how):
    for limit in (0.5, 5, 50) if how == "take too long" else (None,):  # the good attempt has to get a processor in time
        path = tmp_path / f"attempts {limit}"
        options = ex.options(retries=3, backoff=0.01, timeout=limit)
        future = options.submit(failing_until(str(path), 3, WAYS_TO_FAIL[how]))
        assert limit is None or future.exception() is None or isinstance(future.exception(), TimeoutError)
        if attempts_at(path) == 3 and future.exception() is None:
            break
    assert future.result() == "good" and attempts_at(path) == 3


def test_retries_are_used_up(ex, tmp_path):
    path = tmp_path / "attempts"
    error = ex.options(retries=2, backoff=0).submit(failing_until(str(path), 100, lambda: {}["x"])).exception()
    assert type(error) is KeyError and error.args == ("x",)
    if hasattr(error, "__notes__"):
        assert error.__notes__ == ["  tried 3 times; before this: raised (2 times)"]
    assert attempts_at(path) == 3


def test_a_task_that_keeps_killing_workers_is_given_up(ex, tmp_path):
    path = tmp_path / "attempts"
    error = ex.options(retries=3, backoff=0).submit(failing_until(str(path), 100, lambda: os._exit(9))).exception()
    assert isinstance(error, achar.WorkerDied)
    assert "tried 4 times; before this: its worker exited with code 9 (3 times)" in str(error)
    assert attempts_at(path) == 4
    assert ex.submit(len, "abc").result() == 3


def test_no_retries_unless_asked_for(ex, tmp_path):
    path = tmp_path / "attempts"
    assert isinstance(ex.submit(failing_until(str(path), 2, lambda: os._exit(9))).exception(), achar.WorkerDied)
    assert attempts_at(path) == 1


def test_backoff_holds_up_nobody(ex, tmp_path):
    path = tmp_path / "attempts"
    slow = ex.options(retries=1, backoff=60).submit(failing_until(str(path), 2, lambda: {}["x"]))
    assert [ex.submit(pow, n, 2).result() for n in range(200)] == [n * n for n in range(200)]
    while not attempts_at(path) or slow.running():
        time.sleep(0.01)
    assert not slow.done()
    assert slow.cancel()
    assert slow.cancelled()


def test_backoff_ends_with_the_executor():
    executor = achar.Executor(1)
    future = executor.options(retries=1, backoff=60).submit(lambda: {}["x"])
    executor.submit(len, "").result()
    executor.shutdown(cancel_futures=True)
    assert future.cancelled()


def test_many_failing_attempts_leave_no_memory_behind(ex):
    """Results of failed attempts go back to the worker, more of them than the ring of releases holds."""

    def fail(text):
        raise LookupError(text)

    futures = [ex.options(retries=40, backoff=0).submit(fail, "x" * 5000) for _ in range(100)]
    assert all(type(future.exception()) is LookupError for future in futures)


# ---- priorities


def test_priorities(tmp_path):
    path = str(tmp_path / "order")

    def note(name):
        with open(path, "a") as file:
            file.write(name)

    def wait():
        while not os.path.exists(f"{path}.go"):
            time.sleep(0.01)

    with achar.Executor(1) as executor:
        executor.submit(wait)
        for name in "lmh":
            executor.options(priority={"l": -100, "m": 0, "h": 100}[name]).submit(note, name)
        for name in "LMH":
            executor.options(priority={"L": -3, "M": 0, "H": 5}[name]).submit(note, name)
        executor.submit(note, "m")
        open(f"{path}.go", "w").close()
    assert open(path).read() == "hHmMmLl"


def test_names(ex):
    error = ex.options(name="seven").submit(os._exit, 7).exception()
    assert error.task == "seven"
    assert str(error).startswith("task seven: its worker process")


def test_bad_options(ex):
    for timeout in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="timeout must be None or > 0"):
            ex.options(timeout=timeout)
    with pytest.raises(TypeError):
        ex.options(timeout="1")
    with pytest.raises(TypeError, match="name must be a str or None"):
        ex.options(name=1)
    with pytest.raises(TypeError):
        ex.options(retry=1)
    for options in ({"retries": -1}, {"retries": 1001}, {"backoff": -1}, {"priority": 101}, {"priority": -101}):
        with pytest.raises(ValueError, match="must be"):
            ex.options(**options)
    with pytest.raises(TypeError, match="must be integers"):
        ex.options(retries=1.5)


def test_futures_are_futures(ex):
    futures = [ex.options(timeout=30).submit(pow, n, 2) for n in range(10)]
    done, pending = concurrent.futures.wait(futures)
    assert not pending
    assert sorted(future.result() for future in done) == [n * n for n in range(10)]


def test_after_shutdown():
    executor = achar.Executor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.options(timeout=1).submit(len, "")

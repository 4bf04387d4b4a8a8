"""Tasks that fork, and whose children come back to where they should not: nothing of theirs reaches the client."""

import os
import time

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def test_a_child_that_returns_into_a_map(ex):
    def fork_sometimes(n):
        if n % 7 == 3:
            os.fork()
            return "forked"
        return n * n

    for _ in range(4):
        assert list(ex.map(fork_sometimes, range(40))) == ["forked" if n % 7 == 3 else n * n for n in range(40)]


def test_a_fork_while_the_result_is_pickled(ex):
    class Forks:
        def __reduce__(self):
            os.fork()
            return str, ("text" * 800 + str(os.getpid()),)

    def task(n):
        return os.getpid(), Forks() if n % 5 == 0 else "text" * 800 + str(os.getpid())

    results = [*ex.map(task, range(40)), *(f.result() for f in [ex.submit(task, n) for n in range(40)])]
    assert [text for _, text in results] == ["text" * 800 + str(pid) for pid, _ in results]


def test_a_child_has_no_part_in_the_tasks_of_the_task(ex, tmp_path):
    """It comes back and leaves, which must not end them; and it does not wait for them for ever."""

    def wait():
        while not os.path.exists(path):
            time.sleep(0.01)

    def parent():
        here = achar.current_executor()
        first = here.submit(wait)
        if os.fork() == 0:
            return None
        pid = os.fork()
        if pid == 0:
            try:
                first.result(60)
            except RuntimeError as error:
                os._exit(7 if "the process that forked this one" in str(error) else 8)
            os._exit(9)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.wait()
        open(path, "w").close()
        return code, here.submit(lambda previous: (previous, "second"), first).result()

    path = str(tmp_path / "over")
    assert ex.submit(parent).result(120) == (7, (None, "second"))

"""Tasks that fork, and whose children come back to where they should not: nothing of theirs reaches the client."""

import os

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

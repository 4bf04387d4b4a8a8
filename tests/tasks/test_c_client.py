"""A C program that has Python functions called."""

import sys

import pytest

pytestmark = pytest.mark.timeout(600)


def test_a_thousand_mixed_tasks(compile_program, execute, packages):
    client = compile_program("tests/tasks/client.c")
    assert execute(client, sys.executable, packages) == "1000 of 1000\n"


def test_the_example(compile_program, execute, packages):
    lines = execute(compile_program("examples/call_python.c"), sys.executable, packages).splitlines()
    assert lines[:2] == ["0! = 1", "10! = 3628800"] and len(lines) == 9
    assert lines[8] == "TypeError: math.factorial() takes exactly one argument (0 given)"

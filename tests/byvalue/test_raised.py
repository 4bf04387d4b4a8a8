"""Exceptions out of a task: those of cases_exceptions.py and cases_raised.py, raised in a worker."""

import json
import pathlib

import pytest
from byvalue_support import run_python

HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize("file, least", [("cases_exceptions.py", 10), ("cases_raised.py", 18)])
def test_out_of_a_task(file, least):
    outcomes = json.loads(run_python(HERE / file, "--executor").stdout)
    assert len(outcomes) >= least
    wrong = {name: text for name, text in outcomes.items() if text}
    assert not wrong, "\n".join(f"{name}: {text}" for name, text in wrong.items())

"""Exceptions out of a task: those of cases_exceptions.py and cases_raised.py, raised in a worker."""

import json
import pathlib
import pickle

import pytest
from byvalue_support import dumps, run_python

HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize("file, least", [("cases_exceptions.py", 10), ("cases_raised.py", 18)])
def test_out_of_a_task(file, least):
    outcomes = json.loads(run_python(HERE / file, "--executor").stdout)
    assert len(outcomes) >= least
    wrong = {name: text for name, text in outcomes.items() if text}
    assert not wrong, "\n".join(f"{name}: {text}" for name, text in wrong.items())


class Nonsense(Exception):
    def __reduce__(self):
        return 5


class Raises(Exception):
    def __reduce__(self):
        raise LookupError("of its own")


@pytest.mark.parametrize("options", [{}, {"portable": True}, {"deterministic": True}], ids=str)
@pytest.mark.parametrize("cls, expected", [(Nonsense, pickle.PicklingError), (Raises, LookupError)])
def test_reduce_that_fails(cls, expected, options):
    error = cls()
    error.__cause__ = ValueError()
    with pytest.raises(expected):
        dumps(error, **options)

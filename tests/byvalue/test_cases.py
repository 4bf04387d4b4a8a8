"""Every case of cases_*.py: dumped in one process, loaded and used in another."""

import json
import pathlib
import re

import pytest
from byvalue_support import run_python

HERE = pathlib.Path(__file__).parent
FILES = sorted(path.name for path in HERE.glob("cases_*.py"))
NAMES = [(file, name) for file in FILES for name in re.findall(r"@case\ndef (\w+)\(", (HERE / file).read_text())]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{file: {case: None or what went wrong}}"""
    found = {}
    for file in FILES:
        path = tmp_path_factory.mktemp("cases") / (file + ".pickles")
        unsent = json.loads(run_python(HERE / file, path).stdout)
        found[file] = json.loads(run_python(HERE / "receive.py", path).stdout) | unsent
    return found


@pytest.mark.parametrize("file, name", NAMES, ids=[name for _, name in NAMES])
def test_case(outcomes, file, name):
    if name.startswith("pep695") and name not in outcomes[file]:
        pytest.skip("syntax of Python 3.12")
    assert outcomes[file][name] is None, outcomes[file][name]


def test_all_cases_ran(outcomes):
    """A case that is written but not run would pass unseen."""
    ran = {name for results in outcomes.values() for name in results}
    assert {name for _, name in NAMES if not name.startswith("pep695")} <= ran
    assert len(ran) > 110

"""Nothing is kept: dumping and loading every case again and again leaves neither references nor memory.

leaks.py does it in a process of its own for each file of cases, and counts.
"""

import json
import pathlib

import pytest
from byvalue_support import run_python

HERE = pathlib.Path(__file__).parent
FILES = sorted(path.name for path in HERE.glob("cases_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_kept(file, tmp_path):
    grown = json.loads(run_python(HERE / "leaks.py", HERE / file, tmp_path / "out").stdout)
    assert grown.pop("cases") >= 9
    assert not grown, f"blocks or references gained in each round: {grown}"

"""Every allocation fails in turn, while pickling, unpickling and in callbacks: MemoryError, and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("_testcapi", reason="an interpreter without its own test modules")

SCRIPT = Path(__file__).resolve().parent / "no_memory.py"


@pytest.mark.parametrize("module", ["achar.pickle", "achar"])
@pytest.mark.parametrize("what", ["dumps", "loads", "callbacks"])
def test_no_memory(what, module):
    if what == "callbacks" and sys.version_info < (3, 11):
        pytest.skip("CPython 3.10 frees a function's opcode cache twice if there is no memory to make it")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", SCRIPT, what, module],
        env={**os.environ, "PYTHONMALLOC": "debug"},  # what is freed is overwritten
        capture_output=True,
        text=True,
        errors="replace",
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-5000:]
    assert done.stdout.endswith("\ndone\n")

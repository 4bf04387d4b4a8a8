"""What fuzzing has found and kept, in the Python targets; the C targets' corpora are tests of meson."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["dis", "dumps", "loads"])
def test_corpus(name):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", ROOT / "fuzz" / "replay.py", name],
        env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) >= 20

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
        env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) >= 20


def small(files, limit_nbytes):
    return [path for path in sorted(files) if path.stat().st_size <= limit_nbytes]


STRESS = "ACHAR_STRESS" in os.environ
GOLDEN = small((ROOT / "tests" / "golden").glob("*/*.pickle"), 2000 if STRESS else 80)
KEPT = small((ROOT / "fuzz" / "corpus" / "loads").iterdir(), 500 if STRESS else 50)


@pytest.mark.parametrize("part", range(2))
def test_every_prefix_and_every_changed_byte_loads_as_in_pickle(part):
    """The same value, the same error; in a process with limits on memory and time."""
    files = [*["--all"] * STRESS, *(GOLDEN + KEPT)[part::2]]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", ROOT / "fuzz" / "damage.py", *files],
        env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, timeout=7000 if STRESS else 800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert int(done.stdout.split()[0]) > 10_000

"""The model of conditions, condition.pml, in every order of events; and broken ones, which must fail."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "condition.pml"

pytestmark = pytest.mark.skipif(not shutil.which("spin"), reason="make system-test brings spin")


def search(folder, *defines, limit, optimize="-O0"):
    """(number of errors, states visited), of a search that came to its end; short ones take longer to optimize."""

    def run(*command):
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=limit).stdout

    shutil.copy(MODEL, folder)
    run("spin", *(f"-D{each}" for each in defines), "-a", MODEL.name)
    run("cc", optimize, "-w", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=2048", "-o", "pan", "pan.c")
    told = run("./pan", "-E", "-m200000")
    errors = int(re.search(r"errors: (\d+)", told)[1])
    assert errors or "Search not completed" not in told and "max search depth too small" not in told, told
    return errors, int(re.search(r"(\d+) states, stored", told)[1])


def test_every_order_of_two_waits_a_notification_and_time_limits(tmp_path):
    errors, states = search(tmp_path, "LIMITED=2", limit=800)
    assert errors == 0 and states > 100_000


def test_every_order_with_signal_handlers(tmp_path):
    errors, states = search(tmp_path, "LIMITED=0", "SIGNALS=2", limit=800)
    assert errors == 0 and states > 1_000_000


@pytest.mark.parametrize(
    "defines", [["WITHOUT_NUDGE"], ["SIGNALS=1", "WITHOUT_ASIDE"], ["SIGNALS=1", "WITHOUT_LOOKING"]]
)
def test_a_broken_protocol_is_found_out(tmp_path, defines):
    errors, _ = search(tmp_path, *defines, limit=800)
    assert errors == 1


slow = pytest.mark.skipif("ACHAR_SLOW_TESTS" not in os.environ, reason="minutes, and a GB; set ACHAR_SLOW_TESTS")


@slow
def test_every_order_with_a_death(tmp_path):
    errors, states = search(tmp_path, "DEATH", limit=3600, optimize="-O2")
    assert errors == 0 and states > 10_000_000


@slow
def test_every_order_with_a_death_and_a_signal(tmp_path):
    errors, states = search(tmp_path, "LIMITED=0", "DEATH", "SIGNALS=1", limit=3600, optimize="-O2")
    assert errors == 0 and states > 10_000_000


@slow
def test_that_the_dead_pass_nothing_on_is_found_out(tmp_path):
    errors, _ = search(tmp_path, "DEATH", "WITHOUT_PASSING_ON", limit=3600, optimize="-O2")
    assert errors == 1

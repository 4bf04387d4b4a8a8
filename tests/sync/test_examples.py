"""examples/conditions.py and its twin in C do what they say, with threads and with processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IN_PYTHON = [sys.executable, ROOT / "examples" / "conditions.py"]
IN_C = [Path(os.environ.get("ACHAR_BUILD", ROOT / "build")) / "examples" / "conditions"]


@pytest.mark.parametrize("switch", [[], ["--processes"]], ids=["threads", "processes"])
@pytest.mark.parametrize("program", [IN_PYTHON, IN_C], ids=["python", "c"])
def test_conditions(program, switch):
    done = subprocess.run([*program, *switch], capture_output=True, text=True, timeout=150, check=True)
    lines = [line.split(None, 1) for line in (done.stderr + done.stdout).splitlines()]
    said = [what for _, what in lines]
    assert {name for name, _ in lines} == {"producer", *(f"consumer-{n}" for n in range(5))}
    waits = [name for name, what in lines if what == "waits"]
    goes_on = [name for name, what in lines if what == "goes on"]
    assert goes_on == waits  # in the order of arrival
    assert said.count("goes on") == said.count("is through the barrier") == 5
    # One, two and the rest: nobody goes on before he is notified, nor before the lock is released.
    assert said.index("goes on") > said.index("notifies one")
    last_two = [number for number, what in enumerate(said) if what == "goes on"][3:]
    assert min(last_two) > said.index("releases the lock")
    assert said.index("is through the barrier") > max(last_two)

"""examples/conditions.py does what it says, with threads and with processes."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "conditions.py"


@pytest.mark.parametrize("switch", [[], ["--processes"]], ids=["threads", "processes"])
def test_conditions(switch):
    done = subprocess.run([sys.executable, EXAMPLE, *switch], capture_output=True, text=True, timeout=60, check=True)
    lines = [line.split(None, 1) for line in done.stderr.splitlines()]
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

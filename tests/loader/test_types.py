"""The stubs say what is there: mypy's stubtest compares them with the modules."""

import subprocess
import sys

ALLOWED = r"""
achar\.pickle\.Pickler\.persistent_id
achar\.pickle\.Unpickler\.persistent_load
"""  # attributes before 3.13, which subclasses define as methods


def test_stubs(tmp_path):
    allowed = tmp_path / "allowed"
    allowed.write_text(ALLOWED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "--ignore-unused-allowlist", "--allowlist", allowed]
        + ["achar.pickle", "achar._memo"],
        capture_output=True,
        text=True,
        timeout=800,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found" in done.stdout

"""A process (serve.py) for one contestant, case and direction.

So nobody's garbage, nor what a neighbour's frees have taught malloc, is in another's figures: glibc
takes large blocks from the kernel, page by page, until the first large free() makes it keep them.
"""

import os
import subprocess
import sys
from pathlib import Path

# What would differ from process to process, or takes CPU time behind our back.
SETTLED = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Runner:
    """Calling it with a number of loops gives the seconds that they took."""

    def __init__(self, contestant_name, case_name, direction, quick):
        server = Path(__file__).resolve().parent / "serve.py"
        command = [sys.executable, str(server), contestant_name, case_name, direction, "quick" if quick else "full"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **SETTLED}
        )

    def __call__(self, loops):
        self.process.stdin.write(f"{loops}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(self.process.args[1:])} ended with status {self.process.wait()}")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

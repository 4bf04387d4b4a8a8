"""Runs two commands at once: the first in front, the second with what processors the first leaves.

    side_by_side.py IN_FRONT BESIDE

What the first prints is seen at once, what the second prints when both have ended. Both run to their ends, whatever
becomes of the other. Exits with 0 if both have, or else with the status of the first that has not.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

# What runs in front has tests with many processes and limits on their waits; what runs beside it only computes,
# gets most of its time while the first waits, and a part of each second where all processors are taken.
NICENESS = 7


def main(in_front, beside):
    # A Ctrl-C reaches both commands themselves, since all are of one group; their ends are waited for.
    signal.signal(signal.SIGINT, lambda *_: None)
    with tempfile.TemporaryFile() as output:
        second = subprocess.Popen(
            f"exec {beside}", shell=True, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            close_fds=False, preexec_fn=lambda: os.nice(NICENESS),
        )  # fmt: skip
        first = subprocess.Popen(f"exec {in_front}", shell=True, close_fds=False)
        # A kill reaches this process only.
        signal.signal(signal.SIGTERM, lambda *_: (first.terminate(), second.terminate()))
        statuses = [first.wait(), second.wait()]
        output.seek(0)
        shutil.copyfileobj(output, sys.stdout.buffer)
        sys.stdout.flush()
    for command, status in zip((in_front, beside), statuses, strict=True):
        if status:
            print(f"failed, see above: {command}", file=sys.stderr)
    # Where a signal ended it: as a shell has it.
    return next((status if status > 0 else 128 - status for status in statuses if status), 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))

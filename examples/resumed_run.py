"""A run is killed half-way, started again, and does only what is left; then its record says where the time went.

The run squeezes Python's own modules and counts their words, two tasks for each. It is this script once more, in a
process of its own, which gives itself a kill -9 when half of the tasks are done. achar.Memo keeps the results,
Executor(monitor=) the record; both are SQLite files in a temporary folder.

    python examples/resumed_run.py [--files N]     N modules of the standard library
"""

import argparse
import collections
import lzma
import os
import re
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import achar

# ---- the run


def squeeze(path):
    """The module's size in bytes, as it is and packed."""
    source = Path(path).read_bytes()
    return len(source), len(lzma.compress(source, preset=9 | lzma.PRESET_EXTREME))


def count_words(path):
    """The ten words that are in it most often."""
    words = collections.Counter(re.findall(r"[a-z_]\w+", Path(path).read_text(errors="replace")))
    return words.most_common(10)


def run(folder, paths, kill_after=None):
    """Every result, one line of output for each; whatever has been done before is not done again."""
    memo = achar.Memo(folder / "results.memo")
    with achar.Executor(monitor=folder / "run.db") as executor:
        remembering = executor.options(memo=memo)
        futures = [remembering.submit(task, path) for path in paths for task in (squeeze, count_words)]
        for number, future in enumerate(futures, 1):
            future.result()
            print("done", flush=True)
            if number == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
        print("hits", memo.stats()["hits"], flush=True)


# ---- what watches it


def start(folder, count, kill_after=None):
    """Runs run(); the lines that it printed, up to where it was killed."""
    command = [sys.executable, __file__, "--files", str(count), "--run", str(folder)]
    if kill_after is not None:
        command += ["--kill-after", str(kill_after)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != (0 if kill_after is None else -signal.SIGKILL):
        sys.exit(f"the run ended with {done.returncode}")
    return done.stdout.splitlines()


def print_table(title, connection, query):
    print(f"\n{title}")
    cursor = connection.execute(query)
    rows = [[column[0] for column in cursor.description], *([str(cell) for cell in row] for row in cursor)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        print("  " + first.strip().ljust(widths[0]), *others, sep="  ")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100, metavar="N", help="so many modules, two tasks for each")
    parser.add_argument("--run", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--kill-after", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args()
    modules = Path(sysconfig.get_path("stdlib")).glob("*.py")
    paths = [str(path) for path in sorted(modules, key=os.path.getsize, reverse=True)[: options.files]]
    if options.run:
        run(Path(options.run), paths, options.kill_after)
        return
    count = 2 * len(paths)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = start(folder, options.files, kill_after=count // 2)
        print(f"{count} tasks; kill -9 after {len(before)} results")
        *after, hits = start(folder, options.files)
        hits = int(hits.split()[1])
        print(f"started again: {len(after)} results, {hits} of them remembered, {count - hits} computed")
        connection = sqlite3.connect(folder / "run.db")
        ((computed,),) = connection.execute("SELECT count(*) FROM task WHERE run = 2 AND state = 'returned'")
        print_table(
            "both runs, as their record has them",
            connection,
            # What a killed run did in its last quarter of a second is not in its record, and this one may be shorter.
            """SELECT run.id AS "run", CASE WHEN run.ended IS NULL THEN 'was killed' ELSE 'ended' END AS "how",
                coalesce(sum(state = 'returned'), 0) AS "computed",
                coalesce(sum(state = 'unfinished'), 0) AS "unfinished",
                printf('%.2f', coalesce(run.ended, run.seen) - run.started) AS "seconds"
            FROM run LEFT JOIN task ON task.run = run.id GROUP BY run.id""",
        )
        print_table(
            "where the time went",
            connection,
            """SELECT name AS "task", count(*) AS "times", printf('%.2f', sum(seconds)) AS "seconds",
                printf('%.2f', sum(cpu_seconds)) AS "of them cpu",
                printf('%.1f', 1000 * max(seconds)) AS "longest, ms",
                printf('%.0f', max(peak_nbytes) / 1e6) AS "memory, MB",
                count(DISTINCT run || '.' || worker) AS "workers"
            FROM task WHERE state = 'returned' GROUP BY name ORDER BY sum(seconds) DESC""",
        )
        connection.close()
    # Others had ended by then, too, or were under way; nothing that was printed is lost.
    right = len(after) == count and hits >= len(before) and computed == count - hits
    print(f"\ncheck: {'every task was computed once, but for those that were under way' if right else 'WRONG'}")
    sys.exit(0 if right else 1)


main()

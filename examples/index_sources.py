"""Index every Python module of the standard library and of the installed packages, one task a file.

This is an ordinary script: the function, its helpers, the class of its results and its exception
live here, and there is no `if __name__ == "__main__"`. achar.Executor sends them to its workers by
value, and what comes back are instances of these very classes.

Among the inputs are the four of examples/data, each of which fails in its own way; one of them takes
its worker process with it. No other task may notice.

    python examples/index_sources.py [--files N]     at most N library files; 0, the default: all
"""

import argparse
import ast
import multiprocessing
import os
import signal
import sys
import sysconfig
import time
import tokenize
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import achar
from tqdm import tqdm

DATA = Path(__file__).resolve().parent / "data"
KILLER = DATA / "kills_its_worker.py"
LIBRARY_LIMIT_NBYTES = 4_000_000
DATA_LIMIT_NBYTES = 10_000
WORKER_COUNT = len(os.sched_getaffinity(0))
CHUNK_COUNT = 8  # files in one of ProcessPoolExecutor's tasks; one file a task is slower there


class TooLarge(Exception):
    """A file over the limit. The keyword is required: pickle's own way, cls(*args), cannot rebuild it."""

    def __init__(self, path, nbytes, *, limit_nbytes):
        super().__init__(f"{nbytes:,} bytes, the limit is {limit_nbytes:,}")
        self.path = path
        self.nbytes = nbytes
        self.limit_nbytes = limit_nbytes


@dataclass
class Module:
    path: str
    line_count: int
    definitions: list  # of (name, line)
    imports: list  # of top-level package names


def statements_of(node):
    """The statements below 'node', at every depth. Definitions and imports are nowhere else."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        for child in getattr(node, field, ()):
            yield child
            yield from statements_of(child)


def index_file(path, limit_nbytes):
    """What 'path' defines and imports."""
    nbytes = os.path.getsize(path)
    if nbytes > limit_nbytes:
        raise TooLarge(path, nbytes, limit_nbytes=limit_nbytes)
    with tokenize.open(path) as file:  # minds a coding cookie; UTF-8 without one
        source = file.read()
    if source.startswith("# index: segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)  # what a fault in native code looks like from outside
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        tree = ast.parse(source, path)
    module = Module(path, source.count("\n") + 1, [], [])
    for node in statements_of(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            module.definitions.append((node.name, node.lineno))
        elif isinstance(node, ast.Import):
            module.imports += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            module.imports.append(node.module.partition(".")[0])
    return module


def index_or_say_why(task):
    """For the runs without achar: the Module, or the exception as text."""
    try:
        return index_file(*task)
    except Exception as error:
        return text_of(error)


def text_of(error):
    return f"{type(error).__name__}: {error}"


def library_files():
    """Python files of the standard library and of the packages, without the libraries' own tests."""
    not_sources = {"test", "tests", "idle_test", "__pycache__"}
    packages = {"site-packages", "dist-packages"}  # inside the standard library's folder
    for root in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = sorted(set(subfolders) - not_sources - packages)
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def find_tasks(library_limit):
    """The arguments of every task, our own inputs last."""
    library = list(library_files())
    tasks = [(path, LIBRARY_LIMIT_NBYTES) for path in library[: library_limit or None]]
    ours = [(str(path), DATA_LIMIT_NBYTES) for path in sorted(DATA.glob("*.py"))]
    tasks += ours
    nbytes = sum(len(Path(path).read_bytes()) for path, _ in tasks)  # also: nobody pays for a cold disk
    print(f"{len(tasks):,} files, {nbytes / 1e6:.1f} MB, {WORKER_COUNT} workers", flush=True)
    if library_limit and library_limit < len(library):
        print(f"(--files: {len(library):,} library files are there)")
    print(f"{len(ours)} fail on purpose; the worker that {KILLER.name} kills says so on stderr", flush=True)
    return tasks


def progress(iterable, total, label):
    interval = 0.1 if sys.stderr.isatty() else 5
    return tqdm(iterable, f"{label:20}", total, unit=" files", mininterval=interval)


def run_on_achar(tasks):
    """{path: Module or the exception that came back}; a task for each file."""
    outcomes = {}
    with achar.Executor(WORKER_COUNT) as executor:
        futures = {executor.submit(index_file, *task): task[0] for task in tasks}
        for future in progress(as_completed(futures), len(futures), "achar.Executor"):
            path = futures[future]
            try:
                outcomes[path] = future.result()
            except TooLarge as error:  # this script's own class, its attributes as they were
                tqdm.write(f"{short(error.path)} is {error.nbytes - error.limit_nbytes:,} bytes over its limit")
                outcomes[path] = error
            except Exception as error:
                outcomes[path] = error
    return outcomes


def run_in_one_process(tasks):
    outcomes = progress(map(index_or_say_why, tasks), len(tasks), "one process")
    return dict(zip((path for path, _ in tasks), outcomes, strict=True))


def run_on_process_pool(tasks):
    """The standard library's pool. It finds the functions of a script without a guard by forking it."""
    with ProcessPoolExecutor(WORKER_COUNT, multiprocessing.get_context("fork")) as executor:
        outcomes = executor.map(index_or_say_why, tasks, chunksize=CHUNK_COUNT)
        outcomes = progress(outcomes, len(tasks), "ProcessPoolExecutor")
        return dict(zip((path for path, _ in tasks), outcomes, strict=True))


def timed(run, tasks):
    start = time.perf_counter()
    outcomes = run(tasks)
    return outcomes, time.perf_counter() - start


def short(path):
    for root in (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), DATA.parent):
        if Path(path).is_relative_to(root):
            return str(Path(path).relative_to(root))
    return path


def print_table(title, *rows):
    """Columns as wide as their widest cell; numbers to the right."""
    print(f"\n{title}")
    texts = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    sides = [">" if isinstance(column[0], int) else "<" for column in zip(*rows, strict=True)]
    for line in texts:
        cells = [f"{text:{side}{width}}" for text, side, width in zip(line, sides, widths, strict=True)]
        print(("  " + "  ".join(cells)).rstrip())


def print_findings(outcomes):
    modules = [outcome for outcome in outcomes.values() if isinstance(outcome, Module)]
    largest = sorted(modules, key=lambda module: -module.line_count)[:5]
    print_table(
        "largest modules: lines, definitions",
        *((short(module.path), module.line_count, len(module.definitions)) for module in largest),
    )
    importers = Counter(name for module in modules for name in set(module.imports))
    print_table("most imported: by how many modules", *importers.most_common(8))
    failures = {path: error for path, error in sorted(outcomes.items()) if isinstance(error, Exception)}
    print_table(
        "failures: the exception that came back",
        *((short(path), type(error).__name__, str(error).splitlines()[0]) for path, error in failures.items()),
    )


def differences(outcomes, expected):
    """The paths for which the two runs disagree; the Modules' classes have to be the same class, too."""
    for path, wanted in expected.items():
        found = outcomes[path]
        if (text_of(found) if isinstance(found, Exception) else found) != wanted:
            yield path


parser = argparse.ArgumentParser(description="index Python's libraries on achar.Executor")
parser.add_argument("--files", type=int, default=0, metavar="N", help="at most N library files; 0: all of them")
tasks = find_tasks(parser.parse_args().files)
tqdm.monitor_interval = 0  # no thread of tqdm's in what ProcessPoolExecutor forks

outcomes, achar_seconds = timed(run_on_achar, tasks)
survivable = [task for task in tasks if task[0] != str(KILLER)]
expected, single_seconds = timed(run_in_one_process, survivable)
pool_outcomes, pool_seconds = timed(run_on_process_pool, survivable)

print_findings(outcomes)
print_table(
    "the same job, in seconds and files a second",
    *(
        (name, f"{seconds:.2f}", round(len(work) / seconds), how)
        for name, seconds, work, how in (
            ("achar.Executor", achar_seconds, tasks, "a task for each file"),
            ("one process", single_seconds, survivable, f"without {KILLER.name}"),
            ("ProcessPoolExecutor", pool_seconds, survivable, f"without it; {CHUNK_COUNT} files a task"),
        )
    ),
)
print(f"  ({KILLER.name}, or a TooLarge that comes back as itself, breaks a whole ProcessPoolExecutor: it got neither)")
wrong = [*differences(outcomes, expected), *differences(pool_outcomes, expected)]
print(f"\ncheck: {len(expected):,} outcomes, {len(wrong)} differ from those of one process {wrong or ''}".rstrip())
sys.exit(1 if wrong else 0)

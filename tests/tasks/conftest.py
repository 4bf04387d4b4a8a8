"""C programs built against the installed libachar, as their users build them."""

import os
import subprocess
from pathlib import Path

import achar
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(achar.__file__).parents[1]


def _library():
    """The folder of the libachar.so that was installed with this achar, and its prefix; or None."""
    for prefix in PACKAGES.parents:
        if (prefix / "include/achar/worker.h").exists():
            for library in sorted(prefix.glob("lib*/**/libachar.so")):
                return prefix, library.parent
    return None


@pytest.fixture(scope="session")
def compile_program(tmp_path_factory):
    """compile_program(source) -> the program's path."""
    found = _library()
    if found is None:
        pytest.skip("achar was installed without its C library")
    prefix, library = found
    folder = tmp_path_factory.mktemp("programs")

    def compile_program(source):
        program = folder / Path(source).stem
        subprocess.run(
            ["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{prefix}/include", "-o", program,
             ROOT / source, f"-L{library}", f"-Wl,-rpath,{library}", "-lachar"],
            check=True, timeout=250,
        )  # fmt: skip
        return str(program)

    return compile_program


@pytest.fixture(scope="session")
def packages():
    """The folder that achar is in."""
    return PACKAGES


@pytest.fixture(scope="session")
def worker(compile_program):
    return compile_program("tests/c/tasks/worker.c")


@pytest.fixture
def ex(worker):
    with achar.Executor(2, program=[worker]) as executor:
        yield executor


@pytest.fixture
def execute(tmp_path):
    """execute(command) -> what it printed, within a time limit."""

    def execute(*command, limit=250, returncode=0):
        done = subprocess.run(
            [os.fspath(word) for word in command], capture_output=True, text=True, timeout=limit, cwd=tmp_path
        )
        assert done.returncode == returncode, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        execute.stderr = done.stderr
        return done.stdout

    return execute

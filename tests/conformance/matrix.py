"""Every CPython of this machine that achar can be built for, and achar built for each.

An interpreter is found on PATH (python3.X), among pyenv's versions, or as the one that runs this.
It counts if it is CPython 3.10 or newer, has headers, and has its `test` package; whatever is left
out is left out with its reason. Builds lie in build/matrix/<version>/ and are made again only as
far as sources have changed; what --newest builds is not optimized, and lies in build/matrix/quick/.

    python tests/conformance/matrix.py                      list, and build
    python tests/conformance/matrix.py --pytest tests/x …   run our own tests on each of them
    python tests/conformance/matrix.py --others --pytest …  on one of each other version 3.X
    python tests/conformance/matrix.py --newest --pytest …  on the newest of those, without what takes long

Each interpreter has a venv beside its build, with what tools/requirements-test.txt names. Each
folder of tests is a run of pytest; as many run at once as there are processors.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MATRIX = ROOT / "build" / "matrix"
OLDEST = (3, 10)
# What is the same for all interpreters, ccache (where it is) compiles once, whichever folder it is built in.
SHARE_OBJECTS = {"CCACHE_NOHASHDIR": "1"}
TIME_LIMIT_S = 1800
# Half of the time of --newest, for what is least likely to depend on the interpreter; --others runs it.
LONG = ["byvalue/test_deterministic.py", "byvalue/test_kept.py", "loader/test_bombs.py", "saver/test_leaks.py",
        "saver/test_no_memory.py"]  # fmt: skip

PROBE = """
import importlib.util, json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": sys.executable,
    "implementation": platform.python_implementation(),
    "version": platform.python_version(),
    "numbers": sys.version_info[:3],
    "prefix": os.path.realpath(sys.base_prefix),
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
    "tests": importlib.util.find_spec("test") is not None
             and importlib.util.find_spec("test.pickletester") is not None,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
}))
"""


def plain_environment():
    """The environment without what would leak one interpreter's modules into another's."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PYENV_VERSION")}


def candidates():
    """Paths that may be interpreters, the most particular first."""
    yield Path(sys.executable)
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted((root / "versions").glob("3.*/bin/python3"))
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for minor in range(OLDEST[1], 31):
            path = Path(folder or ".") / f"python3.{minor}"
            if path.exists():
                yield path
    system = Path("/usr/bin/python3")
    if system.exists():
        yield system


class Interpreter:
    def __init__(self, facts):
        self.executable = facts["executable"]
        self.version = facts["version"]
        self.numbers = tuple(facts["numbers"])
        self.suffix = facts["suffix"]
        self.quick = False  # compiled without optimization, in half the time, in a folder of its own
        self.installed = None  # the folder that has an achar for it, if it need not be built

    @property
    def folder(self):
        return MATRIX / "quick" / self.version if self.quick else MATRIX / self.version

    @property
    def prefix(self):
        return self.folder / "prefix"

    @property
    def site(self):
        """Where achar is installed for it."""
        return self.installed or self.prefix / "site"

    @property
    def extension(self):
        return self.site / "achar" / f"_achar{self.suffix}"

    def environment(self):
        return {**plain_environment(), "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}

    def build(self):
        """Builds and installs achar for this interpreter; raises RuntimeError with the output if it fails."""
        if self.installed:
            return
        tools = Path(sys.executable).parent
        meson = str(tools / "meson") if (tools / "meson").exists() else "meson"
        folder = str(self.folder)
        setup = [
            meson, "setup", folder, f"--prefix={self.prefix}", f"-Dpython_exe={self.executable}", "-Dtests=disabled",
            "-Dpython.purelibdir=site", "-Dpython.platlibdir=site", "-Ddefault_library=static",
            *(["-Doptimization=0"] if self.quick else []),
        ]  # fmt: skip
        configured = self.folder / "configured-as"
        if not configured.exists() or configured.read_text() != repr(setup):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.run(setup)
            configured.write_text(repr(setup))
        # The extension and the package alone: the command, programs and man pages are the same for all.
        self.run([meson, "compile", "-C", folder, "extension"])
        self.run([meson, "install", "-C", folder, "--no-rebuild", "--quiet", "--only-changed",
                  "--tags", "python-runtime"])  # fmt: skip

    def run(self, command, trouble="achar does not build"):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(
            command, cwd=ROOT, env={**plain_environment(), "PATH": path, **SHARE_OBJECTS}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"CPython {self.version}: {trouble}\n{done.stdout}")

    @property
    def venv_python(self):
        """What runs pytest: the interpreter that runs this has all that it takes, where its achar is installed."""
        return Path(sys.executable) if self.installed else self.folder / "venv" / "bin" / "python"

    def make_venv(self):
        """A venv with what our own tests need; achar comes from 'site'."""
        if self.installed:
            return
        requirements = ROOT / "tools" / "requirements-test.txt"
        stamp = self.folder / "venv" / ".requirements"
        if stamp.exists() and stamp.read_text() == requirements.read_text():
            return
        self.run([self.executable, "-m", "venv", "--clear", str(self.folder / "venv")], "no venv")
        pip = [str(self.venv_python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self.run([*pip, "-r", str(requirements)], "the test requirements do not install")
        stamp.write_text(requirements.read_text())


def discover(say=print):
    """The interpreters to test, in order of version; says what is left out, and why."""
    found = {}
    seen = set()
    for path in candidates():
        try:
            answer = subprocess.run(
                [str(path), "-c", PROBE], capture_output=True, text=True, timeout=200, env=plain_environment()
            )
            facts = json.loads(answer.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue  # a pyenv shim for a version that is not selected, or not Python at all
        key = (facts["version"], facts["prefix"])
        if key in seen or facts["version"] in found:
            continue
        seen.add(key)
        reason = None
        if facts["implementation"] != "CPython":
            reason = "not CPython"
        elif tuple(facts["numbers"]) < OLDEST:
            continue  # achar does not claim to support it
        elif facts["free_threaded"]:
            reason = "free-threaded; achar is not tested there"
        elif not facts["headers"]:
            reason = "it has no headers (Debian: python3.X-dev)"
        elif not facts["tests"]:
            reason = "it has no test package (Debian: libpython3.X-testsuite)"
        if reason:
            say(f"skipped: CPython {facts['version']} at {path}: {reason}")
        else:
            found[facts["version"]] = Interpreter(facts)
    return sorted(found.values(), key=lambda one: one.numbers)


def here(interpreters=None):
    """The interpreter that runs this, with the achar that is installed for it; a list: empty if it is none to test."""
    found = [one for one in interpreters or discover() if one.numbers == sys.version_info[:3]]
    for one in found:
        one.installed = Path(importlib.util.find_spec("achar").origin).parent.parent
    return found


def others(interpreters):
    """The newest of each 3.X but of the one that runs this."""
    newest = {one.numbers[:2]: one for one in interpreters}
    newest.pop(sys.version_info[:2], None)
    return list(newest.values())


def newest_other(interpreters):
    """The one that `make test` builds achar for besides the one that runs this; a list: empty if there is none."""
    found = others(interpreters)[-1:]
    for one in found:
        one.quick = True
    return found


def run_pytest(interpreter, path):
    """(whether all went well, what to print)."""
    # mypy looks at the stubs once, with the interpreter that `make` uses.
    command = [
        str(interpreter.venv_python), "-X", "faulthandler", "-m", "pytest", "-p", "no:cacheprovider",
        "--ignore=tests/loader/test_types.py", *[f"--ignore=tests/{file}" for file in LONG if interpreter.quick], path,
    ]  # fmt: skip
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=interpreter.environment(), text=True, timeout=TIME_LIMIT_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        # Here, output is bytes whatever was asked for.
        output = (error.stdout or b"").decode(errors="replace")
        return False, f"CPython {interpreter.version} {path}: not finished within {TIME_LIMIT_S} s\n{output}"
    if done.returncode:
        return False, f"CPython {interpreter.version} {path}: exit status {done.returncode}\n{done.stdout}"
    *_, result = done.stdout.strip().splitlines()
    result = result.partition(" in ")[0]
    return True, f"CPython {interpreter.version:8} {path:16} {result} in {time.monotonic() - began:.0f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--others", action="store_true", help="the newest of each 3.X but the one that runs this")
    parser.add_argument("--newest", action="store_true", help="the newest of these")
    parser.add_argument("--pytest", nargs="+", metavar="PATH", default=[], help="folders or files of tests")
    options = parser.parse_args()

    began = time.monotonic()
    interpreters = discover()
    if options.newest:
        interpreters = newest_other(interpreters)
    elif options.others:
        interpreters = others(interpreters)
    for one in interpreters:
        one.build()
        if not options.pytest:
            print(f"built: CPython {one.version} ({one.executable})", flush=True)
    if not options.pytest:
        return 0
    status = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for one in interpreters:
            one.make_venv()
        jobs = [(one, path) for path in options.pytest for one in interpreters]
        for good, text in pool.map(lambda job: run_pytest(*job), jobs):
            print(text, flush=True)
            status |= not good
    versions = ", ".join(one.version for one in interpreters) or "no other interpreter is here"
    print(f"our own tests on {versions}: {'FAILED' if status else 'passed'} in {time.monotonic() - began:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())

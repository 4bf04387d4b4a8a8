"""Running what users run, outside of this tree, and a C-only installation to run it against."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What these builds are asked for does not depend on the optimizer, and its time is a minute of each `make test`.
SETUP = [] if "ACHAR_STRESS" in os.environ else ["-Doptimization=0"]
HEADERS = sorted((ROOT / "include/achar").glob("*.h"))


def run(*command, env=None, **kwargs):
    """The completed process; a failure shows what the command printed. Nothing from PYTHONPATH."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.update(env or {})
    done = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=600, **kwargs
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@cache
def public_functions():
    """The functions that the headers export, {name: header's file name}, by the word that exports them."""
    declaration = re.compile(r"^ACHAR_API\b[^;(]*?\b(achar_\w+)\(", re.MULTILINE)
    return {name: path.name for path in HEADERS for name in declaration.findall(path.read_text())}


class Installation:
    """What `meson install` of a build with -Dpython=disabled put under a prefix, and how to use it.

    Wherever a compiler runs for it, Python.h is an error.
    """

    def __init__(self, folder):
        poison = folder / "poison"
        poison.mkdir()
        (poison / "Python.h").write_text("#error Python.h was included\n")
        self.prefix = folder / "prefix"
        self.build = folder / "build"
        self.library = self.prefix / "lib"
        self.env = {"CPATH": str(poison), "PKG_CONFIG_PATH": str(self.library / "pkgconfig")}
        self.run("meson", "setup", "-Dpython=disabled", "-Dtests=disabled", f"--prefix={self.prefix}",
                 "-Dlibdir=lib", *SETUP, self.build, ROOT)  # fmt: skip
        self.run("meson", "install", "-C", self.build)

    def run(self, *command, **kwargs):
        return run(*command, env={**self.env, **kwargs.pop("env", {})}, **kwargs)

    def flags(self, *options):
        """What pkg-config says with 'options'."""
        return self.run("pkg-config", *options, "achar").stdout.split()

    def compile(self, compiler, source, program, *, static):
        """Makes 'program' from 'source' the way README says."""
        link = ["-static", *self.flags("--static", "--libs")] if static else self.flags("--libs")
        self.run(*compiler, *self.flags("--cflags"), "-o", program, source, *link)

    def execute(self, program, *arguments, **kwargs):
        """Runs what compile() made, against the shared library where it needs that."""
        return self.run(program, *arguments, env={"LD_LIBRARY_PATH": str(self.library)}, **kwargs)

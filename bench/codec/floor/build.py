"""Compiles floor.c for the interpreter that runs and imports it; rebuilt when its source is newer."""

import importlib.util
import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = (HERE / "floor.c", HERE / "kinds.def")
FLAGS = ["-O2", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-missing-field-initializers"]


def load_floor(folder):
    """The module _floor; what is compiled is kept in 'folder'."""
    built = Path(folder) / f"_floor{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not built.exists() or built.stat().st_mtime < max(path.stat().st_mtime for path in SOURCES):
        built.parent.mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        fresh = built.with_suffix(f".{os.getpid()}")
        include = f"-I{sysconfig.get_path('include')}"
        subprocess.run([*compiler, *FLAGS, include, SOURCES[0], "-o", fresh], check=True)
        fresh.replace(built)
    spec = importlib.util.spec_from_file_location("_floor", built)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

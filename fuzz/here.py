"""Where the Python targets find things."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def use_build(build):
    """`import achar` is from now on the source's Python files and the extension of that build."""
    folders = [str(ROOT / "python" / "achar"), str(Path(build) / "src" / "python")]
    spec = importlib.util.spec_from_file_location(
        "achar", ROOT / "python" / "achar" / "__init__.py", submodule_search_locations=folders
    )
    sys.modules["achar"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

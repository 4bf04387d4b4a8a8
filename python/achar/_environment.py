"""Whether a worker's interpreter and packages are the client's.

The versions of Python and achar are compared when a worker starts. Those of packages matter, and can
differ, only where workers run another interpreter than the client: there each package that the client
had imported is compared when a task imports it, so that nothing is imported for the comparison.
"""

from __future__ import annotations

import sys

from . import _achar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def describe(with_packages: bool) -> dict[str, Any]:
    """What the client tells its workers; plain values, since another version may have to read them."""
    return {
        "python": _python(),
        "achar": _achar.version,
        "executable": sys.executable,
        "packages": _packages() if with_packages else {},
    }


def _python() -> str:
    # Code objects are the same for all patch versions.
    return f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"


def _packages() -> dict[str, str]:
    versions = {}
    for name, module in list(sys.modules.items()):
        if "." not in name and name not in sys.stdlib_module_names:
            version = getattr(module, "__dict__", {}).get("__version__")
            if isinstance(version, str):
                versions[name] = version
    return versions


def difference(client: dict[str, Any]) -> str | None:
    """In a worker: how it differs from the client, or None; from then on packages are looked at, too."""
    here = describe(False)
    for what in ("python", "achar"):
        if client[what] != here[what]:
            name = what if what == "achar" else "Python"
            return (
                f"{name} is {client[what]} in the client ({client['executable']}) "
                f"and {here[what]} in the worker ({sys.executable})"
            )
    if client["packages"]:
        sys.meta_path.insert(0, CompareWhenImported(client))  # type: ignore[arg-type]
    return None


class CompareWhenImported:
    def __init__(self, client: dict[str, Any]) -> None:
        self.client, self.versions = client, dict(client["packages"])

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        wanted = self.versions.pop(name, None)
        if wanted is None:
            return None
        import importlib.util

        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None or isinstance(spec.loader, type):  # built in, frozen
            return spec
        run = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            del spec.loader.exec_module  # a loader may be that of other modules, too
            run(module)
            found = module.__dict__.get("__version__")
            if found is not None and found != wanted:
                from .errors import EnvironmentDiffers

                self.versions[name] = wanted  # the next import says so again
                raise EnvironmentDiffers(
                    f"{name} is {wanted} in the client ({self.client['executable']}) "
                    f"and {found} in the worker ({sys.executable})"
                )

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

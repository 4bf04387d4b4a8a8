"""The label of a stream with code in it: who wrote it, and which versions it names.

``src/python/byvalue/sender.c`` says where it stands. It is text in lines: the mark, the process, a line
for each module. The fields of a line are separated by tabs; what is not known is empty.
"""

from __future__ import annotations

import os
import sys

_MARK = "achar:sender"


# No NamedTuple: the first function by value, and the first executor, would wait 5 ms for typing.
class Module:
    def __init__(self, version: str, file: str) -> None:
        self.version = version
        self.file = file  # where no version is known


class Sender:
    def __init__(self, host: str, pid: str, program: str, python: str, modules: dict[str, Module]) -> None:
        self.host = host
        self.pid = pid
        self.program = program
        self.python = python
        self.modules = modules

    def __str__(self) -> str:
        return f"{self.program} (pid {self.pid} on {self.host}, Python {self.python})"


def process_line() -> bytes:
    """The label's beginning, about this process."""
    fields = (os.uname().nodename, str(os.getpid()), _program(), sys.version.split()[0])
    return f"{_MARK}\n{_fields(fields)}".encode(errors="replace")


def module_line(name: str) -> bytes | None:
    """The label's line about a module; None if every Python with achar has it."""
    package = name.partition(".")[0]
    if package in sys.stdlib_module_names or package == "achar":
        return None
    version = version_of(package)
    file = "" if version else getattr(sys.modules.get(name), "__file__", None) or ""
    return f"\n{_fields((name, version, file))}".encode(errors="replace")


def read(label: bytes) -> Sender | None:
    """What a label says; None if it is none."""
    mark, *lines = label.decode(errors="replace").split("\n")
    if mark != _MARK or not lines:
        return None
    host, pid, program, python = (lines[0].split("\t") + [""] * 4)[:4]
    modules = {}
    for line in lines[1:]:
        name, version, file = (line.split("\t") + [""] * 3)[:3]
        modules[name] = Module(version, file)
    return Sender(host, pid, program, python, modules)


def version_of(package: str) -> str:
    """A package's version as it says itself, or as it was installed; "" if nobody knows."""
    module = sys.modules.get(package)
    version = getattr(module, "__version__", None)
    if isinstance(version, str):
        return version
    file = getattr(module, "__file__", None) or ""
    if "site-packages" not in file and "dist-packages" not in file:
        return ""  # a program's own module: no need to import what knows
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _program() -> str:
    program = sys.argv[0] if sys.argv else ""
    if program == "-c":
        return "python -c"
    return os.path.basename(program) or "python"


def _fields(fields: tuple[str, ...]) -> str:
    return "\t".join(" ".join(field.split()) for field in fields)

"""Known shapes as Pythons from 2.7 to 3.13 and numpys from 1.16 to 2.2 wrote them."""

import importlib.util
import pathlib

import pytest
from shapes_client import ASCII, BYTES, LATIN1, Server, same

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "shapes"
FILES = sorted(FOLDER.glob("*/*.pickle"))


def made_here():
    spec = importlib.util.spec_from_file_location("make_golden_shapes", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.all_values())


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


def readings():
    for file in FILES:
        old = file.parent.name.startswith("2.")
        for encoding in (LATIN1, BYTES) if old else (ASCII,):
            yield pytest.param(file, encoding, id=f"{file.parent.name}-{file.stem}{'-bytes' * (encoding == BYTES)}")


def as_text(value):
    """Python 2's str, left as bytes, where values() has text."""
    if isinstance(value, bytes):
        return value.decode("ascii")
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_text, value))
    if type(value).__name__ in ("OrderedDict", "Counter"):
        return type(value)({as_text(key): item for key, item in value.items()})
    if type(value).__name__ == "ndarray" and value.dtype.kind == "O":
        value = value.copy()
        value.flat = [as_text(item) for item in value.flat]
    return value


@pytest.mark.parametrize("file, encoding", list(readings()))
def test_what_others_wrote(server, file, encoding):
    expected = made_here()
    found = server.describe(file.read_bytes(), encoding)
    names = {as_text(name): value for name, value in found.items()}
    assert len(names) >= 17
    for name, value in names.items():
        value = as_text(value) if encoding == BYTES else value
        assert same(value, expected[name], any_order=True), name


def test_all_of_them_are_there():
    names = {file.parent.name for file in FILES}
    assert {"2.7-numpy1.16", "3.6", "3.8-numpy1.24", "3.10-numpy2.2", "3.13"} <= names

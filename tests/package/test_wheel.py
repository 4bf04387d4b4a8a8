"""The wheel, built from this tree and used from outside it."""

import sys
import zipfile

import pytest
from package_support import ROOT, SETUP, run

pytestmark = pytest.mark.timeout(900)  # builds on a busy machine


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index",
        f"--config-settings=build-dir={folder / 'build'}",
        *[f"--config-settings=setup-args={option}" for option in SETUP], "--wheel-dir", folder, ROOT,
    )  # fmt: skip
    (found,) = folder.glob("achar-*.whl")
    return found


def test_wheel_holds_the_package_and_the_command_only(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"achar/__init__.py", "achar/_achar.pyi", "achar/py.typed"} <= set(names)
    extensions = sorted(name.partition(".")[0] for name in names if name.endswith(".so"))
    assert extensions == ["achar/_achar", "achar/_memo", "achar/_record"]
    assert any(name.endswith("/scripts/achar") for name in names)
    assert not [name for name in names if name.endswith((".h", ".a", ".pc")) or "libachar" in name]


def test_wheel_works_in_a_fresh_environment(wheel, tmp_path):
    fresh = tmp_path / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", fresh)
    python = fresh / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    where = run(python, "-c", "import achar._achar; print(achar._achar.__file__)", cwd=tmp_path).stdout
    assert where.startswith(str(fresh))
    task = "import achar\nwith achar.Executor(1) as executor: print(executor.submit(lambda x: x + 1, 1).result())"
    assert run(python, "-c", task, cwd=tmp_path).stdout == "2\n"


def test_the_extensions_export_their_init_functions_only(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        extensions = [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(tmp_path, extensions)
    for extension in extensions:
        symbols = run("nm", "-D", "--defined-only", tmp_path / extension).stdout
        name = extension.partition(".")[0].rpartition("/")[2]
        assert [line.split()[-1] for line in symbols.splitlines()] == [f"PyInit_{name}"]

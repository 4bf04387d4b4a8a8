"""What users install, built from this tree and used from outside it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command, env=None, **kwargs):
    """The completed process; a failure shows what the command printed. Nothing from PYTHONPATH."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.update(env or {})
    done = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=240, **kwargs
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index",
        f"--config-settings=build-dir={folder / 'build'}", "--wheel-dir", folder, ROOT,
    )  # fmt: skip
    (found,) = folder.glob("achar-*.whl")
    return found


def test_wheel_holds_the_package_and_the_command_only(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"achar/__init__.py", "achar/_achar.pyi", "achar/py.typed"} <= set(names)
    assert len([name for name in names if name.endswith(".so")]) == 1
    assert any(name.endswith("/scripts/achar") for name in names)
    assert not [name for name in names if name.endswith((".h", ".a", ".pc"))]


def test_wheel_works_in_a_fresh_environment(wheel, tmp_path):
    fresh = tmp_path / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", fresh)
    python = fresh / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    where = run(python, "-c", "import achar._achar; print(achar._achar.__file__)", cwd=tmp_path).stdout
    assert where.startswith(str(fresh))
    task = "import achar\nwith achar.Executor(1) as executor: print(executor.submit(lambda x: x + 1, 1).result())"
    assert run(python, "-c", task, cwd=tmp_path).stdout == "2\n"


@pytest.fixture(scope="module")
def c_only(tmp_path_factory):
    """The prefix of a build with -Dpython=disabled on a path where Python.h is an error."""
    folder = tmp_path_factory.mktemp("c_only")
    poison = folder / "poison"
    poison.mkdir()
    (poison / "Python.h").write_text("#error Python.h was included\n")
    env = {"CPATH": str(poison)}
    run("meson", "setup", "-Dpython=disabled", "-Dtests=disabled", f"--prefix={folder / 'prefix'}",
        "-Dlibdir=lib", folder / "build", ROOT, env=env)  # fmt: skip
    run("meson", "install", "-C", folder / "build", env=env)
    return folder / "prefix"


def test_c_only_build_installs_library_and_headers(c_only):
    assert (c_only / "include/achar/achar.h").is_file()
    assert (c_only / "lib/libachar.a").is_file()
    assert not list(c_only.rglob("*.py"))


def test_a_c_program_finds_the_library_by_pkg_config(c_only, tmp_path):
    program = tmp_path / "program.c"
    program.write_text(
        "#include <stdio.h>\n"
        "#include <achar/achar.h>\n"
        "int main(void) { puts(achar_status_name(ACHAR_E_LIMIT)); return 0; }\n"
    )
    env = {"PKG_CONFIG_PATH": str(c_only / "lib/pkgconfig")}
    flags = run("pkg-config", "--cflags", "--libs", "--static", "achar", env=env).stdout.split()
    run("cc", "-Werror", "-o", tmp_path / "program", program, *flags)
    assert run(tmp_path / "program").stdout == "E_LIMIT\n"


def test_every_global_symbol_has_the_prefix(c_only):
    symbols = run("nm", "--defined-only", "--extern-only", c_only / "lib/libachar.a").stdout
    names = [line.split()[-1] for line in symbols.splitlines() if len(line.split()) == 3]
    assert names
    assert [name for name in names if not name.startswith("achar_")] == []


def test_the_extension_exports_its_init_function_only(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        (extension,) = [name for name in archive.namelist() if name.endswith(".so")]
        archive.extract(extension, tmp_path)
    symbols = run("nm", "-D", "--defined-only", tmp_path / extension).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["PyInit__achar"]


@pytest.mark.skipif(not shutil.which("clang"), reason="no clang here")
def test_clang_builds_it_too(tmp_path):
    run("meson", "setup", "-Dpython=disabled", "-Dtests=disabled", "-Dwerror=true", tmp_path / "build", ROOT,
        env={"CC": "clang"})  # fmt: skip
    run("ninja", "-C", tmp_path / "build")

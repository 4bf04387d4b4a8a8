"""libachar, as it is installed and as C and C++ programs use it; no Python header is in reach."""

import collections
import datetime
import decimal
import pickle
import re
import shutil
import sys
import uuid
from pathlib import Path

import achar
import numpy
import pytest
from package_support import HEADERS, ROOT, public_functions, run

pytestmark = pytest.mark.timeout(900)  # builds on a busy machine

C = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-pedantic-errors", "-Werror"]
CXX = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
COMPILERS = {".c": [["gcc", *C], ["clang", *C]], ".cpp": [["g++", *CXX], ["clang++", *CXX]]}
GNU = {"-std=c11": "-std=gnu11", "-std=c++17": "-std=gnu++17"}  # for programs, which use more than the headers do
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.suffix in COMPILERS)


def compilers_for(suffix):
    return [
        pytest.param(
            command, id=command[0], marks=pytest.mark.skipif(not shutil.which(command[0]), reason=f"no {command[0]}")
        )
        for command in COMPILERS[suffix]
    ]


def version():
    """The version that the build says, as (whole, of the interface)."""
    whole = re.search(r"version: '([\d.]+)'", (ROOT / "meson.build").read_text())[1]
    major, minor, _ = whole.split(".")
    return whole, f"0.{minor}" if major == "0" else major


# --- what is installed


def test_there_is_no_python_in_it(installed):
    assert [path for path in installed.prefix.rglob("*") if re.search(r"\.py|python", path.name)] == []


def test_all_headers_are_installed_and_nothing_else_is(installed):
    assert sorted(path.name for path in (installed.prefix / "include/achar").iterdir()) == [
        path.name for path in HEADERS
    ]


def test_destdir_goes_before_the_prefix(installed, tmp_path):
    run("meson", "install", "-C", installed.build, "--no-rebuild", env={"DESTDIR": str(tmp_path)})
    staged = tmp_path / installed.prefix.relative_to("/")

    def files(top):
        return sorted(path.relative_to(top) for path in top.rglob("*"))

    assert files(staged) == files(installed.prefix)
    assert str(tmp_path) not in (staged / "lib/pkgconfig/achar.pc").read_text()


def test_pkg_config_knows_the_version_and_who_needs_what(installed):
    assert installed.flags("--modversion") == [version()[0]]
    assert installed.flags("--cflags") == [f"-I{installed.prefix}/include"]
    assert installed.flags("--libs") == [f"-L{installed.library}", "-lachar"]
    assert {"-lachar", "-lgmp"} <= set(installed.flags("--libs", "--static"))


# --- symbols


def test_the_shared_library_exports_the_functions_of_the_headers_under_a_version(installed):
    symbols = run("nm", "-D", "--defined-only", "--with-symbol-versions", installed.library / "libachar.so").stdout
    exported = {line.split()[-1] for line in symbols.splitlines()}
    node = f"ACHAR_{version()[1]}"
    assert len(public_functions()) > 70
    assert exported == {node} | {f"{name}@@{node}" for name in public_functions()}


def test_the_shared_library_has_a_soname_and_its_links(installed):
    whole, interface = version()
    dynamic = run("readelf", "-d", installed.library / "libachar.so").stdout
    assert re.findall(r"soname: \[(.*)\]", dynamic) == [f"libachar.so.{interface}"]
    assert "python" not in dynamic
    for link in ("libachar.so", f"libachar.so.{interface}"):
        assert (installed.library / link).resolve().name == f"libachar.so.{whole}"


def test_the_static_library_has_the_same_functions_and_marks_the_rest_as_its_own(installed):
    symbols = run("nm", "--defined-only", "--extern-only", installed.library / "libachar.a").stdout
    names = {line.split()[-1] for line in symbols.splitlines() if len(line.split()) == 3}
    assert set(public_functions()) - names == set()
    assert [name for name in names - set(public_functions()) if not name.startswith("achar__")] == []


# --- headers


@pytest.mark.parametrize("compiler", [*compilers_for(".c"), *compilers_for(".cpp")])
def test_each_header_compiles_on_its_own_without_a_warning(installed, compiler, tmp_path):
    suffix = ".cpp" if "++" in compiler[0] else ".c"
    sources = []
    for header in HEADERS:
        source = tmp_path / (header.stem + suffix)
        source.write_text(f"#include <achar/{header.name}>\n#include <achar/{header.name}>\nint {header.stem};\n")
        sources.append(source)
    installed.run(*compiler, "-fsyntax-only", *installed.flags("--cflags"), *sources)


# --- programs


def use(installed, name, program, folder):
    """Runs an example, checks what it did, and returns what it printed."""
    file = folder / "file.pickle"
    if name == "pickle_dict":
        printed = installed.execute(program, file.name, cwd=folder).stdout
        assert list(pickle.loads(file.read_bytes())) == ["earth", "venus", "orbit"]
    elif name == "list_effects":
        file.write_bytes(pickle.dumps(EXAMPLES[0], 2) + pickle.dumps([]) + b"cos\nsystem\n(Vreboot\ntR.")
        printed = installed.execute(program, file.name, cwd=folder).stdout
        lines = [line.split(maxsplit=1)[1] for line in printed.splitlines()]
        assert lines == ["import pathlib.PosixPath", "call pathlib.PosixPath", "import os.system", "call os.system"]
    elif name == "write_records":
        printed = installed.execute(program, file.name, cwd=folder).stdout
        oslo, rome = pickle.loads(file.read_bytes())
        assert (oslo["station"], str(oslo["fee"]), str(rome["fee"])) == ("Oslo", "12.50", "1E+2")
        assert oslo["at"].isoformat() == "2024-02-29T12:30:00+01:00" and oslo["at"].tzname() == "CET"
        assert oslo["id"] == uuid.UUID("12345678-1234-5678-1234-567812345678")
        assert rome["samples"].tolist() == [[10, 20], [30, 40]]
    elif name == "read_records":
        samples = numpy.array([[1.5, 2], [3, 4.5]], ">f4").T
        record = {"station": "Oslo", "at": datetime.datetime(2024, 2, 29, 12, 30), "fee": decimal.Decimal("12.50")}
        file.write_bytes(pickle.dumps(collections.deque([{**record, "samples": samples}]), 5))
        printed = installed.execute(program, file.name, cwd=folder).stdout
        assert printed.splitlines() == [
            "Oslo",
            "  at: 2024-02-29 12:30:00",
            "  fee: 12.50",
            "  samples: >f4, shape (2, 2), mean 2.75",
        ]
    elif name == "conditions":
        lines = []
        for switch in ([], ["--processes"]):
            said = installed.execute(program, *switch).stdout.splitlines()
            order = {what: [line.split()[0] for line in said if line.endswith(what)] for what in ("waits", "goes on")}
            assert order["goes on"] == order["waits"]  # in the order of arrival
            lines += sorted(said)  # otherwise the order is chance
        assert lines.count("producer   notifies all") == 2 and len(lines) == 2 * (3 * 5 + 4)
        printed = lines
    elif name == "queue":
        numbers = re.findall(r"\d+", installed.execute(program).stdout)
        texts, results, lost = map(int, numbers)
        assert texts == results + lost and lost <= 1
        printed = texts
    elif name == "text_worker":
        with achar.Executor(1, program=[program], env={"LD_LIBRARY_PATH": str(installed.library)}) as ex:
            printed = [ex.submit("count", "so much text", "t").result(), ex.submit("lengths", ["a", "bcd"]).result()]
            assert printed == [2, {"a": 1, "bcd": 3}]
            with pytest.raises(ValueError, match="'tt' is no letter of one byte"):
                ex.submit("count", "text", "tt").result()
            with pytest.raises(TypeError, match="item 1 is no str"):
                ex.submit("lengths", ["a", 1]).result()
    elif name == "call_python":
        printed = installed.execute(program, sys.executable, Path(achar.__file__).parents[1]).stdout.splitlines()
        assert printed[:2] == ["0! = 1", "10! = 3628800"] and len(printed) == 9
        assert printed[8] == "TypeError: math.factorial() takes exactly one argument (0 given)"
    else:
        pytest.fail(f"examples/{name} is new: say here how it is run and what it does")
    return printed


@pytest.mark.parametrize(
    "source, compiler",
    [
        pytest.param(source, *compiler.values, id=f"{source.name}-{compiler.id}", marks=compiler.marks)
        for source in EXAMPLES
        for compiler in compilers_for(source.suffix)
    ],
)
def test_each_example_runs_with_the_shared_and_with_the_static_library(installed, source, compiler, tmp_path):
    printed = []
    for static in (False, True):
        program = tmp_path / f"{source.stem}{'-static' if static else ''}"
        installed.compile([GNU.get(flag, flag) for flag in compiler], source, program, static=static)
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", program).stdout)
        assert ("libachar.so." + version()[1] in needed) is not static
        printed.append(use(installed, source.stem, program, tmp_path))
    assert printed[0] == printed[1]


def test_the_programs_of_the_guide_print_what_it_says(installed, tmp_path):
    guide = (ROOT / "docs/libachar.md").read_text()
    blocks = re.findall(r"^```(c|console)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["c", "console"] * 2
    for kind, block in blocks:
        if kind == "c":
            (tmp_path / re.match(r"/\* (\w+\.c)", block)[1]).write_text(block)
            continue
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            done = installed.execute("bash", "-c", f"{command} 2>&1 || true", cwd=tmp_path)
            assert (command, done.stdout) == (command, output)

"""The man pages: what `achar` says about itself is in achar(1), what the headers have is in section 3."""

import re
import shutil
import subprocess

import pytest
from package_support import HEADERS, ROOT, public_functions

pytestmark = pytest.mark.timeout(900)  # builds on a busy machine
COMMAND = ROOT / "docs/man/achar.1"
OVERVIEW = ROOT / "docs/man/libachar.3"
needs_mandoc = pytest.mark.skipif(not shutil.which("mandoc"), reason="no mandoc")


@pytest.fixture(scope="module")
def helped(installed):
    """{verb: its --help}, by what `achar --help` lists."""
    program = installed.prefix / "bin/achar"
    overall = installed.run(program, "--help").stdout
    verbs = re.findall(r"^  achar ([a-z]\w*) ", overall, re.MULTILINE)
    assert verbs
    return {verb: installed.run(program, verb, "--help").stdout for verb in verbs}


def written():
    """{verb: [(short, long, argument)]} of achar(1); "" stands for what is not there."""
    text = COMMAND.read_text()
    verbs = text.split("\n.Sh VERBS\n")[1].split("\n.Sh ")[0]
    found = {}
    for section in verbs.split(".Ss ")[1:]:
        name, body = section.split("\n", 1)
        assert re.search(rf"^\.Nm\n\.Cm {name}$", body, re.MULTILINE), f"{name} has no synopsis"
        found[name] = [
            re.fullmatch(r"(?:Fl (\w) , )?Fl Fl ([\w-]+)(?: Ar (\w+))?", item).groups("")
            for item in re.findall(r"^\.It (Fl .*)$", body, re.MULTILINE)
        ]
    return found


def test_every_verb_is_in_the_page_and_no_other(helped):
    assert set(written()) == set(helped)


def test_every_option_is_in_the_page_and_no_other(helped):
    option = re.compile(r"^ +(?:-(\w), )?--([\w-]+)(?: ([A-Z]+))?(?:  |$)", re.MULTILINE)
    printed = {verb: [match.groups("") for match in option.finditer(text)] for verb, text in helped.items()}
    assert written() == printed


def test_every_option_that_a_verb_takes_is_in_its_help():
    taken = re.compile(r'\{"([\w-]+)", (?:no|required|optional)_argument, ')
    sources = {path.stem: set(taken.findall(path.read_text())) for path in (ROOT / "src/cli").glob("*.c")}
    assert {verb: {long for _, long, _ in options} for verb, options in written().items() if options} == {
        verb: options for verb, options in sources.items() if options
    }


@needs_mandoc
def test_the_examples_print_what_the_page_says(installed, tmp_path):
    shown = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=200", COMMAND], capture_output=True, text=True)
    text = re.sub(r".\x08", "", shown.stdout)
    examples = re.split(r"\n[A-Z]", text.split("\nEXAMPLES\n")[1])[0]
    commands = re.findall(r"^ +\$ (.*)\n((?: {11}(?!\$ ).*\n)*)", examples, re.MULTILINE)
    assert len(commands) >= 4
    path = f"{installed.prefix / 'bin'}:/usr/bin:/bin"
    for command, output in commands:
        done = installed.run("sh", "-c", f"{command} 2>&1 || true", env={"PATH": path}, cwd=tmp_path)
        assert done.stdout.splitlines() == [line[11:] for line in output.splitlines()], command


def test_every_function_and_header_has_a_page(installed):
    pages = installed.prefix / "share/man/man3"
    of_headers = {f"achar-{path.stem}": path.name for path in HEADERS if path.name != "achar.h"}
    functions = set(public_functions()) | {"achar_kind", "achar_nothing"}
    assert {path.name for path in pages.iterdir()} == {f"{name}.3" for name in {"libachar", *of_headers, *functions}}
    for function, header in public_functions().items():
        assert (pages / f"{function}.3").read_text() == f".so man3/achar-{header[:-2]}.3\n"
    assert sorted(re.findall(r"^\.It Xr (achar-\w+) 3$", OVERVIEW.read_text(), re.MULTILINE)) == sorted(of_headers)


def test_the_pages_that_refer_to_others_refer_to_some_that_exist(installed):
    man = installed.prefix / "share/man"
    elsewhere = {"jq.1", "less.1", "malloc.3"}
    for page in man.rglob("*.[13]"):
        for name, section in re.findall(r"^\.Xr (\S+) (\d)", page.read_text(), re.MULTILINE):
            assert f"{name}.{section}" in elsewhere or (man / f"man{section}/{name}.{section}").is_file()


@needs_mandoc
@pytest.mark.parametrize("level, pages", [("style", "man1/*.1"), ("style", "man3/libachar.3"), ("warning", "man3/*.3")])
def test_mandoc_has_nothing_to_say(installed, level, pages):
    paths = [path for path in (installed.prefix / "share/man").glob(pages) if not path.read_text().startswith(".so")]
    assert paths
    done = subprocess.run(["mandoc", "-T", "lint", "-W", level, *paths], capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert said == []

"""docs/reference is made from the headers' comments, and these are complete; what checks that finds what is wrong."""

import re
import shutil
import subprocess
import sys

import pytest
from package_support import ROOT, public_functions

PAGE = "docs/reference/c.md"


@pytest.fixture
def tree(tmp_path):
    """A copy of what the tool reads and writes."""
    for name in ("include", "docs/reference", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def check(folder):
    command = [sys.executable, folder / "tools/make_reference.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    return done.returncode, done.stdout.splitlines()


def test_the_page_is_up_to_date_and_every_function_has_a_comment():
    code, lines = check(ROOT)
    assert code == 0, "\n".join(lines)


def test_all_that_the_library_exports_is_in_the_page():
    anchors = set(re.findall(r'<a id="(\w+)"', (ROOT / PAGE).read_text()))
    assert set(public_functions()) - anchors == set()
    assert anchors - set(public_functions()) == {"achar_kind", "achar_nothing"}  # inline functions


@pytest.mark.parametrize(
    "old, new, finding",
    [
        ("/* achar_bool() is", "/* It is", "the comment above does not name achar_bool()"),
        ("/* achar_bool() is", "/* achar_boole() is", "the comment names achar_boole, which does not exist"),
        ("/* achar_bool() is", "/* ACHAR_TRUE: achar_bool() is", "the comment names ACHAR_TRUE, which does not exist"),
        ("ACHAR_API int achar_bool(", "\nACHAR_API int achar_bool(", "achar_bool has no comment"),
        ("ACHAR_API int achar_bool(", "ACHAR_API int achar_is_true(", "does not name achar_is_true()"),
        ("int achar_bool(achar_value value)", "int achar_bool(achar_value other)", "is out of date"),
        ("/* achar_bool() is 1", "/* achar_bool() is never 1", "is out of date"),
    ],
)
def test_what_is_wrong_is_found(tree, old, new, finding):
    header = tree / "include/achar/value.h"
    text = header.read_text()
    assert text.count(old) == 1
    header.write_text(text.replace(old, new))
    code, lines = check(tree)
    assert code == 1
    assert any(finding in line for line in lines), lines

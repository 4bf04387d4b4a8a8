"""The examples of README and of the tour print what these say.

A block marked `python` is run as a script of its own; the block marked `text` after it is its output.
A block marked `console` holds commands after "$ ", each followed by its output. "..." stands for
anything, as in doctest.
"""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = [
    block
    for path in ("README.md", "docs/tour.md")
    for block in re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)
]
SCRIPTS = [
    (script, output)
    for (kind, script), (next_kind, output) in zip(BLOCKS, BLOCKS[1:], strict=False)
    if (kind, next_kind) == ("python", "text")
]
SESSIONS = [block for kind, block in BLOCKS if kind == "console"]


def run(command, folder):
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=150,
    )  # fmt: skip
    return done.stdout


def assert_output(got, expected):
    assert doctest.OutputChecker().check_output(expected, got, doctest.ELLIPSIS), f"printed:\n{got}\nnot:\n{expected}"


def test_every_example_is_found():
    kinds = [kind for kind, _ in BLOCKS]
    assert kinds.count("python") == kinds.count("text") == len(SCRIPTS) > 0
    assert SESSIONS


@pytest.mark.parametrize("script, output", SCRIPTS)
def test_python(script, output, tmp_path):
    (tmp_path / "example.py").write_text(script)
    assert_output(run([sys.executable, "example.py"], tmp_path), output)


@pytest.mark.parametrize("session", SESSIONS)
def test_console(session, tmp_path):
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
        assert_output(run(["bash", "-c", command], tmp_path), output)


DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []

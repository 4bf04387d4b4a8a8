"""Functions and classes by value between versions of Python: refused, or, with their source, used.

achar has to be built for the other versions: `make test-version` does that for one, `make conformance` for all.
Each trip is two real processes of two interpreters.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ACROSS = Path(__file__).with_name("across.py")
sys.path.insert(0, str(ROOT / "tests" / "conformance"))

import matrix  # noqa: E402


def built_interpreters():
    """{minor version: an interpreter for which achar is built}: those that `make test` builds; ACHAR_STRESS=1: all."""
    found = matrix.discover(say=lambda *_: None)
    if not os.environ.get("ACHAR_STRESS"):
        found = matrix.here(found) + matrix.newest_other(found)
    return {one.numbers[:2]: one for one in reversed(found) if one.extension.exists()}


INTERPRETERS = built_interpreters()
TRIPS = [(a, b) for a in INTERPRETERS for b in INTERPRETERS]
pytestmark = pytest.mark.skipif(len(INTERPRETERS) < 2, reason="achar is built for one version: run make test-version")


def run(version, *arguments):
    interpreter = INTERPRETERS[version]
    done = subprocess.run(
        [interpreter.executable, str(ACROSS), *map(str, arguments)],
        capture_output=True, text=True, timeout=200, env=interpreter.environment(), cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    """{version: folder with what it dumped}, made when first asked for."""
    folders = {}

    def folder_of(version):
        if version not in folders:
            folders[version] = tmp_path_factory.mktemp("from-{}.{}".format(*version))
            run(version, "dump", folders[version])
        return folders[version]

    return folder_of


def name(version):
    return "{}.{}".format(*version)


@pytest.mark.parametrize("sender, receiver", TRIPS, ids=lambda version: name(version))
def test_source_is_compiled_and_used(dumped, sender, receiver):
    results = json.loads(run(receiver, "load", dumped(sender) / "source.pickle"))
    assert len(results) >= 28
    assert {name: trouble for name, trouble in results.items() if trouble} == {}


@pytest.mark.parametrize("sender, receiver", TRIPS, ids=lambda version: name(version))
def test_without_source_it_is_refused_with_both_versions(dumped, sender, receiver):
    results = json.loads(run(receiver, "refused", dumped(sender) / "plain.pickle"))
    for case, raised in results.items():
        if sender == receiver:
            assert raised is None, case
        elif raised is None or "EnumType" in raised:  # an IntFlag, for one, has no code of its own
            assert case in ("flag", "strict flag", "enum", "enum member"), case
        else:
            assert raised.startswith("UnpicklingError: "), (case, raised)
            assert f"pickled by Python {name(sender)} and cannot be loaded by Python {name(receiver)}" in raised, case
            assert "dumps(source=True)" in raised


@pytest.mark.parametrize("sender", INTERPRETERS, ids=name)
def test_a_task_that_loads_it_fails_alone(dumped, sender):
    import pickle

    import achar

    if sender == sys.version_info[:2]:
        pytest.skip("the same version")
    plain = pickle.loads((dumped(sender) / "plain.pickle").read_bytes())["plain"]
    sourced = pickle.loads((dumped(sender) / "source.pickle").read_bytes())["plain"]
    with achar.Executor(max_workers=1) as executor:
        refused = executor.submit(achar.loads, plain)
        loaded = executor.submit(lambda data: achar.loads(data)(1), sourced)
        with pytest.raises(pickle.UnpicklingError, match=f"pickled by Python {name(sender)} and cannot be loaded"):
            refused.result(timeout=200)
        assert loaded.result(timeout=200) == [5, 6]

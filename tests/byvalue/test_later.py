"""A class of __main__ that a later run reads is that run's where its definition is the same."""

import json
import pathlib

import pytest
from byvalue_support import run_python

SCRIPT = str(pathlib.Path(__file__).with_name("later.py"))
SAME = ["SamePlain", "inner", "SameSlots", "SameData", "SameColour", "SameError"]
CHANGED = {
    "ChangedCode": "double is another",
    "ChangedValue": "added is new; removed is not there any more; version was 1, and is 2",
    "ChangedDefault": "__init__ is another",
    "ChangedBase": "the bases were (ChangedValue), and are (SamePlain)",
    "ChangedProperty": "size is another",
    "ChangedBelow": "its base ChangedValue differs",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("later") / "streams")
    run_python(SCRIPT, "write", path)
    return json.loads(run_python(SCRIPT, "read", path).stdout)


@pytest.mark.parametrize("way", ["plain", "deterministic"])
def test_the_same_definition_is_the_same_class(found, way):
    for name in SAME:
        seen = found[f"{way} {name}"]
        assert seen["same"] and not seen["warnings"], (name, seen)
    assert found[f"{way} SamePlain"]["says"] == ["later", 4, 8]


@pytest.mark.parametrize("way", ["plain", "deterministic"])
def test_another_definition_is_another_class_and_a_warning(found, way):
    seen = [seen for name, seen in found.items() if name.startswith(way)]
    warnings = [text for one in seen for text in one["warnings"]]  # one when a class is made, with its base
    assert {file for one in seen for file in one["at"]} == {SCRIPT}, "the warning is about the line that loads"
    for name, why in CHANGED.items():
        assert not found[f"{way} {name}"]["same"] and found[f"{way} {name}"]["works"], name
        text = next(text for text in warnings if f"__main__.{name} of the pickle" in text)
        assert text.startswith("ClassChangedWarning: ")
        assert f"when it was pickled: {why}\n  do:  " in text, text
    assert found[f"{way} ChangedCode"]["double"] == 6, "the code that came along"


@pytest.mark.parametrize("way", ["plain", "deterministic"])
def test_no_class_of_that_name_is_no_matter(found, way):
    for name in ("ChangedKind", "local"):
        seen = found[f"{way} {name}"]
        assert not seen["warnings"] and not seen["same"], name

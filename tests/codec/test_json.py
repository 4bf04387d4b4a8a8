"""achar json: what a pickle describes, exact, and bounded whatever it describes."""

import base64
import io
import json
import math
import pickle

import programs
import pytest
import shapes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_rewrite import signature

QUIET = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def to_json(command, data, *arguments):
    done = command("json", *arguments, "-", stdin=data)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def back(node, known):
    """The Python value of what `achar json` printed, as json.h describes it. No calls."""
    if isinstance(node, list):
        return [back(item, known) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return known[node["$ref"]]
    number = node.get("$id")
    made = None
    if "$float" in node:
        return float(node["$float"])
    if "$bytes" in node:
        made = base64.b64decode(node["$bytes"], validate=True)
    elif "$bytearray" in node:
        made = bytearray(base64.b64decode(node["$bytearray"], validate=True))
    elif "$joined" in node:
        made = "".join(node["$joined"])
    elif "$str" in node:
        made = node["$str"]
    elif "$int" in node:
        made = node["$int"]
    elif "$list" in node:
        made = known[number] = []
        made.extend(back(item, known) for item in node["$list"])
    elif "$set" in node:
        made = {back(item, known) for item in node["$set"]}
    elif "$tuple" in node:
        made = tuple(back(item, known) for item in node["$tuple"])
    elif "$frozenset" in node:
        made = frozenset(back(item, known) for item in node["$frozenset"])
    else:
        made = known[number] = {}
        pairs = node["$dict"] if "$dict" in node else [(k, v) for k, v in node.items() if k != "$id"]
        for key, value in pairs:
            key = back(key, known)  # before the value, which may refer to it
            made[key] = back(value, known)
    known[number] = made
    return made


surrogates = st.text(alphabet=st.characters(categories=["Cs", "Ll"], codec=None))
keys = st.one_of(
    st.text(), surrogates, st.integers(), st.sampled_from(["$id", "$ref", "$list", "$"]), st.tuples(st.integers())
)
atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(min_value=-(2**600), max_value=2**600),
    st.floats(allow_nan=False), st.text(), surrogates,
    st.binary(), st.binary(min_size=65, max_size=200), st.text(min_size=65, max_size=100),
    st.builds(bytearray, st.binary()),
)  # fmt: skip
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(keys, inner),
        st.dictionaries(st.text(), inner),
        st.sets(st.integers()),
        st.frozensets(st.text()),
        inner.map(lambda x: [x, x, (x,)]),
    ),
    max_leaves=30,
)


def test_a_value_refers_to_its_key(command):
    text = "0" * 65
    (node,) = to_json(command, pickle.dumps({text: text}, 5))
    assert node == {"$dict": [[{"$id": 1, "$str": text}, {"$ref": 1}]]}
    assert back(node, {}) == {text: text}


def test_random_values_come_back(command):
    @given(values)
    @QUIET
    def run(value):
        (node,) = to_json(command, pickle.dumps(value, 5))
        result = back(node, {})
        assert result == value
        # also -0.0, 1 against True, and what is shared
        assert signature(result) == signature(value)

    run()


def test_forms(command):
    shown = [
        ("a\ud83d\ude00\ud83d\ude01b", '{"$joined": ["a\\ud83d", "\\ude00\\ud83d", "\\ude01b"]}'),
        ({"\ud83d\ude00": 1}, '{"$dict": [[{"$joined": ["\\ud83d", "\\ude00"]}, 1]]}'),
        ("\ude00\ud83d", '"\\ude00\\ud83d"'),
        (None, "null"),
        (float("nan"), '{"$float": "nan"}'),
        (-math.inf, '{"$float": "-inf"}'),
        (-0.0, "-0.0"),
        (1e16, "1e+16"),
        (2**200, str(2**200)),
        ("é\n\x7f\ud800\"\\", '"é\\n\\u007f\\ud800\\"\\\\"'),
        (b"abc", '{"$bytes": "YWJj"}'),
        (bytearray(b"a"), '{"$bytearray": "YQ=="}'),
        ((1, (2,)), '{"$tuple": [1, {"$tuple": [2]}]}'),
        ({"a": 1, "b": []}, '{"a": 1, "b": []}'),
        ({1: 2}, '{"$dict": [[1, 2]]}'),
        ({"$a": 1}, '{"$dict": [["$a", 1]]}'),
        ({}, "{}"),
        (len, '{"$import": ["builtins", "len"]}'),
        (shapes.Record(1, 2), '{"$call": {"$import": ["shapes", "Record"]}, "form": "newobj", "arguments": [],'
         ' "changes": [{"build": {"name": 1, "value": 2}}]}'),
        (shapes.Stack([1]), '{"$call": {"$import": ["shapes", "Stack"]}, "form": "newobj", "arguments": [],'
         ' "changes": [{"append": [1]}]}'),
        (shapes.Mapping(a=1), '{"$call": {"$import": ["shapes", "Mapping"]}, "form": "newobj", "arguments": [],'
         ' "changes": [{"set": [["a", 1]]}]}'),
        (shapes.Keyword(value=1), '{"$call": {"$import": ["shapes", "Keyword"]}, "form": "newobj_ex",'
         ' "arguments": [], "keywords": {"value": 1}, "changes": [{"build": {"value": 1}}]}'),
    ]  # fmt: skip
    for value, text in shown:
        done = command("json", "-", stdin=pickle.dumps(value, 5))
        assert done.stdout.decode() == text + "\n"


def test_cycles_and_sharing(command):
    loop = [1]
    loop.append(loop)
    d = {}
    d["self"] = d
    s = "s" * 100
    shown = [
        (loop, '{"$id": 1, "$list": [1, {"$ref": 1}]}'),
        (d, '{"$id": 1, "self": {"$ref": 1}}'),
        ([s, s], '[{"$id": 1, "$str": "' + s + '"}, {"$ref": 1}]'),
        ([d, {}], '[{"$id": 1, "self": {"$ref": 1}}, {}]'),
    ]
    for value, text in shown:
        done = command("json", "-", stdin=pickle.dumps(value, 4))
        assert done.stdout.decode() == text + "\n"


def test_what_is_thrown_away_is_shown(command):
    (node,) = to_json(command, b"cos\nsystem\n(S'true'\ntR0N.")
    assert node["$value"] is None
    assert node["$discarded"] == [{"$call": {"$import": ["os", "system"]}, "form": "reduce", "arguments": ["true"]}]


def test_persistent_ids_extensions_buffers(command):
    data = b"\x80\x05(\x82\x07K\x01Q\x97\x97\x98t."
    assert to_json(command, data) == [
        {"$tuple": [{"$extension": 7}, {"$persistent": 1}, {"$buffer": 0}, {"$buffer": 1, "readonly": True}]}
    ]


def call_of(arguments):
    return {"$call": {"$import": ["m", "f"]}, "form": "reduce", "arguments": arguments}


@pytest.mark.parametrize(
    "data, expected",
    [
        (
            b")\x94cm\nf\nh\0\x85Rb.",
            {"$id": 1, "$tuple": [], "changes": [{"build": call_of([{"$ref": 1}])}]},
        ),
        (
            b"U\x01aq\0cm\nf\nh\0\x85Rb.",
            {"$id": 1, "$str": "a", "changes": [{"build": call_of([{"$ref": 1}])}]},
        ),
        (b"}U\x01aq\0Nbh\0s.", {"$dict": [[{"$id": 1, "$str": "a", "changes": [{"build": None}]}, {"$ref": 1}]]}),
        (b"cm\nf\n(K\x01tNbR.", call_of({"$tuple": [1], "changes": [{"build": None}]})),
    ],
)
def test_changes_of_what_is_usually_repeated(command, data, expected):
    """Such a value is referred to, or its changes, which may contain it, would never end."""
    assert to_json(command, data) == [expected]


def test_several_pickles_and_files(command, tmp_path):
    stream = io.BytesIO()
    for i in range(2000):
        pickle.dump(i, stream, i % 6)
    assert to_json(command, stream.getvalue()) == list(range(2000))
    file = tmp_path / "a.pickle"
    file.write_bytes(pickle.dumps([1]))
    assert command("json", file, file).stdout == b"[1]\n[1]\n"


def test_errors(command, tmp_path):
    done = command("json", "-", stdin=pickle.dumps(1) + b"\x80\x04K")
    assert done.returncode == 1
    assert done.stdout == b"1\n"
    offset = len(pickle.dumps(1)) + 2
    assert done.stderr.decode() == (
        f"achar: -: offset {offset}, opcode BININT1: the pickle ends inside this opcode's argument\n"
    )
    assert command("json", "-", stdin=b"").returncode == 1
    missing = command("json", tmp_path / "missing")
    assert missing.returncode == 1 and b"No such file" in missing.stderr
    folder = command("json", tmp_path)
    assert folder.returncode == 1 and b"directory" in folder.stderr


def test_encodings(command):
    data = b"U\x02\xc3\xa9."
    assert command("json", "-", stdin=data).returncode == 1
    assert to_json(command, data, "-e", "latin1") == ["Ã©"]
    assert to_json(command, data, "--encoding=utf-8") == ["é"]
    assert to_json(command, data, "-e", "bytes") == [{"$bytes": "w6k="}]


def test_random_programs_are_json(command):
    for seed in range(100):
        to_json(command, programs.program(seed, protocol=5, size=seed % 60))


@pytest.mark.parametrize(
    "arguments, status",
    [
        ([], 2), (["nonsense"], 2), (["json"], 2), (["dis"], 2), (["json", "-e", "utf-7", "-"], 2),
        (["dis", "-l", "x", "-"], 2), (["dis", "--nonsense", "-"], 2), (["--help"], 0), (["--version"], 0),
        (["dis", "--help"], 0), (["json", "-h"], 0),
    ],
)  # fmt: skip
def test_usage(command, arguments, status):
    done = command(*arguments)
    assert done.returncode == status
    assert (done.stderr if status else done.stdout) != b""
    assert (done.stdout if status else done.stderr) == b""

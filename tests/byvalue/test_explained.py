"""What goes wrong between a sender and a receiver that differ: where, why, and what to do.

Each situation of situations.py is produced by two processes with modules of their own; docs/errors.md
shows what they print, and is compared with it here.
"""

import pathlib
import re
import sys

import pytest
import situations

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "errors.md"
NAMES = [one.name for one in situations.SITUATIONS]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return {one.name: one.produce(tmp_path_factory.mktemp(one.name)) for one in situations.SITUATIONS}


@pytest.mark.parametrize("name", NAMES)
def test_path_cause_and_remedy(outcomes, name):
    wanted, text = situations.named(name), outcomes[name]
    assert text.startswith(wanted.kind + ": "), text
    if wanted.path:
        assert re.search(rf"(^|[\s:]){re.escape(wanted.path)}([:\s]|$)", text), text
    for words in (*wanted.why, *wanted.do):
        assert words in text, text
    if wanted.why and wanted.laid_out:
        assert text.count("\n  why: ") == 1 and text.count("\n  do:  ") == 1, text
        why, do = text.partition("\n  why: ")[2].split("\n  do:  ")
        assert all(words in why for words in wanted.why), why
        assert all(words in do for words in wanted.do), do


def test_registered_it_arrives(tmp_path):
    text = situations.converse(
        tmp_path,
        {"tools.py": situations.TOOLS},
        "import tools; achar.register_by_value(tools); obj = tools.Failure('x')",
        {},
        "raise obj",
    )
    assert text == "Failure: x"


def test_a_stand_in_is_caught_as_its_base(tmp_path):
    text = situations.converse(
        tmp_path,
        {"tools.py": situations.TOOLS},
        "import tools\ntry: raise tools.Failure('x', 3) from KeyError('k')\nexcept ValueError as e: obj = e",
        {},
        "assert isinstance(obj, ValueError) and isinstance(obj, achar.RemoteError)\n"
        "assert obj.type_name == 'tools.Failure' and obj.text == \"('x', 3)\" == obj.arguments\n"
        "assert obj.args == ('x', 3) and repr(obj.__cause__) == \"KeyError('k')\"\n"
        "assert 'line 2, in <module>' in obj.traceback and 'no module tools' in obj.explanation\n"
        "assert obj.reason == \"ModuleNotFoundError: No module named 'tools'\"\n"
        "again = achar.loads(achar.dumps(obj))\n"
        "assert isinstance(again, ValueError) and str(again) == str(obj) and again.pickled == obj.pickled\n"
        "import types; sys.modules['tools'] = tools = types.ModuleType('tools')\n"
        "exec('class Failure(ValueError): pass', tools.__dict__)\n"
        "assert type(achar.loads(obj.pickled)) is tools.Failure",
    )
    assert text == "nothing is raised"


@pytest.mark.parametrize(
    "base, state",
    [
        ("OSError", "(2, 'no such file', 'f')"),
        ("KeyError", "('k',)"),
        ("UnicodeDecodeError", "('utf-8', b'x', 0, 1, 'r')"),
        ("SyntaxError", "('m',)"),
        ("ImportError", "('m',)"),
        ("StopIteration", "(3,)"),
        ("SystemExit", "(3,)"),
        ("KeyboardInterrupt", "()"),
        ("BaseException", "(1, 2)"),
    ],
)
def test_stand_ins_for_all_layouts(tmp_path, base, state):
    tools = f"class Base({base}): pass\nclass Failure(Base):\n    def __str__(self): return 'said'\n"
    text = situations.converse(
        tmp_path,
        {"tools.py": tools},
        f"import tools; obj = tools.Failure(*{state})",
        {},
        f"assert isinstance(obj, {base}), type(obj).__mro__\n"
        f"assert obj.__dict__.pop('__stand_in_text__') == 'said'\n"
        f"assert str(obj).startswith('tools.Failure'), str(obj)\nassert obj.args == {base}(*{state}).args",
    )
    assert text == "nothing is raised"


def test_a_stand_in_travels_on_and_is_itself_again_at_home(tmp_path):
    tools = "class Failure(OSError): pass\n"
    text = situations.converse(
        tmp_path,
        {"tools.py": tools},
        "import tools; obj = tools.Failure(2, 'no such file', 'f'); obj.__cause__ = tools.Failure(3, 'cause')",
        {},
        "again = achar.loads(achar.dumps(obj))\n"
        "assert (again.errno, again.filename, again.args) == (2, 'f', (2, 'no such file')), vars(again)\n"
        "assert again.type_name == 'tools.Failure'\n"
        "data = achar.dumps(again)\n"
        "import types; sys.modules['tools'] = tools = types.ModuleType('tools')\n"
        f"exec({tools!r}, tools.__dict__)\n"
        "home = achar.loads(data)\n"
        "assert type(home) is tools.Failure and home.errno == 2, home",
    )
    assert text == "nothing is raised"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups are of 3.11")
def test_a_stand_in_for_a_group(tmp_path):
    tools = "class Many(BaseExceptionGroup): pass\nclass Few(ExceptionGroup): pass\n"
    text = situations.converse(
        tmp_path,
        {"tools.py": tools},
        "import tools; obj = [tools.Many('g', [KeyboardInterrupt(), ValueError()]), tools.Few('f', [ValueError()])]",
        {},
        "many, few = achar.loads(achar.dumps(obj))\n"
        "assert (many.type_name, few.type_name) == ('tools.Many', 'tools.Few')\n"
        "assert isinstance(few, ExceptionGroup) and len(few.exceptions) == 1",
    )
    assert text == "nothing is raised"


def test_a_stand_in_for_a_nearer_base(tmp_path):
    tools = "class Base(OSError): pass\n"
    more = "import tools\nclass Failure(tools.Base): pass\n"
    text = situations.converse(
        tmp_path,
        {"tools.py": tools, "more.py": more},
        "import more; obj = [more.Failure(5), more.Failure(6)]",
        {"tools.py": tools},
        "import tools; assert all(isinstance(one, tools.Base) for one in obj)\n"
        "assert type(obj[0]) is type(obj[1]) and obj[1].type_name == 'more.Failure'",
    )
    assert text == "nothing is raised"


OWN_WAYS = """
class Base(ValueError): pass
class Made(Base):
    def __init__(self, code, *, why): super().__init__(code, "because"); self.code, self.why = code, why
    def __reduce__(self): return make, (self.code, self.why)
    def __str__(self): return f"{self.code}: {self.why}"
class Direct(OSError):
    def __reduce_ex__(self, protocol): return Direct, self.args
class Stateful(Exception):
    def __reduce__(self): return Stateful, (), {"kept": 1}
class Odd(Exception):
    def __reduce__(self): return Odd, (), (1, 2)
    def __setstate__(self, state): self.state = state
def make(code, why): return Made(code, why=why)
def raised(error):
    try:
        try: {}["key"]
        except KeyError: raise error
    except Exception as caught: return caught
def both(error): return [error, raised(type(error).__reduce_ex__(error, 4)[0](*type(error).__reduce_ex__(error, 4)[1]))]
obj = [both(Made(3, why="x")), both(Direct(2, "no", "f")), both(Stateful()), both(Odd())]
"""


def test_stand_ins_for_exceptions_that_pickle_themselves(tmp_path):
    text = situations.converse(
        tmp_path,
        {"tools.py": OWN_WAYS},
        "import tools; obj = tools.obj",
        {},
        "made, direct, stateful, odd = obj\n"
        "assert all(isinstance(e, achar.RemoteError) for one in obj for e in one)\n"
        "assert isinstance(made[0], ValueError) and isinstance(direct[1], OSError)\n"
        "assert made[0].type_name == 'tools.Made' and made[0].text == '3: x' and made[0].args == (3, 'because')\n"
        "assert direct[0].args == direct[1].args == (2, 'no') and \"[Errno 2] no: 'f'\" in direct[0].text\n"
        "assert stateful[1].kept == 1 and odd[1].type_name == 'tools.Odd'\n"
        "for one in obj:\n"
        "    assert one[0].__context__ is None and repr(one[1].__context__) == \"KeyError('key')\"\n"
        "    assert 'in raised' in one[1].traceback and 'no module tools' in one[1].explanation\n"
        "again = achar.loads(achar.dumps(made[1]))\n"
        "assert again.type_name == 'tools.Made' and again.text == '3: x'\n"
        "import types; sys.modules['tools'] = tools = types.ModuleType('tools')\n"
        f"exec({OWN_WAYS!r}, tools.__dict__)\n"
        "made, direct, stateful, odd = achar.loads(data)\n"
        "assert [type(made[0]), made[1].why, odd[1].state] == [tools.Made, 'x', (1, 2)]",
    )
    assert text == "nothing is raised"


def test_a_class_by_value_whose_base_is_missing_says_so(tmp_path):
    """Nothing can stand in for a base: the class's own code builds on it."""
    text = situations.converse(
        tmp_path,
        {"tools.py": situations.TOOLS},
        "import tools\nclass Own(tools.Failure): pass\nclass Below(Own): pass\nobj = {'e': [Below('x')]}",
        {},
        "",
    )
    assert text.startswith("ModuleNotFoundError: No module named 'tools'\n")
    assert "obj['e'][0].__bases__[0].__bases__[0]: tools.Failure cannot be had here" in text, text
    assert "install tools 1.2 here" in text and "achar.register_by_value(tools)" in text


def test_the_label_is_dropped_by_every_unpickler(tmp_path):
    text = situations.converse(
        tmp_path,
        {"tools.py": situations.TOOLS},
        "import tools; obj = [tools.f, {'k': tools.f}]",
        {"tools.py": situations.TOOLS},
        "import io, pickle, tools\nassert obj == [tools.f, {'k': tools.f}]\n"
        "assert b'achar:sender' in data and pickle.loads(data) == obj\n"
        "assert pickle._loads(data) == obj and achar.load(io.BytesIO(data + data)) == obj",
    )
    assert text == "nothing is raised"


def test_data_and_the_standard_library_have_no_label():
    import json

    import achar

    for obj in (json.dumps, lambda: json.dumps(1), [1, "x"], situations.Situation, [json.JSONEncoder()]):
        assert b"achar:sender" not in achar.dumps(obj)
    assert b"achar:sender" in achar.dumps(situations.converse)
    assert b"achar:sender" not in achar.dumps(situations.converse, deterministic=True)


def test_path_of_what_fails_while_it_is_loaded(tmp_path):
    """As the sender's paths are: through containers, instances, functions, classes, cells."""
    tools = (
        "class T:\n    def __setstate__(self, state): raise LookupError('no')\n    def __getstate__(self): return 1\n"
    )
    for source, path in {
        "[1, (2, {'k': T()})]": "obj[1][1]['k']",
        "{1: {None: [T()]}}": "obj[1][None][0]",
        "Holder(T())": "obj.x",
        "[lambda: part]": "obj[0].__globals__['part']",
        "closure(T())": "obj.__closure__[0].cell_contents",
        "lambda a=(1, T()): a": "obj.__defaults__[0][1]",
        "type('C', (), {'table': [T()]})": "obj.table[0]",
        "ValueError('x', T())": "obj.args[1]",
        "Deque([1, T()])": "obj[1]",
        "Slots(T())": "obj.x",
    }.items():
        text = situations.converse(
            tmp_path,
            {"tools.py": tools},
            "from tools import T; import collections; part = T()\n"
            "class Deque(collections.deque): pass\n"
            "class Holder:\n    def __init__(self, x): self.x = x\n"
            "class Slots:\n    __slots__ = ('x',)\n    def __init__(self, x): self.x = x\n"
            f"def closure(x):\n    return lambda: x\nobj = {source}",
            {"tools.py": tools},
            "",
        )
        assert text.startswith("LookupError: no"), text
        assert f"{path}: tools.T cannot be rebuilt here" in text, text


def test_paths_of_files(tmp_path):
    """A pickle in a file is looked at as far as it is in memory."""
    text = situations.converse(
        tmp_path,
        {"tools.py": situations.TOOLS},
        "import tools; obj = [1, {'k': tools.f}]",
        {},
        "",
        load="achar.load(__import__('io').BytesIO(b'N.' + data)) or achar.Unpickler(file).load()",
    )
    assert "obj[1]['k']: tools.f" in text, text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="docs/errors.md shows what 3.11 and later print")
@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_what_is_printed(outcomes, name):
    page = DOCS.read_text()
    shown = re.search(rf"<!-- {re.escape(name)} -->\n```text\n(.*?)\n```", page, re.S)
    assert shown, f"docs/errors.md lacks {name}: python tests/byvalue/situations.py --write"
    assert situations.general(shown.group(1)) == situations.general(outcomes[name])

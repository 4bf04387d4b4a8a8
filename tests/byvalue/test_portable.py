"""achar.dumps(portable=True): loaded and used by the standard pickle in a process with nothing installed."""

import builtins
import dis
import importlib.util
import io
import json
import pathlib
import pickle
import pickletools
import re
import subprocess
import sys
import types

import achar
import achar.pickle
import pytest
from achar import _portable, _v1
from byvalue_support import run_python

HERE = pathlib.Path(__file__).parent
FILES = sorted(HERE.glob("cases_*.py"))
NAMES = [name for file in FILES for name in re.findall(r"@case\ndef (\w+)\(", file.read_text())]
assert len(NAMES) == len(set(NAMES))  # a name is one case, whichever file it is in


def run_plain(*arguments, stdin=b""):
    """This interpreter without site-packages, PYTHONPATH and whatever else one could have installed."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", *map(str, arguments)], input=stdin, capture_output=True, timeout=200, cwd="/"
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def answer_there(data, expression):
    """str() of the expression there, where 'it' is what the pickle holds."""
    return run_plain("-c", f"import pickle, sys; it = pickle.load(sys.stdin.buffer); print(({expression}))", stdin=data)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{case: None or what went wrong}: two processes, one that dumps all and one that loads it."""
    folder = tmp_path_factory.mktemp("cases")
    run_python(HERE / "dump_all.py", folder, "portable")
    found = json.loads(run_plain(HERE / "receive_plain.py", *sorted(folder.glob("cases_*.py"))))
    assert found.pop("nothing is installed") == []
    return found


@pytest.mark.parametrize("name", NAMES)
def test_case(outcomes, name):
    if name.startswith("pep695") and name not in outcomes:
        pytest.skip("syntax of Python 3.12")
    assert outcomes[name] is None, outcomes[name]


def test_every_function_of_the_format_has_a_stand_in():
    # A portable stream has none of these: the name itself, exceptions without their bases, no source.
    missing = [name for name in _v1.__all__ if not hasattr(_portable, name)]
    assert missing == ["attribute", "exception_by", "exception_of", "sourced"]


def test_stand_ins_use_nothing_of_their_module():
    def global_names(code):
        yield from (each.argval for each in dis.get_instructions(code) if "GLOBAL" in each.opname)
        for each in code.co_consts:
            if isinstance(each, types.CodeType):
                yield from global_names(each)

    functions = [each for name in _v1.__all__ if isinstance(each := getattr(_portable, name, None), types.FunctionType)]
    assert len(functions) > 15
    for function in functions:
        assert function.__closure__ is None and not set(global_names(function.__code__)) - set(vars(builtins)), function


# Up to 3.10 code has no qualified name, and a small function that sets it travels along.
BEFORE_QUALNAMES = sys.version_info < (3, 11)


def test_size_of_a_lambda():
    data = achar.dumps(lambda x: x + 1, portable=True)
    assert len(data) < 1000 + 200 * BEFORE_QUALNAMES
    assert answer_there(data, "it(41)") == "42\n"


def test_plain_data_is_written_as_ever():
    for obj in (None, [1, "a", {"b": (2.5, b"c")}, {1, 2}], len, dict, pathlib.PurePath, ValueError("x")):
        assert achar.dumps(obj, portable=True) == achar.dumps(obj)
        assert achar.dumps(obj, portable=False) == achar.dumps(obj)


def test_protocols():
    def fact(n):
        return 1 if n == 0 else n * fact(n - 1)

    class Local:
        def __init__(self):
            self.me = self

        value = property(lambda self: fact(5))

    data = b"".join(achar.dumps((fact, Local()), protocol, portable=True) for protocol in range(6))
    expression = "[(f(4), x.value, x.me is x) for f, x in (it, *(pickle.load(sys.stdin.buffer) for _ in range(5)))]"
    assert answer_there(data, expression) == f"{[(24, 120, True)] * 6}\n"


def test_dump_and_false_and_true():
    file = io.BytesIO()
    achar.dump(lambda: 7, file, portable=True)
    assert answer_there(file.getvalue(), "it()") == "7\n"
    assert b"achar" not in file.getvalue().replace(b"<achar>", b"")  # that is the small function's file name
    assert b"achar" in achar.dumps(lambda: 7, portable=0)

    class Undecided:
        def __bool__(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        achar.dumps(1, portable=Undecided())
    with pytest.raises(TypeError):
        achar.pickle.dumps(1, portable=True)


def test_each_part_travels_once():
    def make(i):
        return lambda: (i, make)

    one, many = (len(achar.dumps([make(i) for i in range(n)], portable=True)) for n in (1, 101))
    assert (many - one) / 100 < 250
    names = [arg for op, arg, _ in pickletools.genops(achar.dumps([make(0), make(1)], portable=True))]
    assert names.count("FunctionType") == 1


def test_what_is_not_of_the_standard_library(tmp_path, monkeypatch):
    (tmp_path / "not_standard.py").write_text("def f(): return 5\nclass C: pass\nvalue = C()\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("not_standard")
    for obj, path, what in (
        ([1, {"key": module.f}], r"obj\[1\]\['key'\]", "f"),
        ((module.value,), r"obj\[0\]", "C"),
        ([module], r"obj\[0\]", "the module"),
    ):
        with pytest.raises(pickle.PicklingError) as caught:
            achar.dumps(obj, portable=True)
        text = str(caught.value)
        assert re.match(path, text) and f"{what} cannot be sent with portable=True" in text, text
        assert "found by name in not_standard, which is not in the standard library" in text
        assert "register_by_value" in text
    achar.register_by_value(module)
    try:
        data = achar.dumps([module.f, module.value, module], portable=True)
    finally:
        achar.unregister_by_value(module)
    expression = "it[0](), type(it[1]).__name__, it[2].f is it[0], it[2].C is type(it[1])"
    assert answer_there(data, expression) == "(5, 'C', True, True)\n"


def test_what_is_achars_own_is_refused():
    with pytest.raises(pickle.PicklingError, match=r"obj\[0\].*\n.*found by name in achar"):
        achar.dumps([achar.RemoteTraceback("x")], portable=True)


def test_extension_codes_are_not_used():
    import collections
    import copyreg

    copyreg.add_extension("collections", "Counter", 0x12345)
    try:
        data = achar.dumps(collections.Counter, portable=True)
    finally:
        copyreg.remove_extension("collections", "Counter", 0x12345)
    assert answer_there(data, "it.__name__") == "Counter\n"


def test_another_version_is_told():
    data = achar.dumps(lambda: 1, portable=True)
    header = bytes(sys.version_info[:2]) + importlib.util.MAGIC_NUMBER
    assert data.count(header) == 1 + BEFORE_QUALNAMES
    other = data.replace(header, bytes([3, 99]) + b"\0\0\r\n")
    here = "{}.{}".format(*sys.version_info[:2])
    with pytest.raises(pickle.UnpicklingError, match=f"holds code of Python 3.99, which Python {here} cannot run"):
        pickle.loads(other)


def test_python_pickle_loads_it():
    data = achar.dumps({"f": lambda: 3, "g": lambda x=[]: x}, portable=True)
    assert pickle._loads(data)["f"]() == 3


def test_constants_that_marshal_does_not_know():
    made = (lambda: 1).__code__.replace(co_consts=(None, pathlib.PurePosixPath("x")))
    code = made.replace(co_consts=(None, pathlib.PurePosixPath("x"), 1))
    data = achar.dumps(types.FunctionType(code, {}), portable=True)
    assert answer_there(data, "it.__code__.co_consts") == "(None, PurePosixPath('x'), 1)\n"


def test_a_base_whose_init_subclass_wants_arguments_is_left_as_it_was():
    class Base:
        seen = []

        def __init_subclass__(cls, *, tag):
            Base.seen.append(tag)

    class Derived(Base, tag="t"):
        pass

    data = achar.dumps((Base, Derived), portable=True)
    base, derived = pickle.loads(data)
    assert base.seen == ["t"]

    class Other(base, tag="u"):
        pass

    assert base is not Base and Base.seen == ["t"]


def test_metaclass_with_a_property_of_an_attributes_name():
    class Meta(type):
        @property
        def color(cls):
            return "meta's"

    class Local(metaclass=Meta):
        color = "own"

    data = achar.dumps(Local, portable=True)
    assert answer_there(data, "it.color, it().color, vars(it)['color']") == "(\"meta's\", 'own', 'own')\n"


def test_deep_nesting():
    deep = lambda: 1  # noqa: E731
    for _ in range(100_000):
        deep = [deep]
    data = achar.dumps(deep, portable=True)
    assert len(data) < 1_000_000 and data.endswith(b"a.")


def test_imports_made_by_c_code():
    data = achar.dumps(lambda: __import__("datetime").datetime.strptime("2026", "%Y").year, portable=True)
    assert answer_there(data, "it()") == "2026\n"

"""Random nested functions, closures and classes: there they do what they do here.

hypothesis writes the source of a module; its `obj` is sent to a process that stays for all examples, and
what a log of calls gives there is compared with what it gives here.
"""

import types

import pytest
from byvalue_support import dumps, loads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peer import Peer

NAMES = ["a", "b", "c", "d"]


@st.composite
def expressions(draw, names):
    """An expression over names that are there, of ints all the way."""
    kind = draw(st.integers(0, 4))
    one = st.sampled_from(sorted(names)) | st.integers(-5, 5).map(str)
    if kind == 0:
        return draw(one)
    if kind == 1:
        return f"({draw(one)} * 3 + {draw(one)})"
    if kind == 2:
        return f"(lambda {draw(st.sampled_from(NAMES))}={draw(one)}: {draw(one)} - 1)()"
    if kind == 3:
        return f"sum(x + {draw(one)} for x in range(3))"
    return f"helper({draw(one)})"


def indent(lines):
    return ["    " + line for line in lines]


@st.composite
def function(draw, name, outer, depth):
    """Lines of a function `name` of no arguments that returns an int; 'outer' are local names around it."""
    local = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    changed = sorted(set(draw(st.lists(st.sampled_from(NAMES), max_size=1))) & outer - set(local))
    names = outer | set(local) | {"limit"}
    default = draw(st.integers(0, 9))
    lines = [f"nonlocal {one}" for one in changed]
    lines += [f"{one} = {draw(st.integers(0, 9))}" for one in local]
    inner = []
    for index in range(draw(st.integers(0, 2)) if depth else 0):
        part = f"{name}_{index}"
        make = draw(st.sampled_from([function, function, class_]))
        lines += draw(make(part, (outer | set(local)) - {"limit"}, depth - 1))
        inner.append(part)
    lines += [f"{one} += {draw(expressions(names))}" for one in changed]
    if draw(st.booleans()):
        lines += ["global counter", "counter += 1"]
    result = draw(expressions(names | {"extra", "counter"}))
    calls = "".join(f" + {one}()" for one in inner)
    signature = draw(st.sampled_from([f"extra={default}", f"*, extra={default}"]))
    return [f"def {name}({signature}):", *indent([*lines, f"return ({result}{calls}) % 1000003"])]


@st.composite
def class_(draw, name, outer, depth):
    """Lines of a class whose instances, in its place, are called like a function."""
    shape = draw(st.sampled_from(["plain", "slots", "derived", "dataclass"]))
    names = outer | {"limit"}
    lines = []
    head = f"class {name}Class:"
    if shape == "slots":
        lines = ["__slots__ = ('kept',)"]
    elif shape == "derived":
        lines += ["def base_value(self): return super().base_value() + self.kept"]
        head = f"class {name}Class(Base):"
    elif shape == "dataclass":
        lines += ["kept: int = 4"]
    value = "self.base_value()" if shape == "derived" else "self.kept"
    if shape != "dataclass":
        lines += [f"def __init__(self): self.kept = {draw(expressions(names))}"]
    if draw(st.booleans()) and shape != "slots":
        lines += [f"table = [{draw(st.integers(0, 9))}]"]
        value += " + self.table[0]"
    lines += draw(function("compute", outer, depth)) if depth else ["def compute(): return 1"]
    lines += ["compute = staticmethod(compute)"]
    lines += ["@property", "def doubled(self): return self.kept * 2"]
    result = draw(expressions(names))
    lines += [f"def __call__(self): return ({value} + self.doubled + self.compute() + {result}) % 1000003"]
    decorator = ["@dataclasses.dataclass"] if shape == "dataclass" else []
    return [*decorator, head, *indent(lines), f"{name} = {name}Class()"]


HEAD = """\
import dataclasses
counter = 0
limit = 7
def helper(n): return n + limit
class Base:
    def base_value(self): return helper(1)
"""


@st.composite
def programs(draw):
    make = draw(st.sampled_from([function, class_]))
    return HEAD + "\n".join(draw(make("obj", set(), 3)))


def made(source):
    module = types.ModuleType("__main__")
    exec(compile(source, "<program>", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__["obj"]


def calls(obj):
    """What three calls give: a cell or a global that the first changes, the second sees."""
    return [obj(), obj(), obj()]


@pytest.fixture(scope="module")
def peer():
    with Peer() as peer:
        yield peer


def answers(source, peer):
    here = calls(made(source))
    once = dumps(made(source))
    assert calls(loads(once)) == here, source
    assert peer(calls, made(source)) == here, source
    # What has been used goes on there where it was; what was sent twice is one object.
    used = made(source)
    used()
    pair = peer(lambda one, two: (one is two, one(), two()), used, used)
    assert pair == (True, *here[1:]), source


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_nested_code_does_the_same_there(peer, source):
    answers(source, peer)

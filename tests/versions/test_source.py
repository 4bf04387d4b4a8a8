"""dumps(source=True) on one version: what has a source, what is refused with which words, what is checked."""

import ast
import linecache
import os
import pickle
import sys
import types

import achar
import pytest
from achar import _source


def through_source(function):
    """The function made again from its source alone, as another version of Python would."""
    recipe = _source.recipe_of(function.__code__)
    _source._compile.cache_clear()
    code = _source._compile(recipe)
    made = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def module_of(tmp_path, text, name="written_for_test", **globals_):
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    module = types.ModuleType(name)
    module.__dict__.update(globals_, __file__=str(path))
    exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    return module


def refusal_of(obj):
    with pytest.raises(pickle.PicklingError) as caught:
        achar.dumps(obj, source=True)
    return str(caught.value)


def test_the_stream_is_larger_and_loads_the_same():
    def f(x):
        return x + 1

    assert achar.loads(achar.dumps(f, source=True))(1) == 2
    assert b"return x + 1" in achar.dumps(f, source=True)
    assert b"return x + 1" not in achar.dumps(f)
    assert achar.dumps(f, source=False) == achar.dumps(f)


def test_dump_has_it_too(tmp_path):
    with open(tmp_path / "f", "wb") as file:
        achar.dump(lambda: "in the file", file, source=True)
    assert b"in the file" in (tmp_path / "f").read_bytes()


def test_portable_streams_have_no_source():
    with pytest.raises(ValueError, match="exclude each other"):
        achar.dumps(1, portable=True, source=True)


def test_no_text_is_refused_with_the_name():
    namespace = {}
    exec("def made_by_exec(): return 1", namespace)
    text = refusal_of({"key": [namespace["made_by_exec"]]})
    assert "obj['key'][0]" in text and "the source of 'made_by_exec' cannot be sent along" in text
    assert "why: it was made in '<string>', whose text is not to be had" in text and "do:  define it in a file" in text


def test_text_in_linecache_is_enough():
    text = "def made_by_exec(): return 1\n"
    linecache.cache["<a cell>"] = (len(text), None, [text], "<a cell>")
    namespace = {}
    exec(compile(text, "<a cell>", "exec"), namespace)
    assert through_source(namespace["made_by_exec"])() == 1
    del linecache.cache["<a cell>"]


@pytest.mark.parametrize("edited", ["def f():\n    return 2\n", "\n\ndef f():\n    return 1\n", "def f(:\n", ""])
def test_a_file_that_was_edited_is_noticed_here(tmp_path, edited):
    module = module_of(tmp_path, "def f():\n    return 1\n")
    (tmp_path / "written_for_test.py").write_text(edited)
    text = refusal_of(module.f)
    assert "the source of 'f' cannot be sent along" in text and ("edited since" in text or "not to be had" in text)


def test_a_file_that_was_read_before_its_edit_is_read_again(tmp_path):
    module_of(tmp_path, "def f():\n    return 1\n")
    path = tmp_path / "written_for_test.py"
    linecache.getlines(str(path))
    module = module_of(tmp_path, "def f():\n    return 1234\n")
    os.utime(path, (1, 1))
    assert through_source(module.f)() == 1234


def test_code_that_is_no_function_is_refused():
    assert "not the code of a function" in refusal_of(compile("1", "x.py", "exec"))


def test_constants_are_compared_by_type(tmp_path):
    text = "fs = [lambda: 1, lambda: 1.0, lambda: True, lambda: -0.0, lambda: 0.0, lambda: (1,)]\n"
    module = module_of(tmp_path, text)
    for f in module.fs:
        assert repr(through_source(f)()) == repr(f())


def test_lambdas_of_one_line_are_told_apart(tmp_path):
    text = "fs = [(lambda x: x.real, lambda x: x.imag), (lambda y: y.real), lambda *x: x, lambda x=(lambda: 5): x]\n"
    module = module_of(tmp_path, text)
    one, two = module.fs[0]
    assert [through_source(f)(2j) for f in (one, two)] == [0, 2]
    assert _source.recipe_of(one.__code__)[4].strip() == "lambda x: x.real"
    assert _source.recipe_of(module.fs[1].__code__)[4].strip() == "lambda y: y.real"
    assert through_source(module.fs[3])()() == 5 and through_source(module.fs[3].__defaults__[0])() == 5


BODIES = r"""
def f(x, /, y=1, *a, k=2, **kw):
    return x, y, a, k, kw
result = f(1, k=5)
---
class _A__:
    def __init__(self): self.__x = 1
    def f(self): return self.__x, __class__
f = _A__.f
result = 0
---
def outer():
	if True:
		def f():
			return '''a
b'''
	return f
f = outer()
result = f()
---
def outer(f):
    global g
    def g(): return g
    return g
f = outer(1)
result = f()
---
def outer():
    def f(): return f
    return f
f = outer()
result = f()
---
def outer():
    x = 1
    class C:
        x = 2
        def f(self): return x
    return C.f
f = outer()
result = f(1)
---
def outer():
    fs = [lambda: (i, j) for i in range(2) for j in [3]]
    return fs[0]
f = outer()
result = f()
---
f = (lambda: lambda é='ü': ('ß', (lambda: é)()))()
result = f()
---
x = 'ääö'; f = (lambda a,
   b=2: [a,
  b])
result = f(1)
---
def d(*a): return lambda g: g
@d(lambda: 1)
@d(
 2)
async def f(): pass
result = 0
---
class C:
    f = lambda self: self.__mangled
f = C.f
result = 0
---
def f(): return super(int, 1).__class__
result = 0
---
if 1: f = lambda: 'one line'
result = f()
---
def f():
    class Inner:
        def g(self): return __class__.__qualname__
    return Inner().g()
result = f()
---
from __future__ import annotations
def f(x: undefined = 1) -> also: return x
result = f()
---
import types
@types.coroutine
def f():
    yield 1
result = 0
---
import re
import os.path
try:
    from re import sub as s, I
except ImportError: pass
def f(): return re.compile('x').pattern, os.path.join('a'), s.__name__.upper()
result = f()
---
def d(g): return g
@d
def f(): pass
result = f()
"""


@pytest.mark.parametrize("body", BODIES.split("---\n"), ids=range(18))
def test_code_from_source_is_the_code(tmp_path, body):
    module = module_of(tmp_path, body)
    f = module.f
    made = through_source(f)
    assert _source._same_code(made.__code__, f.__code__.replace(co_flags=f.__code__.co_flags))
    if sys.version_info >= (3, 11):
        nested = [c.co_qualname for c in f.__code__.co_consts if isinstance(c, types.CodeType)]
        assert nested == [c.co_qualname for c in made.__code__.co_consts if isinstance(c, types.CodeType)]
        assert list(made.__code__.co_positions()) == list(f.__code__.co_positions())
    assert made.__code__.co_firstlineno == f.__code__.co_firstlineno
    if module.result and not callable(module.result):
        assert f.__code__.co_argcount or made() == module.result


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of 3.12")
def test_type_parameters(tmp_path):
    text = "class C[T]:\n    def m(self): return T\ndef f[U](x: U): return U\nresult = f(1)\n"
    module = module_of(tmp_path, text)
    assert through_source(module.f)(1).__name__ == "U" and through_source(module.C.m)(1).__name__ == "T"
    again = achar.loads(achar.dumps(module.f, source=True))
    assert again(1) is again.__type_params__[0]


def test_what_another_version_cannot_parse_is_said():
    def f():
        return 1

    recipe = list(_source.recipe_of(f.__code__))
    recipe[4] = recipe[4].replace("return 1", "return 1 +")
    with pytest.raises(pickle.UnpicklingError) as caught:
        _source.compile_recipe(tuple(recipe), (3, 99))
    text = str(caught.value)
    assert "'test_what_another_version_cannot_parse_is_said.f' was pickled by Python 3.99" in text
    assert "test_source.py, line " in text and "Python {}.{}".format(*sys.version_info) in text


def test_free_variables_that_differ_are_refused():
    x = 1

    def f():
        return x

    recipe = list(_source.recipe_of(f.__code__))
    recipe[4] = recipe[4].replace("return x", "return 1")
    with pytest.raises(pickle.UnpicklingError, match="means something else"):
        _source.compile_recipe(tuple(recipe), (3, 99))


@pytest.mark.parametrize("args", [(), (b"", ()), (b"xx", None), (b"\x03\x63", ("a",)), (1, 2, 3)])
def test_malformed_streams_raise(args):
    from achar import _v1

    with pytest.raises((pickle.UnpicklingError, ValueError, TypeError)):
        _v1.sourced(*args)


def test_a_dataclass_method_of_ones_own_is_not_generated():
    import dataclasses

    @dataclasses.dataclass(repr=False)
    class D:
        x: int = 1

        def __repr__(self):
            return "mine"

        def __eq__(self, other):
            return "equal"

    again = achar.loads(achar.dumps(D, source=True))
    attributes = dict(vars(D))
    assert _source.prepare(D, attributes)[2] == ("__init__",) and "__repr__" in attributes
    assert again is D  # at home


def test_every_function_of_the_standard_library_that_can_be_found():
    """Recipes are made for all functions of some modules, nested ones left out; each compiles to its code."""
    import argparse
    import collections
    import dataclasses
    import functools
    import inspect
    import typing

    count = 0
    for module in (argparse, ast, collections, dataclasses, functools, inspect, linecache, typing):
        classes = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
        for holder in (module, *classes):
            for value in vars(holder).values():
                value = getattr(value, "__wrapped__", getattr(value, "__func__", value))
                if isinstance(value, types.FunctionType) and value.__code__.co_filename == module.__file__:
                    _source.recipe_of(value.__code__)
                    count += 1
    assert count > 600

"""Functions with their source: what ``dumps(source=True)`` takes along, and how another version compiles it.

A **recipe** is all that another minor version of Python needs to compile one function again::

    (filename, first line, line, kind, text, scopes, imports, free variables, futures, optimize, flags)

``text`` is the function's own, from ``def`` or ``lambda`` to its end as it stands in the file, indentation
included; decorators are not in it, since what they made travels by itself. ``scopes`` are the functions and
classes around it, outermost first: they are built anew, empty, since they decide which names are free, how
``__names`` are mangled and what nested functions are called. ``imports`` are names that the file imports: the
compiler calls their attributes in another way. ``line`` is that of ``def``, the first line that of a decorator.

**Nothing is guessed.** Where the recipe is made it is compiled, and compared with the function's code. What
does not agree is not sent: a file that was edited after its import is noticed where it lies. Several lambdas on
one line are told apart by the same comparison; those that remain are the same code.

What was compiled from text that nobody kept is left to its maker: the methods of a dataclass are generated
again where they arrive (``prepare`` and ``complete``).
"""

from __future__ import annotations
import __future__

import ast
import dataclasses
import functools
import linecache
import sys
import warnings
import weakref
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from achar import _flags
from achar.pickle import PicklingError, UnpicklingError

Recipe = tuple[str, int, int, str, str, tuple, tuple, tuple, tuple, int, int]

_FUTURES = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}
_FUTURE_MASK = functools.reduce(lambda mask, flag: mask | flag, _FUTURES.values())
_ITERABLE_COROUTINE = 0x100  # types.coroutine() sets it in a copy of the code
_COMPARED = (
    "co_name", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_varnames", "co_freevars",
    "co_cellvars", "co_names", "co_code",
)  # fmt: skip
_COMPREHENSIONS = {
    ast.ListComp: "<listcomp>", ast.SetComp: "<setcomp>", ast.DictComp: "<dictcomp>", ast.GeneratorExp: "<genexpr>",
}  # fmt: skip
_FUNCTION, _CLASS, _LAMBDA = "def", "class", "lambda"

_recipes: dict[int, tuple[weakref.ref, Recipe]] = {}  # by the address of the code object, while it lives


# ---- where functions are sent ----


def announce(code: CodeType, namespace: dict) -> None:
    """A function with this code and these globals is about to be sent."""
    if code.co_filename not in linecache.cache:
        linecache.lazycache(code.co_filename, namespace)  # archives and the like: __loader__ has the text


def recipe_of(code: CodeType) -> Recipe:
    """The recipe that compiles to this code; PicklingError if there is none."""
    kept = _recipes.get(id(code))
    if kept is not None:
        return kept[1]
    if code.co_name != "<lambda>" and code.co_name.startswith("<"):
        _refuse(code, "this is not the code of a function, which alone has a text of its own", "send the function")
    recipe = _find_recipe(code)
    remember(code, recipe)
    return recipe


def remember(code: CodeType, recipe: Recipe) -> None:
    """What has arrived with its source can go on with it."""
    address = id(code)
    _recipes[address] = weakref.ref(code, lambda _: _recipes.pop(address, None)), recipe


def _find_recipe(code: CodeType) -> Recipe:
    places = list(_places(code, _text_of(code.co_filename)))
    for recipe in places:
        if _agrees(recipe, code):
            return recipe
    linecache.checkcache(code.co_filename)  # what was read may be older than the code
    text = _text_of(code.co_filename)
    for recipe in _places(code, text):
        if _agrees(recipe, code):
            return recipe
    for recipe in _made_by_namedtuple(code):
        if _agrees(recipe, code):
            return recipe
    if not text:
        _refuse(
            code,
            f"it was made in {code.co_filename!r}, whose text is not to be had",
            "define it in a file or a notebook; what exec() compiles is found if linecache.cache has its text",
        )
    if not places:
        why = f"{code.co_filename} has no such function at line {code.co_firstlineno}"
    else:
        why = f"{code.co_filename}, line {code.co_firstlineno}, does not compile to the code that the function has"
    _refuse(
        code,
        f"{why}: edited since it was imported, or rewritten while it was (pytest does that to asserts)",
        "start again with the file as it is now",
    )


def _refuse(code: CodeType, why: str, remedy: str):
    raise PicklingError(f"the source of {_name_of(code)!r} cannot be sent along\n  why: {why}\n  do:  {remedy}")


def _name_of(code: CodeType) -> str:
    return getattr(code, "co_qualname", code.co_name)


def _text_of(filename: str) -> str:
    if filename.startswith("<frozen "):  # part of the interpreter; its file is in the standard library
        module = sys.modules.get(filename[len("<frozen ") : -1])
        filename = getattr(module, "__file__", None) or filename
    return "".join(linecache.getlines(filename))


def _made_by_namedtuple(code: CodeType) -> Iterator[Recipe]:
    if code.co_name == "<lambda>" and code.co_names == ("_tuple_new",):
        names = ", ".join(code.co_varnames[1 : code.co_argcount])
        names += "," * (code.co_argcount == 2)
        text = f"lambda _cls, {names}: _tuple_new(_cls, ({names}))"
        yield _recipe(code, code.co_firstlineno, _LAMBDA, text, (), ())


def _recipe(code: CodeType, line: int, kind: str, text: str, scopes: tuple, imports: tuple) -> Recipe:
    futures = tuple(name for name, flag in _FUTURES.items() if code.co_flags & flag)
    flags = code.co_flags & _ITERABLE_COROUTINE
    first, free, optimize = code.co_firstlineno, code.co_freevars, sys.flags.optimize
    return code.co_filename, first, line, kind, text, scopes, imports, free, futures, optimize, flags


def _places(code: CodeType, text: str) -> Iterator[Recipe]:
    """A recipe for each place in the text where a function of this name begins in the code's first line."""
    lines = text.split("\n")
    functions, imported = _functions_in(text)
    imports = tuple(sorted(imported & _names_in(code)))
    for node, scopes in functions.get((code.co_name, code.co_firstlineno), ()):
        body = lines[node.lineno - 1 : node.end_lineno]
        kind = _FUNCTION
        if isinstance(node, ast.Lambda):
            kind = _LAMBDA
            body[-1] = body[-1].encode()[: node.end_col_offset].decode()
            start = body[0].encode()[: node.col_offset]
            body[0] = " " * len(start) + body[0][len(start.decode()) :]  # columns stay as they are
        around = getattr(code, "co_qualname", None)  # where comprehensions are no scopes, it does not name them
        if around is not None:
            scopes = tuple(s for s in scopes if s[1] not in _COMPREHENSIONS.values() or f"{s[1]}." in around)
        yield _recipe(code, node.lineno, kind, "\n".join(body), scopes, imports)


def _names_in(code: CodeType) -> set[str]:
    """All names in it; a local variable that is called as an import is treated alike."""
    own = {*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars}
    return own.union(*(_names_in(c) for c in code.co_consts if isinstance(c, CodeType)))


@functools.lru_cache(maxsize=16)
def _functions_in(text: str) -> tuple[dict[tuple[str, int], list[tuple[Any, tuple]]], frozenset[str]]:
    """All functions of a text, (name, first line) to (node, scopes around it); and the names it imports."""
    found: dict[tuple[str, int], list] = {}
    try:
        tree = _parse(text, "<source>", 0)
    except (SyntaxError, ValueError):
        return found, frozenset()  # not, or no longer, what the function came from
    waiting: list[tuple[ast.AST, tuple]] = [(tree, ())]
    while waiting:
        node, scopes = waiting.pop()
        scope = None
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            scope = _FUNCTION, node.name, _globals_of(node)
            first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
            found.setdefault((node.name, first), []).append((node, scopes))
        elif isinstance(node, ast.Lambda):
            scope = _FUNCTION, "<lambda>", ()
            found.setdefault(("<lambda>", node.lineno), []).append((node, scopes))
        elif isinstance(node, ast.ClassDef):
            scope = _CLASS, node.name, _globals_of(node)
        elif type(node) in _COMPREHENSIONS:
            scope = _FUNCTION, _COMPREHENSIONS[type(node)], ()
        outside = _outside(node)
        for child in ast.iter_child_nodes(node):
            waiting.append((child, scopes if scope is None or child in outside else (*scopes, scope)))
    imports = [node for node in _of_scope(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return found, frozenset(one.asname or one.name.partition(".")[0] for node in imports for one in node.names)


def _outside(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that are evaluated in the scope around it."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
    if isinstance(node, ast.Lambda):
        return [node.args]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    return []


def _globals_of(node: Any) -> tuple[str, ...]:
    """The names that a function or class body itself declares as global."""
    return tuple(name for part in _of_scope(node) if isinstance(part, ast.Global) for name in part.names)


def _of_scope(node: Any) -> Iterator[ast.AST]:
    """The nodes of a body that are not in the body of a function or class in it."""
    waiting = list(node.body)
    while waiting:
        part = waiting.pop()
        yield part
        if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(part)


def _agrees(recipe: Recipe, code: CodeType) -> bool:
    try:
        made = _compile(recipe)
    except (SyntaxError, ValueError):
        return False
    return made is not None and _same_code(made, code)


def _same_code(a: CodeType, b: CodeType) -> bool:
    """All but file, lines and columns."""
    if any(getattr(a, name) != getattr(b, name) for name in _COMPARED):
        return False
    if getattr(a, "co_exceptiontable", None) != getattr(b, "co_exceptiontable", None) or a.co_flags != b.co_flags:
        return False
    return len(a.co_consts) == len(b.co_consts) and all(map(_same_constant, a.co_consts, b.co_consts))


def _same_constant(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, CodeType):
        return _same_code(a, b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same_constant, a, b))
    if isinstance(a, frozenset):
        return a == b and {type(x) for x in a} == {type(x) for x in b}
    if isinstance(a, (float, complex)):
        return repr(a) == repr(b)  # tells 0.0 from -0.0, and finds that nan is nan
    return a == b


# ---- where they arrive ----


def compile_recipe(recipe: Recipe, version: tuple[int, int]) -> CodeType:
    """The code object, for a function of another version of Python."""
    here = "Python {}.{}".format(*sys.version_info)
    there = "Python {}.{}".format(*version)
    filename, line, _, _, _, scopes, _, free, *_ = recipe
    name = ".".join([scope[1] for scope in scopes] + [_own_name(recipe)])
    try:
        code = _compile(recipe)
    except SyntaxError as error:
        raise UnpicklingError(
            f"the function {name!r} was pickled by {there} with its source, which {here} does not understand\n"
            f"  why: {error.msg} ({filename}, line {error.lineno})\n"
            f"  do:  write it in the language of {here}, or run {there} on both sides"
        ) from error
    if code is None or set(code.co_freevars) != set(free):
        raise UnpicklingError(
            f"the function {name!r} was pickled by {there} with its source, which means something else to {here}\n"
            f"  why: it takes the variables {tuple(free)} from around it there, "
            f"and {code and code.co_freevars} here ({filename}, line {line})\n"
            f"  do:  run the same minor version on both sides"
        )
    if code.co_freevars != tuple(free):
        raise UnpicklingError(f"the function {name!r}: {here} orders its free variables in another way than {there}")
    remember(code, recipe)
    return code


def _own_name(recipe: Recipe) -> str:
    kind, text = recipe[3:5]
    if kind == _LAMBDA:
        return "<lambda>"
    return text.partition("def")[2].partition("(")[0].partition("[")[0].strip()


def _parse(text: str, filename: str, flags: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the file itself was compiled
        return compile(text, filename, "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True)


@functools.lru_cache(maxsize=256)
def _compile(recipe: Recipe) -> CodeType | None:
    """The code object of the recipe's function; None if there is none in what the text compiles to."""
    filename, first_line, line, kind, text, scopes, imports, free, futures, optimize, extra_flags = recipe
    flags = functools.reduce(lambda mask, name: mask | _FUTURES.get(name, 0), futures, 0)
    if kind == _LAMBDA:
        tree = _parse(f"(\n{text}\n)", filename, flags)
        target = tree.body[0]
        _strip_arguments(target.value.args)
    else:
        indented = text[:1] in " \t\f"
        tree = _parse(f"if 1:\n{text}" if indented else f"\n{text}", filename, flags)
        target = tree.body[0].body[0] if indented else tree.body[0]
        target.decorator_list = []
        target.returns = None
        _strip_arguments(target.args)
        if hasattr(target, "type_params"):
            target.type_params = []
    ast.increment_lineno(tree, line - 2)
    name = "<lambda>" if kind == _LAMBDA else target.name
    scopes = _complete_scopes(name, scopes, free)
    if kind == _FUNCTION and first_line != line:
        target.decorator_list = [ast.Constant(None, lineno=first_line, col_offset=0)]
    tree = ast.Module([ast.Import([ast.alias(one)]) for one in imports] + [_surround(target, scopes, free)], [])
    ast.fix_missing_locations(tree)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code: CodeType | None = compile(tree, filename, "exec", flags, dont_inherit=True, optimize=optimize)
    for step in [*(scope[1] for scope in scopes), name]:
        # All else was taken out of the scopes; a lambda in a default value is in them no more, either.
        inside = [c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == step] if code else []
        code = inside[0] if len(inside) == 1 else None
    if code is not None and extra_flags:
        code = code.replace(co_flags=code.co_flags | extra_flags)
    return code


def _strip_arguments(arguments: ast.arguments) -> None:
    """Default values and annotations belong to the scope around the function, and travel as values."""
    arguments.defaults = []
    arguments.kw_defaults = [None] * len(arguments.kwonlyargs)
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for argument in every:
        if argument is not None:
            argument.annotation = None


def _to_bind(scopes: tuple, free: tuple) -> list[str]:
    """The free variables that one of the functions around has to have; a class has its __class__ by itself."""
    has_class = any(kind == _CLASS for kind, _, _ in scopes)
    return [name for name in free if not (name == "__class__" and has_class)]


def _complete_scopes(name: str, scopes: tuple, free: tuple) -> tuple:
    """With a function around it all, if there is none that can have the free variables: those of ``def f[T]()``."""
    if not _to_bind(scopes, free) or any(kind == _FUNCTION for kind, _, _ in scopes):
        return scopes
    first = scopes[0][1] if scopes else name
    declared = () if first.startswith("<") else (first,)  # so that it is called as if it stood at the top
    return ((_FUNCTION, "<achar>", declared), *scopes)


def _surround(target: Any, scopes: tuple, free: tuple) -> Any:
    """The scopes around the function, with nothing in them but what decides the meaning of names."""
    names = _to_bind(scopes, free)
    outermost = next((i for i, scope in enumerate(scopes) if scope[0] == _FUNCTION), -1)
    node = target
    for index in reversed(range(len(scopes))):
        kind, scope_name, declared = scopes[index]
        bound = names if index == outermost else []
        declared = [one for one in declared if one not in bound]
        body = [*([ast.Global(declared)] if declared else []), node]
        more: dict[str, Any] = {"type_params": []} if sys.version_info >= (3, 12) else {}
        if kind == _CLASS:
            node = ast.ClassDef(scope_name, [], [], body, [], **more)
        else:
            arguments = ast.arguments([], [ast.arg(one) for one in bound], None, [], [], None, [])
            node = ast.FunctionDef(scope_name, arguments, body, [], None, **more)
        ast.copy_location(node, target)
    return node


# ---- dataclasses ----


def prepare(cls: type, attributes: dict) -> tuple | None:
    """Takes what @dataclass or enum generated out of a class's attributes; what ``complete`` needs, or None."""
    if isinstance(cls, _flags.FlagType) and issubclass(cls, _flags.Flag):
        return _flags.prepare(attributes)
    own = vars(cls)
    params = own.get("__dataclass_params__")
    if params is None or "__dataclass_fields__" not in own:
        return None
    settings = {name: getattr(params, name) for name in type(params).__slots__}
    twin = _twin(cls, settings)
    names = []
    for name, made in vars(twin).items():
        if name in attributes and _is_generated(attributes[name], made):
            names.append(name)
            del attributes[name]
    attributes.pop("__dataclass_params__", None)
    return "dataclass", settings, tuple(names)


def _is_generated(one: Any, made: Any) -> bool:
    """Whether a class's method is the one that @dataclass makes."""
    if one is made and getattr(one, "__module__", None) == "dataclasses":
        return True
    if not isinstance(one, FunctionType) or not isinstance(made, FunctionType):
        return False
    one, made = getattr(one, "__wrapped__", one), getattr(made, "__wrapped__", made)
    return one.__code__.co_filename == "<string>" and _same_code(one.__code__, made.__code__)


def complete(cls: type, generated: tuple) -> None:
    """Generates on a class that has its attributes what @dataclass or enum would; the other half of ``prepare``."""
    if generated[0] == "flag":
        return _flags.complete(cls, generated[1])
    kind, settings, names = generated[:3]
    if kind != "dataclass":
        raise UnpicklingError(f"achar._v1.class_state: this version of achar does not know how to generate {kind!r}")
    twin = _twin(cls, settings)
    for name in names:
        if name not in vars(twin) and name != "__replace__":  # which came with 3.13
            raise UnpicklingError(f"the dataclass {cls.__qualname__}: @dataclass makes no {name} here")
    extra = [name for name in ("__replace__",) if name in vars(twin) and name not in vars(cls)]
    for name in (*names, *extra, "__dataclass_params__"):
        made = vars(twin).get(name)
        if made is None:
            continue
        if isinstance(made, FunctionType) and made.__module__ != "dataclasses":
            made.__qualname__ = f"{cls.__qualname__}.{name}"
            for cell in made.__closure__ or ():
                if cell.cell_contents is twin:
                    cell.cell_contents = cls
            if name == "__init__":
                made.__annotations__ = {f.name: f.type for f in _fields(cls) if f.init} | {"return": None}
        type.__setattr__(cls, name, made)


def _fields(cls: type) -> list:
    """The fields in order, with those that are only arguments of __init__."""
    return [f for f in vars(cls)["__dataclass_fields__"].values() if f._field_type.name != "_FIELD_CLASSVAR"]


def _twin(cls: type, settings: dict) -> type:
    """A dataclass of the same fields and settings."""
    specs = []
    for f in _fields(cls):
        spec = dataclasses.field(
            default=f.default, default_factory=f.default_factory, init=f.init, repr=f.repr, hash=f.hash,
            compare=f.compare, kw_only=f.kw_only,
        )  # fmt: skip
        initvar = f._field_type.name == "_FIELD_INITVAR"
        specs.append((f.name, dataclasses.InitVar[object] if initvar else object, spec))
    namespace: dict[str, Any] = {"__module__": cls.__module__}
    if hasattr(cls, "__post_init__"):
        namespace["__post_init__"] = None
    choices = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
    twin = dataclasses.make_dataclass(
        cls.__name__, specs, namespace=namespace, **{name: settings[name] for name in choices}
    )
    params = vars(twin)["__dataclass_params__"]
    for name, value in settings.items():
        if name in type(params).__slots__:
            setattr(params, name, value)
    return twin

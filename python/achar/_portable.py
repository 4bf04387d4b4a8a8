"""What a stream of achar.dumps(portable=True) has where another names achar._v1.

Each name of _v1 but 'attribute', which becomes a name in the stream, stands here: as the place of a
callable in the standard library, as an expression (a str), or as a function. A function travels as its
code, once, and only in streams that call it; so it may use builtins and what it imports itself, and
nothing else of this module. It runs where Python has the same bytecode, which 'code' checks first.
"""

import types

cell = ("types", "CellType")
method = ("types", "MethodType")
module = ("importlib", "import_module")
new_module = ("types", "ModuleType")

# code(blob[, constants]): six bytes of the blob are the version of Python and its bytecode's number.
code = (
    "(lambda loads,number:lambda blob,*constants:"
    "(loads(blob[6:]).replace(co_consts=constants[0])if constants else loads(blob[6:]))"
    "if blob[2:6]==number else exec("
    "'import pickle,sys\\nraise pickle.UnpicklingError("
    '"this pickle holds code of Python %d.%d, which Python %d.%d cannot run"'
    "%(*v,*sys.version_info[:2]))',{'v':blob[:2]}))"
    "(__import__('marshal').loads,__import__('_frozen_importlib_external').MAGIC_NUMBER)"
)


def function(code, globals, cells=None, qualname=None):
    # where FunctionType alone will not do: in a module that travels whole, or under another name
    import types

    if isinstance(globals, types.ModuleType):
        globals = vars(globals)
    made = types.FunctionType(code, globals, None, None, cells)
    if qualname is not None:
        made.__qualname__ = qualname
    return made


def function_state(function, state):
    globals, cells, attributes, _ = (*state, None, None, None)[:4]
    function.__globals__.update(globals or ())
    cells = iter(cells or ())
    for index, contents in zip(cells, cells):
        function.__closure__[index].cell_contents = contents
    for name, value in (attributes or {}).items():
        setattr(function, name, value)


def cell_state(cell, state):
    (cell.cell_contents,) = state


def module_state(module, state):
    vars(module).update(state)


def class_(id, metaclass, name, bases, namespace):
    # made by the C class under the metaclass, without the __init_subclass__ of the bases
    native = metaclass
    while type(vars(native).get("__new__")) is not type(len):
        native = native.__base__
    silenced = [
        (above, vars(above)["__init_subclass__"])
        for base in bases
        for above in base.__mro__
        if above.__flags__ & 0x300 == 0x200 and "__init_subclass__" in vars(above)
    ]
    try:
        for above, _ in silenced:
            type.__setattr__(above, "__init_subclass__", classmethod(lambda *_, **__: None))
        made = native.__new__(metaclass, name, bases, namespace)
    finally:
        for above, own in silenced:
            type.__setattr__(above, "__init_subclass__", own)
    if any((above.__module__, above.__name__) == ("abc", "ABCMeta") for above in metaclass.__mro__):
        import _abc

        _abc._abc_init(made)
    return made


def class_state(cls, state):
    # past the metaclass's own properties, which only special names do not have to fear
    import gc
    import sys

    own = gc.get_referents(vars(cls))[0]
    native = type(cls)
    while type(vars(native).get("__new__")) is not type(len):
        native = native.__base__
    for name, value in state[0].items():
        if native is not type or name[:2] == name[-2:] == "__":
            native.__setattr__(cls, name, value)
        else:
            own[sys.intern(name)] = value
        if type(value) is property and hasattr(value, "__set_name__"):
            value.__set_name__(cls, name)
    type.__setattr__(cls, "", None)  # so that the interpreter's caches learn of it
    type.__delattr__(cls, "")
    if state[1:]:
        import _abc

        for registered in state[1]:
            _abc._abc_register(cls, registered)


def enum_member(cls, name, arguments, *value):
    own = vars(cls)
    found = own.get("_value2member_map_" if value else "_member_map_", {}).get(value[0] if value else name)
    if found is not None:
        return found
    if value and "_member_map_" in own:
        return cls(value[0])
    native = cls
    while type(vars(native).get("__new__")) is not type(len):
        native = native.__base__
    return native.__new__(cls, *arguments)


def enum_member_state(member, state):
    if "_value_" not in member.__dict__:
        member.__dict__.update(state[0])
        for name, value in (state[1] or {}).items():
            setattr(member, name, value)


def exception(cls, arguments=()):
    native = cls
    while type(vars(native).get("__new__")) is not type(len):
        native = native.__base__
    return native.__new__(cls, *arguments)


def exception_state(exception, state):
    fields = vars(BaseException)
    if not isinstance(exception, BaseException):
        return  # its own __reduce__ made something else of it
    if "args" in state:
        fields["args"].__set__(exception, state["args"])
    for name, value in state.get("fields", {}).items():
        for above in type(exception).__mro__:
            if not above.__flags__ & 0x200 and hasattr(vars(above).get(name), "__set__"):
                vars(above)[name].__set__(exception, value)
                break
    for name, value in state.get("slots", {}).items():
        object.__setattr__(exception, name, value)
    for name in ("__cause__", "__context__", "__traceback__"):
        if name in state:
            fields[name].__set__(exception, state[name])
    fields["__suppress_context__"].__set__(exception, "__suppress_context__" in state)
    if "__dict__" in state:
        if type(exception).__setstate__ is BaseException.__setstate__:
            fields["__dict__"].__get__(exception).update(state["__dict__"])
        else:
            exception.__setstate__(state["__dict__"])
    if "state" in state:
        exception.__setstate__(state["state"])


def traceback(entries):
    # frames are made by code that fails at once; it takes the name and file of the one that it stands for
    import types

    template = compile("raise Exception", "", "exec")
    made = None
    for i in range(len(entries) - 4, -1, -4):
        file, name, line, module = entries[i : i + 4]
        try:
            code = template.replace(co_filename=file, co_name=name, co_firstlineno=line or 1)
            exec(code, {"__name__": module} if module else {})
        except Exception as failure:
            made = types.TracebackType(made, failure.__traceback__.tb_next.tb_frame, -1, line or 0)
    return made


def property_(cls, *arguments):
    made = property.__new__(cls)
    property.__init__(made, *arguments)
    return made


def memory(data, format, shape):
    flat = memoryview(data)
    return flat if format == "B" and len(shape) == 1 else flat.cast(format, shape)


def typevar(id, cls, module, arguments, keywords):
    made = cls(*arguments, **keywords)
    made.__module__ = module
    return made


def lru_cache(function, maxsize, typed):
    import functools

    return functools.lru_cache(maxsize, typed)(function)


def dict_view(kind, dictionary):
    import collections

    cls = collections.OrderedDict if isinstance(dictionary, collections.OrderedDict) else dict
    return getattr(cls, kind)(dictionary)


def descriptor(cls, name):
    return vars(cls)[name]


def context_variable(id, name, *default):
    import contextvars

    return contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)


def weak(cls, referent, callback=None):
    import types
    import weakref

    is_method = issubclass(cls, weakref.WeakMethod)
    if referent is None:  # one that is gone at once
        referent = types.MethodType(set, set()) if is_method else set()
        callback = None
    if cls in weakref.ProxyTypes:
        return weakref.proxy(referent, callback)
    if is_method:
        return cls(referent)
    return weakref.ref.__new__(cls, referent, callback)


def weak_container(cls):
    import weakref

    made = object.__new__(cls)
    for base in (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet):
        if issubclass(cls, base):
            base.__init__(made)
    return made


def weak_set_state(made, state):
    import weakref

    weakref.WeakSet.update(made, state[0])
    made.__dict__.update(state[1] or ())


def file(kind, path, position, text):
    if kind == 2:
        made = open(path, encoding=text[0], errors=text[1])
    else:
        made = open(path, "rb", -1 if kind else 0)
    made.seek(position)
    return made


_globals = {}  # of all of them, in one stream one dict, into which eval puts __builtins__
_codes = {}  # of the functions above, as they travel


def _travelling(code):
    """The same code without what is this installation's, the path of this file."""
    constants = tuple(_travelling(each) if isinstance(each, types.CodeType) else each for each in code.co_consts)
    return code.replace(co_filename="<achar>", co_consts=constants)


def _reduce(name):
    """How the stream makes what stands here under this name: (callable, arguments), or module and name."""
    found = globals()[name]
    if isinstance(found, tuple):
        return found
    if isinstance(found, str):
        return eval, (found, _globals)
    if name not in _codes:
        _codes[name] = _travelling(found.__code__)
    return types.FunctionType, (_codes[name], _globals, name, found.__defaults__)

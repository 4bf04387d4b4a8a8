"""What goes by name, what by value, and register_by_value."""

import io
import pickle
import pickletools
import subprocess
import sys
import textwrap
import types

import achar
import achar.pickle
import pytest
from byvalue_support import PACKAGE_ROOT, dumps, loads


def names_in(data):
    return {arg for op, arg, _ in pickletools.genops(data) if isinstance(arg, str)}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package 'pkg_here' with a module 'inner', and its directory."""
    folder = tmp_path / "pkg_here"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "inner.py").write_text(
        textwrap.dedent("""
        limit = 3
        def inside(n):
            return helper(n) <= limit
        def helper(n):
            return n + 1
        class Thing:
            def ok(self):
                return inside(1)
        def _hidden():
            def local(): return limit
            return local
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    import pkg_here
    import pkg_here.inner

    yield pkg_here
    del sys.modules["pkg_here"], sys.modules["pkg_here.inner"]


def elsewhere(data, expression):
    """The repr of the expression over 'obj' in a process that cannot import pkg_here."""
    source = f"import achar, sys; obj = achar.loads(sys.stdin.buffer.read()); print(repr(({expression})))"
    done = subprocess.run(
        [sys.executable, "-c", source],
        input=data,
        env={"PYTHONPATH": PACKAGE_ROOT},
        cwd="/",
        capture_output=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_importable_goes_by_name(package):
    for obj in (package.inner.inside, package.inner.Thing, package.inner.Thing.ok, package.inner):
        assert loads(dumps(obj)) is obj
    # As pickle writes it; where it is code, with a label that says whose it is (test_explained.py).
    plain = pickle.dumps(package.inner.inside, 5)
    opcodes, _, label = dumps(package.inner.inside)[11:].partition(b"C")
    assert opcodes == plain[11:-1] and b"achar:sender\n" in label and label.endswith(b"0.")
    assert dumps(package.inner.Thing) == pickle.dumps(package.inner.Thing, 5)
    assert dumps([package.inner.Thing()]) == pickle.dumps([package.inner.Thing()], 5)


def test_local_functions_of_importable_modules_go_by_value(package):
    f = package.inner._hidden()
    assert loads(dumps(f)) is not f
    assert elsewhere(dumps(f), "obj()") == "3"


@pytest.mark.parametrize("registered", ["pkg_here.inner", "pkg_here"])
def test_register_by_value(package, registered):
    module = sys.modules[registered]
    achar.register_by_value(module)
    try:
        assert elsewhere(dumps(package.inner.inside), "obj(2), obj(3)") == "(True, False)"
        assert elsewhere(dumps(package.inner.Thing), "obj().ok(), obj.__module__") == "(True, 'pkg_here.inner')"
        assert elsewhere(dumps(package.inner), "obj.inside(1), obj.limit, obj.inside.__globals__ is vars(obj)") == (
            "(True, 3, True)"
        )
    finally:
        achar.unregister_by_value(module)
    assert loads(dumps(package.inner.inside)) is package.inner.inside


def test_register_by_value_misuse(package):
    with pytest.raises(TypeError, match="expected a module"):
        achar.register_by_value("pkg_here")
    with pytest.raises(ValueError, match="not imported"):
        achar.register_by_value(types.ModuleType("never_imported"))
    with pytest.raises(ValueError, match="not registered"):
        achar.unregister_by_value(package)
    with pytest.raises(TypeError, match="expected a module"):
        achar.unregister_by_value(3)


def test_shadowed_function_goes_by_value(package):
    f = package.inner.helper
    package.inner.helper = lambda n: "another"
    assert elsewhere(dumps(f), "obj(1)") == "2"


def test_module_is_not_searched_for(package):
    """An object without __module__ costs no scan of sys.modules."""

    class Watched(dict):
        scans = 0

        def __iter__(self):
            Watched.scans += 1
            return super().__iter__()

        def items(self):
            Watched.scans += 1
            return super().items()

    f = lambda: 1  # noqa: E731
    f.__module__ = None
    assert loads(dumps(f))() == 1
    watched = Watched(sys.modules)
    before = sys.modules
    sys.modules = watched
    try:
        dumps(f)
        dumps(package.inner._hidden())
    finally:
        sys.modules = before
    assert Watched.scans == 0


def test_only_named_globals_travel():
    namespace = {"__name__": "__main__", "used": 1, "unused": object(), "secret": "s3cret"}
    exec("def f():\n    return used\ndef g():\n    global made\n    made = 1", namespace)
    assert "secret" not in names_in(dumps([namespace["f"], namespace["g"]]))


def test_stream_names_only_the_rebuild_module():
    class C:
        def f(self):
            return super().__repr__()

    class Unpickler(pickle.Unpickler):
        modules = set()

        def find_class(self, module, name):
            self.modules.add(module)
            return super().find_class(module, name)

    Unpickler(io.BytesIO(dumps([C, C(), lambda: C]))).load()
    assert Unpickler.modules == {"achar._v1", "builtins"}


class Watched(types.ModuleType):
    """A module that counts who looks into it."""

    looks = 0

    def __getattribute__(self, name):
        Watched.looks += 1
        return super().__getattribute__(name)


def homeless():
    return LIMIT


LIMIT = 3


def test_no_other_module_is_looked_at(monkeypatch):
    """What a dump costs does not depend on how many modules are imported."""

    class Local:
        def method(self):
            return LIMIT, types.ModuleType

    def closure():
        return homeless(), Local

    for i in range(50):
        monkeypatch.setitem(sys.modules, f"watched_{i}", Watched(f"watched_{i}"))
    monkeypatch.setattr(homeless, "__module__", None)
    monkeypatch.setattr(homeless, "__qualname__", "found_nowhere")
    Watched.looks = 0
    for obj in (lambda: LIMIT, closure, homeless, Local, Local(), Local().method, [Local, homeless, len]):
        dumps(obj)
    assert Watched.looks == 0
    with pytest.raises(pickle.PicklingError):  # pickle itself searches for a function without a module
        achar.pickle.dumps(homeless)
    assert Watched.looks >= 50

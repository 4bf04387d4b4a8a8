"""What later patch releases refuse, achar refuses where it runs in them.

This machine may have none of them, so here stands a _pickle that behaves like theirs in front of a
second copy of the extension, in a process of its own.
"""

import subprocess
import sys

import pytest

LATER = """
import io, sys, types
import _pickle
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
import achar._achar


class Later(types.ModuleType):
    def __getattr__(self, name):
        return getattr(_pickle, name)

    def loads(self, data):
        raise _pickle.UnpicklingError("refused")


sys.modules["_pickle"] = Later("_pickle")
path = achar._achar.__file__
loader = ExtensionFileLoader("achar._achar", path)
module = module_from_spec(spec_from_file_location("achar._achar", path, loader=loader))
loader.exec_module(module)
strict = module.strict


class Peekable(io.BytesIO):
    def peek(self, size):
        at = self.tell()
        try:
            return self.read(size)
        finally:
            self.seek(at)


def outcomes(data):
    for load in (strict.loads, lambda data: strict.load(io.BytesIO(data)), lambda data: strict.load(Peekable(data))):
        try:
            yield load(data)
        except Exception as error:
            yield f"{type(error).__name__}: {error}"


def frame(size):
    return b"\\x95" + size.to_bytes(8, "little")

"""

CASES = {
    # the argument of an opcode crosses the frame's end
    r'b"\x80\x04" + frame(4) + b"N0J\x01\x02\x03\x04."': "UnpicklingError: pickle exhausted before end of frame",
    r'b"\x80\x04" + frame(4) + b"N0I12\n."': "UnpicklingError: pickle exhausted before end of frame",
    r'b"\x80\x04" + frame(5) + b"N0\x8c\x05abcde."': "UnpicklingError: pickle exhausted before end of frame",
    r'b"\x80\x04" + frame(12) + b"N0\x8e\x08\0\0\0\0\0\0\0abcdefgh."': (
        "UnpicklingError: pickle exhausted before end of frame"
    ),
    # a frame in a frame
    r'b"\x80\x04" + frame(20) + b"N0" + frame(3) + b"K\x01." + b"." * 6': (
        "UnpicklingError: beginning of a new frame before end of current frame"
    ),
    # an argument that begins at the frame's end does not cross it: so pickle.py has it
    r'b"\x80\x04" + frame(3) + b"N0J\x01\x02\x03\x04."': 0x04030201,
    r'b"\x80\x04" + frame(3) + b"N0I12\n."': 12,
    # opcodes between and after frames are as good as in them
    r'b"\x80\x04" + frame(2) + b"(N" + b"K\x05" + frame(3) + b"K\x06l."': [None, 5, 6],
    r'b"\x80\x04" + frame(0) + frame(3) + b"K\x06."': 6,
    r'b"\x80\x04" + frame(1) + b"(" + b"I7\nl."': [7],
    r'b"\x80\x04" + frame(1) + b"(" + b"\x8e\x02\0\0\0\0\0\0\0abl."': [b"ab"],
    # INT and LONG are decimal
    'b"I010\\n."': 10,
    'b"L010L\\n."': 10,
    'b"L0x10L\\n."': "ValueError: invalid literal for int() with base 10: '0x10'",
    'b"I0x10\\n."': "ValueError: could not convert string to int",
    'b"I01\\n."': True,
}


@pytest.mark.parametrize("data", CASES)
def test_later_releases(data):
    done = subprocess.run(
        [sys.executable, "-c", f"{LATER}\nprint(list(outcomes({data})))"], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr([CASES[data]] * 3)


SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
import achar.pickle, achar, io, gc
data = achar.pickle.dumps({"a": [1, 2, (3, "x" * 300)], "b": {4}}, 4)
assert achar.pickle.loads(data) == achar.load(io.BytesIO(data)) == {"a": [1, 2, (3, "x" * 300)], "b": {4}}
assert isinstance(achar.pickle.Unpickler(io.BytesIO(b"](e.")).load(), list)
assert gc.isenabled()
'''
for _ in range(3):
    one = interpreters.create()
    failed = interpreters.exec(one, code) if hasattr(interpreters, "exec") else interpreters.run_string(one, code)
    assert not failed, failed
    interpreters.destroy(one)
print("done")
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no interpreters with a GIL of their own before 3.12")
def test_subinterpreters():
    done = subprocess.run([sys.executable, "-c", SUBINTERPRETER], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr

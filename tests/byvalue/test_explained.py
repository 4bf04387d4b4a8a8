"""What goes wrong between a sender and a receiver that differ: where, why, and what to do."""

import json
import sys

import pytest
from byvalue_support import run_python

SEND = """
import sys; sys.path.insert(0, {folder!r})
import achar
{source}
sys.stdout.buffer.write(achar.dumps(obj))
"""
RECEIVE = """
import sys, json; sys.path.insert(0, {folder!r})
import achar
try:
    achar.loads(sys.stdin.buffer.read())
except Exception as e:
    json.dump([type(e).__name__, str(e), getattr(e, "__notes__", None)], sys.stdout)
"""


def send(folder, source):
    return run_python("-c", SEND.format(folder=str(folder), source=source)).stdout


def receive(folder, data):
    kind, text, notes = json.loads(run_python("-c", RECEIVE.format(folder=str(folder)), stdin=data).stdout)
    return kind, "\n".join([text, *(notes or ())]), notes


@pytest.fixture
def folders(tmp_path):
    here, there = tmp_path / "sender", tmp_path / "receiver"
    here.mkdir(), there.mkdir()
    (here / "tools.py").write_text("def f(): pass\nclass Failure(Exception): pass\n")
    return here, there


needs_notes = pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")


@needs_notes
@pytest.mark.parametrize("what", ["tools.f", "tools.Failure"])
def test_module_that_the_receiver_lacks(folders, what):
    data = send(folders[0], f"import tools; obj = [1, {what}]")
    kind, text, _ = receive(folders[1], data)
    assert kind == "ModuleNotFoundError"
    assert f"needs {what}" in text and "cannot be imported here" in text
    assert "install it" in text and "register_by_value" in text


def test_registered_it_arrives(folders):
    data = send(folders[0], "import tools; achar.register_by_value(tools); obj = tools.Failure('x')")
    ask = "import sys, achar; print(repr(achar.loads(sys.stdin.buffer.read())))"
    assert run_python("-c", ask, stdin=data).stdout == b"Failure('x')\n"


@needs_notes
def test_module_that_lacks_the_name(folders):
    (folders[1] / "tools.py").write_text("")
    kind, text, _ = receive(folders[1], send(folders[0], "import tools; obj = tools.f"))
    assert kind == "AttributeError" and "tools" in text and "'f'" in text
    assert "version" in text


def test_truncated_and_foreign_bytes(folders):
    data = send(folders[0], "obj = ['x' * 1000]")
    for cut in (3, 20, 500, len(data) - 1):
        kind, text, _ = receive(folders[1], data[:cut])
        assert kind in ("UnpicklingError", "EOFError") and "cut off" in text or "ended" in text or "Ran out" in text
    kind, text, _ = receive(folders[1], b"\x80\x09N.")
    assert kind == "ValueError" and "protocol: 9" in text


def test_reduce_that_returns_nonsense():
    import achar
    import achar.pickle

    class Nonsense:
        def __reduce__(self):
            return 3

    with pytest.raises(achar.pickle.PicklingError) as caught:
        achar.dumps({"a": [Nonsense()]})
    first, why, do = str(caught.value).split("\n")
    assert first.startswith("obj['a'][0]: ") and "Nonsense cannot be pickled" in first
    assert why == "  why: PicklingError: __reduce__ must return a string or tuple"
    assert do.startswith("  do:  let its __reduce__ return")


@needs_notes
def test_endless_recursion_in_user_code():
    import achar
    import achar.pickle

    class Endless:
        def __getstate__(self):
            return self.__getstate__()

    with pytest.raises(RecursionError) as caught:
        achar.dumps([1, {"k": Endless()}])
    assert caught.value.__notes__ == ["while pickling obj[1]['k']"]

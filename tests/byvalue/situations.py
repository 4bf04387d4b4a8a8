"""What can go wrong between two processes that differ, each produced by two such processes.

    python tests/byvalue/situations.py            prints what each looks like
    python tests/byvalue/situations.py --write    puts it into docs/errors.md

A situation is a sender, which pickles `obj` and may fail at that, and a receiver, which loads the bytes.
Each has a folder of modules of its own. What counts is the exception with its notes, as printed.
"""

import pathlib
import re
import sys
import tempfile
from dataclasses import dataclass, field

from byvalue_support import run_python

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "errors.md"

TOOLS = """\
__version__ = "1.2"
def f(): pass
class Failure(ValueError): pass
"""
OTHER_TOOLS = '__version__ = "2.0"\n'

# Both print "Type: message" and the notes, or what was raised is nothing.
SAY = """
def say(error):
    lines = [f"{{type(error).__name__}}: {{error}}", *(getattr(error, "__notes__", ()))]
    print("\\n".join(lines))
"""
SEND = (
    SAY
    + """
import sys; sys.path.insert(0, {folder!r}); sys.argv[0] = "sender.py"
import achar, warnings
warnings.showwarning = lambda message, *rest: say(message)
try:
    exec({source!r}, globals())
    data = achar.dumps(obj{options})
except Exception as e:
    say(e)
else:
    open({bytes!r}, "wb").write({damage})
"""
)
RECEIVE = (
    SAY
    + """
import sys; sys.path.insert(0, {folder!r})
import achar
file = open({bytes!r}, "rb"); data = file.read(); file.seek(0)
try:
    obj = {load}
    exec({check!r}, globals())
except Exception as e:
    say(e)
else:
    print("nothing is raised")
"""
)


def converse(
    folder, modules_there, source, modules_here, check="", options="", damage="data", load="achar.loads(data)"
):
    """What the exception looks like that the sender or the receiver ends with."""
    folders = folder / "sender", folder / "receiver"
    for path, modules in zip(folders, (modules_there, modules_here)):
        path.mkdir(exist_ok=True)
        for name, text in modules.items():
            (path / name).write_text(text)
    sent = folder / "bytes"
    sent.unlink(missing_ok=True)
    script = SEND.format(folder=str(folders[0]), source=source, bytes=str(sent), options=options, damage=damage)
    said = run_python("-c", script, stdin=b"").stdout.decode()
    if said or not sent.exists():
        return said.strip()
    script = RECEIVE.format(folder=str(folders[1]), bytes=str(sent), check=check, load=load)
    return run_python("-c", script).stdout.decode().strip()


@dataclass
class Situation:
    name: str
    title: str
    source: str
    kind: str  # the exception's class
    path: str = ""
    why: tuple = ()
    do: tuple = ()
    there: dict = field(default_factory=dict)
    here: dict = field(default_factory=dict)
    options: str = ""
    damage: str = "data"
    check: str = ""
    laid_out: bool = True  # with a line "why:" and a line "do:"
    wants: str = ""

    def produce(self, folder):
        return converse(folder, self.there, self.source, self.here, self.check, self.options, self.damage)


TOOLS_THERE = {"tools.py": TOOLS}
SITUATIONS = [
    Situation(
        "deep-inside",
        "Something deep inside cannot be sent",
        "import socket\nclass Client:\n    def __init__(self): self.sock = socket.socket()\n"
        "obj = {'clients': [Client()]}",
        "PicklingError",
        "obj['clients'][0].sock",
        ("a connection belongs to the process that opened it",),
        ("connect inside the task", "__getstate__"),
    ),
    Situation(
        "captured",
        "A function or local class captures by accident what cannot be sent",
        "import threading\ndef make():\n    lock = threading.Lock()\n    class Task:\n"
        "        def run(self):\n            with lock: return 1\n    return Task\nobj = [make()()]",
        "PicklingError",
        "obj[0].run.__closure__[0].cell_contents",
        ("a fresh lock would exclude nobody",),
        ("make the lock inside the task",),
    ),
    Situation(
        "reduce",
        "`__reduce__` returns nonsense",
        "class Nonsense:\n    def __reduce__(self): return 3\nobj = {'a': [Nonsense()]}",
        "PicklingError",
        "obj['a'][0]",
        ("__reduce__ must return a string or tuple",),
        ("let its __reduce__ return (callable, arguments)",),
    ),
    Situation(
        "recursion",
        "User code recurses without end",
        "class Endless:\n    def __getstate__(self): return self.__getstate__()\nobj = [1, {'k': Endless()}]",
        "RecursionError",
        "obj[1]['k']",
        ("__getstate__", "calls itself without end"),
        ("let that code end",),
    ),
    Situation(
        "large",
        "A capture is surprisingly large (asked for with `warn_size=`)",
        "def make():\n    table = list(range(100000))\n    return lambda x: table[x]\nobj = make()",
        "LargePickleWarning",
        "",
        ("takes along enclosing table",),
        ("pass it as an argument",),
        options=", warn_size=1000",
    ),
    Situation(
        "no-module",
        "A function by name whose module the receiver lacks",
        "import tools; obj = [1, {'k': tools.f}]",
        "ModuleNotFoundError",
        "obj[1]['k']",
        ("tools 1.2", "sent by sender.py (pid ", "can be imported where it was pickled"),
        ("install tools 1.2", "achar.register_by_value(tools)"),
        there=TOOLS_THERE,
    ),
    Situation(
        "no-name",
        "The module is there, and lacks the name",
        "import tools; obj = (tools.f,)",
        "AttributeError",
        "obj[0]",
        ("tools 1.2", "sent by sender.py", "here tools 2.0"),
        ("have the same tools on both sides", "achar.register_by_value(tools)"),
        there=TOOLS_THERE,
        here={"tools.py": OTHER_TOOLS},
    ),
    Situation(
        "no-class",
        "The class of an instance is in a module that the receiver lacks",
        "import tools; obj = {'p': tools.Point(1)}",
        "ModuleNotFoundError",
        "obj['p']",
        ("can be imported where it was pickled",),
        ("install tools", "achar.register_by_value(tools)"),
        there={"tools.py": "class Point:\n    def __init__(self, x): self.x = x\n"},
    ),
    Situation(
        "changed",
        "A class whose definition has changed",
        "import tools; obj = [lambda: 0, tools.Point(1)]",
        "AttributeError",
        "obj[1]",
        ("definition may have changed", "tools 1.0", "sent by sender.py", "here is tools 2.0"),
        ("the same tools on both sides", "Point.__setstate__", "achar.register_by_value(tools)"),
        there={"tools.py": "__version__ = '1.0'\nclass Point:\n    def __init__(self, x): self.x = x\n"},
        here={"tools.py": "__version__ = '2.0'\nclass Point:\n    __slots__ = ('y',)\n"},
    ),
    Situation(
        "no-class-any-more",
        "A class that has become something else",
        "import tools; obj = [lambda: 0, {'p': tools.Point()}]",
        "UnpicklingError",
        "obj[1]['p']",
        ("here it is a function", "tools 1.0", "sent by sender.py", "here is tools 2.0"),
        ("the same tools on both sides", "achar.register_by_value(tools)"),
        there={"tools.py": "__version__ = '1.0'\nclass Point: pass\n"},
        here={"tools.py": "__version__ = '2.0'\ndef Point(): pass\n"},
    ),
    Situation(
        "no-base-any-more",
        "The base of a class by value has become something else",
        "import tools\nclass Local(tools.Point): pass\nobj = {'k': Local}",
        "UnpicklingError",
        "obj['k']",
        ("where it was pickled that name was the base of a class",),
        ("have the same version of its module on both sides", "achar.register_by_value()"),
        there={"tools.py": "class Point: pass\n"},
        here={"tools.py": "Point = None\n"},
    ),
    Situation(
        "no-exception-any-more",
        "An exception class that has become something else",
        "import tools; obj = [1, tools.Failure('no room')]",
        "UnpicklingError",
        "obj[1]",
        ("where it was pickled that name was an exception class",),
        ("have the same version of its module on both sides", "achar.register_by_value()"),
        there={"tools.py": "class Failure(Exception): pass\n"},
        here={"tools.py": "class Failure: pass\n"},
    ),
    Situation(
        "no-exception-class",
        "An exception whose class the receiver lacks arrives as a stand-in",
        "import tools; obj = tools.Failure('no room', 28)",
        "RemoteError[tools.Failure]",
        "obj",
        ("tools 1.2", "sent by sender.py", "can be imported where it was pickled"),
        ("install tools 1.2", "achar.register_by_value(tools)"),
        there=TOOLS_THERE,
        check="assert isinstance(obj, ValueError); raise obj",
    ),
    Situation(
        "init-wants-more",
        "An exception whose `__init__` wants more arguments, written by pickle (by achar it arrives)",
        "import pickle, tools\nachar.dumps = pickle.dumps\nobj = [tools.Failure(1, 2)]",
        "TypeError",
        "obj[0]",
        ("its __init__ wants other arguments than are in args",),
        ("achar.dumps", "__reduce__"),
        there={"tools.py": "class Failure(Exception):\n    def __init__(self, a, b): super().__init__(a)\n"},
        here={"tools.py": "class Failure(Exception):\n    def __init__(self, a, b): super().__init__(a)\n"},
    ),
    Situation(
        "truncated",
        "Truncated bytes",
        "obj = ['x' * 1000]",
        "UnpicklingError",
        why=("pickle data was truncated (at byte 2, FRAME)",),
        do=("it was cut off",),
        damage="data[:500]",
        laid_out=False,
    ),
    Situation(
        "newer-protocol",
        "A pickle of a newer protocol, or none",
        "obj = 1",
        "ValueError",
        why=("unsupported pickle protocol: 9 (at byte 0, PROTO)",),
        do=("a newer Python wrote it", "protocol=5"),
        damage="b'\\x80\\x09K\\x01.'",
        laid_out=False,
    ),
    Situation(
        "other-python",
        "A function from another minor version of Python",
        "obj = lambda: 1",
        "UnpicklingError",
        "obj",
        ("bytecode differs",),
        ("source=True", "run the same minor version on both sides"),
        damage="data.replace(bytes([sys.version_info[0], sys.version_info[1]]), bytes([3, 9]), 1)",
    ),
]


def named(name):
    return next(one for one in SITUATIONS if one.name == name)


def general(text):
    """Without what differs from machine to machine and from version to version."""
    text = re.sub(r"pid \d+ on \S+, Python \S+\)", "pid N on host, Python 3.x)", text)
    text = re.sub(r"<module 'tools' from '[^']*'>", "<module 'tools' from 'tools.py'>", text)
    text = re.sub(r"at byte \d+", "at byte N", text)
    text = re.sub(r" of /\S*/tools.py", " of /…/tools.py", text)
    text = re.sub(r"object has no attribute 'x'.*", "object has no attribute 'x'", text)  # 3.13 says more
    text = re.sub(r"maximum recursion depth exceeded.*", "maximum recursion depth exceeded", text)
    text = re.sub(r"(Failure\.)?__init__\(\)", "__init__()", text)
    return re.sub(r"Python 3\.\d+", "Python 3.x", text)


def pretty(text):
    """As the page shows it."""
    text = general(text).replace("byte N", "byte 28")
    return text.replace("pid N on host, Python 3.x", "pid 4711 on host, Python 3.11.7")


def main():
    parts = []
    for one in SITUATIONS:
        with tempfile.TemporaryDirectory() as folder:
            text = one.produce(pathlib.Path(folder))
        parts.append(f"### {one.title}\n\n<!-- {one.name} -->\n```text\n{pretty(text)}\n```\n")
    block = "\n".join(parts)
    if "--write" not in sys.argv:
        print(block)
        return
    begin, end = "<!-- what it looks like: begin -->\n", "<!-- what it looks like: end -->"
    before, _, rest = DOCS.read_text().partition(begin)
    _, _, after = rest.partition(end)
    DOCS.write_text(f"{before}{begin}\n{block}\n{end}{after}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What achar, cloudpickle and dill do with each kind of object of tests/byvalue: docs/kinds.md.

    python bench/kinds.py             prints the table
    python bench/kinds.py --write     writes docs/kinds.md

Each kind is made and dumped in one process, and loaded and used in another, which was started afresh
and has the serializer and nothing of ours. The check that uses it travels along: with the same
serializer where that can send it, else with achar; if one way of sending it works, the kind works.
Every kind has a child process of its own on either side, so that a crash or a hang is this kind's.
"""

import json
import os
import pathlib
import pickle
import platform
import runpy
import signal
import subprocess
import sys
import tempfile
from importlib import import_module, metadata

ROOT = pathlib.Path(__file__).resolve().parents[1]
CASES = ROOT / "tests" / "byvalue"
PAGE = ROOT / "docs" / "kinds.md"
SERIALIZERS = ("achar", "cloudpickle", "dill")
LIMIT_S = 60
GROUPS = {
    "cases_functions.py": "Functions",
    "cases_classes.py": "Classes and types",
    "cases_enums.py": "Enums",
    "cases_exceptions.py": "Exceptions",
    "cases_weak_and_open.py": "Weak references, files, tracebacks, iterators, deep nesting",
    "cases_others.py": "Modules, views and others",
}


def in_child(function, *arguments):
    """("done", what it returns), ("raised", type and text), ("crashes", signal) or ("hangs", "")."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(LIMIT_S)
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1), os.dup2(devnull, 2)
        try:
            answer = ("done", function(*arguments))
        except BaseException as error:
            answer = ("raised", f"{type(error).__name__}: {str(error).strip()}")
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0 and data:
        return pickle.loads(data)
    if status == -signal.SIGALRM:
        return "hangs", ""
    return "crashes", signal.Signals(-status).name if status < 0 else f"exit code {status}"


# ---- the sender


def dump_case(make, dumps):
    import achar

    obj, check = make()
    ways = {"apart": (dumps(obj), achar.dumps(check))}
    try:
        ways["together"] = dumps((obj, check))
    except Exception:  # the check is at fault: the object alone could be sent
        ways["together"] = None
    try:
        ways["each"] = (ways["apart"][0], dumps(check))
    except Exception:
        ways["each"] = None
    return ways


def send(file, name, out):
    """Writes {case: outcome of dumping it}."""
    sys.path.insert(0, str(CASES))
    import cases

    dumps = import_module(name).dumps
    sent = {}

    def dump_all():
        vars(sys.modules["__main__"])["__package__"] = None  # as in a script; runpy says ""
        sent.update((make.__name__, in_child(dump_case, make, dumps)) for make in cases.CASES)

    cases.main = dump_all
    sys.argv[:] = [str(CASES / file), str(out)]
    runpy.run_path(str(CASES / file), run_name="__main__")
    pathlib.Path(out).write_bytes(pickle.dumps(sent))


def send_immovable(name, out):
    sys.path.insert(0, str(CASES))
    import immovable

    dumps = import_module(name).dumps
    sent = {}
    for obj, *_ in immovable.refused():
        kind = f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")
        while kind in sent:
            kind += "'"
        sent[kind] = in_child(lambda obj: {"alone": dumps(obj)}, obj)
    pathlib.Path(out).write_bytes(pickle.dumps(sent))


# ---- the receiver


def check_case(ways, loads):
    import achar

    if "alone" in ways:
        return f"arrives as a {type(loads(ways['alone'])).__name__}"
    answers = []
    for way in ("together", "each", "apart"):
        if ways[way] is None:
            continue
        try:
            if way == "together":
                obj, check = loads(ways[way])
            else:
                obj, check = loads(ways[way][0]), (loads if way == "each" else achar.loads)(ways[way][1])
        except Exception as error:
            answers.append(f"not loaded: {type(error).__name__}: {error}")
            continue
        try:
            if check(obj):
                return "works"
            answers.append("wrong after loading")
        except Exception as error:
            answers.append(f"wrong after loading: {type(error).__name__}: {error}")
    return answers[0]


def receive(name, file):
    loads = import_module(name).loads
    sent = pickle.loads(pathlib.Path(file).read_bytes())
    json.dump(
        {
            case: in_child(check_case, what, loads) if how == "done" else (how, what, "out")
            for case, (how, what) in sent.items()
        },
        sys.stdout,
    )


# ---- the table


def said(outcome):
    """An outcome in a cell of the table."""
    how, what, *out = outcome
    if how == "done":
        text = what
    elif how == "raised":
        text = f"{'refused' if out else 'not loaded'}: {what}"
    else:
        text = f"{how} {what}".strip()
    text = " ".join(text.split("\n")[0].split()).replace("|", "\\|").replace(str(ROOT), "…")
    if text.startswith("wrong after loading"):
        return "**wrong after loading**"
    if text.startswith(("crashes", "hangs")):
        return f"**{text}**"
    return text if len(text) <= 90 else text[:87] + "…"


def outcomes_of(name, what, folder):
    """{case: outcome} of one file of cases, or of "immovable"."""
    out = pathlib.Path(folder) / f"{what}.{name}"
    for arguments in (["send", what, name, str(out)], ["receive", name, str(out)]):
        done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}, {what}: {arguments[0]} failed\n{done.stderr}")
    return json.loads(done.stdout)


def main():
    if sys.argv[1:2] == ["send"]:
        _, _, what, name, out = sys.argv
        return send_immovable(name, out) if what == "immovable" else send(what, name, out)
    if sys.argv[1:2] == ["receive"]:
        return receive(*sys.argv[2:])
    lines, works, total = [], dict.fromkeys(SERIALIZERS, 0), 0
    with tempfile.TemporaryDirectory() as folder:
        for file, title in GROUPS.items():
            found = {name: outcomes_of(name, file, folder) for name in SERIALIZERS}
            lines += ["", f"## {title}", "", f"| | {' | '.join(SERIALIZERS)} |", "|---|---|---|---|"]
            for case in found["achar"]:
                cells = [said(found[name][case]) for name in SERIALIZERS]
                lines.append(f"| {case.replace('_', ' ')} | {' | '.join(cells)} |")
                total += 1
                for name, cell in zip(SERIALIZERS, cells, strict=True):
                    works[name] += cell == "works"
            print(f"{title}: {len(found['achar'])} kinds", file=sys.stderr)
        found = {name: outcomes_of(name, "immovable", folder) for name in SERIALIZERS}
        lines += ["", "## What cannot sensibly move", ""]
        lines += ["achar refuses it, and says why and what to send instead (`tests/byvalue/immovable.py`).", ""]
        lines += [f"| | {' | '.join(SERIALIZERS)} |", "|---|---|---|---|"]
        for kind in found["achar"]:
            lines.append(f"| `{kind}` | {' | '.join(said(found[name][kind]) for name in SERIALIZERS)} |")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in SERIALIZERS[1:])
    head = [
        "# Kinds of object, and who can send them",
        "",
        f"{total} kinds, each dumped in one process, and loaded **and used** in a fresh one, which has nothing of the",
        "sender's. The kinds are the cases of `tests/byvalue/cases_*.py`, which make the object and use it.",
        f"CPython {platform.python_version()}, {versions}.",
        "",
        f"**Works: {', '.join(f'{name} {works[name]}' for name in SERIALIZERS)}, of {total}.**",
        "",
        "*refused*: dumps raised this; *not loaded*: loads did; *wrong after loading*: it arrived and could not be",
        f"used as before; *crashes*: the process ended; *hangs*: it took over {LIMIT_S} s.",
        "Some checks ask for more than use: *function with global* also that no other global came along.",
        "Printed by `python bench/kinds.py --write`.",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    if "--write" in sys.argv:
        PAGE.write_text(text)
        print(head[6])
    else:
        print(text)


if __name__ == "__main__":
    main()

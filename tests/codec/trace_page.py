"""Reads a page of `achar trace --html`: its elements, its data, and the states that the data describes,
worked out anew here (and by the page's own script, where there is node)."""

import html.parser
import json
import shutil
import subprocess

import trace_oracle
from trace_oracle import MARK, PAGE, STACK_SHOWN, Call, Frozen, Import, Named, Ordered, Pairs, Shower


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.elements = []  # (tag, attributes)
        self.texts = {}  # of elements, by position
        self.open = []
        self.feed(text)
        self.close()
        scripts = [i for i, (tag, _) in enumerate(self.elements) if tag == "script"]
        self.data = json.loads(self.texts[scripts[0]])
        self.script = self.texts[scripts[1]]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta",):
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    def text(self, tag):
        return next(self.texts.get(i, "") for i, element in enumerate(self.elements) if element[0] == tag)


class Cut(list):
    """The first few of so many values."""

    total = 0

    def __len__(self):
        return self.total

    def __getitem__(self, index):
        return list(self)[index]


class CutTuple(tuple):
    total = 0

    def __len__(self):
        return self.total


class Word(Named):
    """What is shown as it stands, and has no parts."""


class PageShower(Shower):
    def node(self, value):
        if isinstance(value, (Word, Import)):
            return self.text(value.shown) + self.changes(value)
        return super().node(value)

    def show(self, value):
        return self.text(value) if isinstance(value, Atom) else super().show(value)


class Atom(str):
    pass


class Replay:
    """The state after each step, from what the page says of it."""

    def __init__(self, data):
        assert data["limits"] == PAGE
        self.data, self.stack, self.memo, self.names = data, [], {}, {}
        self.values = {0: MARK}
        self.of = {}  # values by identity
        for value in data.get("values", []):
            self.define(value)
        self.finish()
        self.stack = [self.values[i] for i in data.get("stack", [])]
        self.hidden = data.get("below", 0)

    def define(self, v):
        kind, shown = v["k"], v.get("s")
        if kind in ("text", "number"):
            value = Atom(shown)
        elif kind == "list":
            value = Cut()
        elif kind == "dict":
            value = Pairs()
            value.items = Cut()
        elif kind == "set":
            value = Ordered()
            value.items = Cut()
        elif kind == "call":
            value = Call(shown, None, ())
        elif kind in ("persistent", "buffer") and "v" in v:
            value = Named(shown.strip(), None)
        elif kind in ("tuple", "frozenset"):
            value = None
        else:
            value = Word("", None) if kind != "import" else Import("", "")
            value.shown = shown
        self.values[v["i"]] = value
        self.pending = getattr(self, "pending", []) + [v]

    def value(self, number):
        if self.values[number] is None:  # a tuple, whose parts have to be there first
            v = next(v for v in self.pending if v["i"] == number)
            parts = [self.value(i) for i in v["v"]]
            if v["k"] == "tuple":
                value = CutTuple(parts)
            else:
                value = Frozen()
                value.items = Cut(parts)
                value.items.total = v["n"]
            value.total = v["n"]
            self.values[number] = value
        return self.values[number]

    def finish(self):
        for v in getattr(self, "pending", []):
            value = self.value(v["i"])
            self.of[id(value)] = v["i"]
            if "m" in v:
                self.names[v["i"]] = v["m"]
            if v["k"] in ("list", "dict", "set"):
                self.fill(value, v["n"], v["v"])
            elif v["k"] == "call":
                value.function, value.arguments = self.value(v["v"][0]), self.value(v["v"][1])
                if isinstance(value.arguments, Atom):
                    value.arguments = ()
                if len(v["v"]) == 3:
                    keywords = self.value(v["v"][2])
                    value.keywords = keywords
            elif v["k"] in ("persistent", "buffer") and "v" in v:
                value.value = self.value(v["v"][0])
            for kind, count, ids in v.get("h", []):
                self.change(value, kind, count, ids)
        self.pending = []

    def fill(self, container, count, ids):
        new = [self.value(i) for i in ids]
        if isinstance(container, Cut):
            into = container
        else:
            into = container.items
            if isinstance(container, Pairs):
                new, count = list(zip(new[::2], new[1::2], strict=True)), count // 2
        into.extend(new)
        into.total += count

    def change(self, value, kind, count, ids):
        own = {"list": list, "dict": Pairs, "set": Ordered}.get(kind)
        if own and isinstance(value, own):
            self.fill(value, count, ids)
            return
        if not value.changes or value.changes[-1][0] != kind or kind == "state":
            value.changes.append((kind, Cut()))
        into = value.changes[-1][1]
        new = [self.value(i) for i in ids]
        if kind == "dict":
            new, count = list(zip(new[::2], new[1::2], strict=True)), count // 2
        into.extend(new)
        into.total += count

    def show(self, value):
        return PageShower(PAGE, lambda wanted: self.names.get(self.of.get(id(wanted)))).show(value)

    def lines(self):
        """[(offset, opcode, [lines])] as trace_oracle has them."""
        out = []
        offset = self.data["offset"]
        for step in self.data["steps"]:
            name = self.data["opcodes"][str(step["o"])]["name"]
            if step.get("P"):
                self.stack, self.memo, self.hidden = [], {}, 0
            for v in step.get("v", []):
                self.define(v)
            self.finish()
            taken = step.get("t", 0)
            self.hidden -= max(0, taken - len(self.stack))
            del self.stack[max(0, len(self.stack) - taken) :]
            if "p" in step:
                self.stack.append(self.values[step["p"]])
            if "c" in step:
                number, kind, count, ids = step["c"]
                self.change(self.values[number], kind, count, ids)
            if "m" in step:
                number = self.of.get(id(self.stack[-1]))
                before = self.memo.get(step["m"])
                if before is not None and self.names.get(before) == step["m"]:
                    self.names[before] = None
                if self.names.get(number) is None:
                    self.names[number] = step["m"]
                self.memo[step["m"]] = number
            if name == "STOP":
                lines = [f"result {self.show(self.stack[-1])}"]
            else:
                entries = [self.show(value) for value in self.stack[-STACK_SHOWN:]]
                below = len(self.stack) + self.hidden - len(entries)
                lines = ["stack  " + (" │ ".join([f"… {below} below"] * (below > 0) + entries) or "empty")]
                if "m" in step:
                    lines.append(f"memo   memo[{step['m']}] = {self.show(self.stack[-1])}")
            out.append((offset, name, lines))
            offset += step["n"]
        return out


NODE = shutil.which("node")

DRIVER = """
const { script, datas } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const Trace = new Function(script + "; return Trace;")();
const linesOf = (trace) => trace.steps.map((step, i) => {
  const name = trace.data.opcodes[step.o].name;
  if (name === "STOP") return [trace.offsets[i], name, ["result " + trace.text(trace.stacks[i].id, i)]];
  const entries = trace.stack(i, SHOWN).map(({ id }) => trace.text(id, i)).reverse();
  const below = (trace.stacks[i]?.height ?? 0) + trace.hidden[i] - entries.length;
  if (below > 0) entries.unshift(`… ${below} below`);
  const lines = ["stack  " + (entries.join(" │ ") || "empty")];
  if (step.m !== undefined) {
    const [index, id] = trace.memoAt(i, 1)[0];
    lines.push(`memo   memo[${index}] = ${trace.text(id, i)}`);
  }
  return [trace.offsets[i], name, lines];
});
console.log(JSON.stringify(datas.map((data) => linesOf(new Trace(data)))));
"""


def by_script(pages):
    """The same of several pages, by their own script."""
    done = subprocess.run(
        [NODE, "-e", DRIVER.replace("SHOWN", str(STACK_SHOWN))],
        input=json.dumps({"script": pages[0].script, "datas": [page.data for page in pages]}).encode(),
        capture_output=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [[(offset, name, lines) for offset, name, lines in steps] for steps in json.loads(done.stdout)]


def oracle(data, **options):
    return trace_oracle.trace(data, limits=PAGE, **options)

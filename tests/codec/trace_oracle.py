"""What `achar trace` should print, by CPython's own unpickler in Python: after each opcode its stack
and memo are looked at. Imports and calls give stand-ins, so that nothing is executed; values are
shown by the rules of docs/trace.md."""

import _compat_pickle
import io
import pickle
import pickletools
import re

USUAL = {"items": 8, "text": 32, "depth": 4, "width": 72}
FULL = {"items": 100, "text": 1000, "depth": 20, "width": 10000}
PAGE = {"items": 16, "text": 64, "depth": 6, "width": 200}
STACK_SHOWN = 8


class Stand:
    """What only Python could make. What is done to it is remembered."""

    def __init__(self):
        self.changes = []

    def change(self, kind, values):
        if not values:
            return
        if not self.changes or self.changes[-1][0] != kind or kind == "state":
            self.changes.append((kind, []))
        self.changes[-1][1].extend(values)

    def append(self, value):
        self.change("list", [value])

    def extend(self, values):
        self.change("list", list(values))

    def add(self, value):
        self.change("set", [value])

    def __setitem__(self, key, value):
        self.change("dict", [(key, value)])

    def __setstate__(self, state):
        self.change("state", [state])

    def __call__(self, *arguments):
        return Call("call ", self, arguments)


class Import(Stand):
    def __init__(self, module, name):
        super().__init__()
        self.module, self.name = module, name
        self.__dict__["__new__"] = lambda _, *a, **k: Call("new ", self, a, k if self.with_keywords else None)
        self.with_keywords = False


class Call(Stand):
    def __init__(self, word, function, arguments, keywords=None):
        super().__init__()
        self.word, self.function, self.arguments, self.keywords = word, function, arguments, keywords
        self.__dict__["__new__"] = lambda _, *a, **k: Call("new ", self, a, k if self.with_keywords else None)
        self.with_keywords = False


class Named(Stand):
    """An extension code, a persistent id, a buffer."""

    def __init__(self, word, value):
        super().__init__()
        self.word, self.value = word, value
        self.with_keywords = False
        self.__dict__["__new__"] = lambda _, *a, **k: Call("new ", self, a, k if self.with_keywords else None)


class Pairs:
    """A dict that keeps keys set twice, and does not mind what they are."""

    def __init__(self):
        self.items = []

    def __setitem__(self, key, value):
        self.items.append((key, value))

    def keys(self):
        return [key for key, _ in self.items]

    def __getitem__(self, wanted):
        return next(value for key, value in reversed(self.items) if key == wanted)


class Ordered(set):
    """A set in the order in which it was filled, duplicates and all."""

    def __init__(self, items=()):
        super().__init__()
        self.items = list(items)

    def update(self, items):
        self.items.extend(items)


class Frozen(Ordered):
    pass


class Shower:
    """The rules for one value."""

    def __init__(self, limits, memo_of):
        self.limits, self.memo_of = limits, memo_of
        self.path, self.width = [], 0

    def text(self, piece):
        self.width += len(piece)
        return piece

    def atom(self, value):
        limit = self.limits["text"]
        rest = 0
        if isinstance(value, str):
            rest = len(value[limit:].encode("utf-8", "surrogatepass"))
        elif isinstance(value, (bytes, bytearray)):
            rest = max(0, len(value) - limit)
        elif type(value) is int and not -(1 << 255) <= value < 1 << 255:
            bits = (value if value >= 0 else ~value).bit_length()
            return self.text(f"<{'negative ' if value < 0 else ''}int of {bits} bits>")
        else:
            return self.text(repr(value))
        return self.text(repr(value[:limit]) + (f"…+{rest} bytes" if rest else ""))

    def deep(self):
        return len(self.path) > self.limits["depth"]

    def items(self, values, pairs=False):
        out, shown = "", 0
        for i, value in enumerate(values if not self.deep() else []):
            if i == self.limits["items"] or (i and self.width >= self.limits["width"]):
                break
            if i:
                out += self.text(", ")
            if pairs:
                out += self.show(value[0])
                out += self.text(": ")
                out += self.show(value[1])
            else:
                out += self.show(value)
            shown += 1
        if shown < len(values):
            out += self.text((", " if shown else "") + f"…+{len(values) - shown}")
        return out

    def between(self, before, values, after, pairs=False):
        return self.text(before) + self.items(values, pairs) + self.text(after)

    def name(self, name):
        limit = 2 * self.limits["text"]
        rest = len(name[limit:].encode())
        shown = repr(name[:limit]) + (f"…+{rest} bytes" if rest else "")
        if re.fullmatch(r"[\w.<>]+", name) or (
            name and all(c > "\x7f" or re.match(r"[\w.<>]", c, re.ASCII) for c in name)
        ):
            if shown == f"'{name}'":
                shown = name
        return self.text(shown)

    def call(self, value):
        if isinstance(value.function, Import):
            out = self.show(value.function)
        else:
            out = self.text("(") + self.show(value.function) + self.text(")")
        out += self.text("(") + self.items(value.arguments)
        if value.keywords is not None:
            keywords = value.keywords
            if isinstance(keywords, dict):
                keywords = Pairs()
                keywords.items = list(value.keywords.items())
            out += self.text("**" if not value.arguments else ", **") + self.show(keywords)
        return out + self.text(")")

    def changes(self, value):
        out, shown = "", 0
        for kind, values in [] if self.deep() else value.changes[: self.limits["items"]]:
            if kind == "state":
                out += self.between(" + state ", values, "")
            else:
                before, after = (" + [", "]") if kind == "list" else (" + {", "}")
                out += self.between(before, values, after, kind == "dict")
            shown += 1
        if shown < len(value.changes):
            out += self.text(f" + …+{len(value.changes) - shown}")
        return out

    def node(self, value):
        if isinstance(value, list):
            return self.between("[", value, "]")
        if isinstance(value, Pairs):
            return self.between("{", value.items, "}", True)
        if isinstance(value, Frozen):
            return self.between("frozenset({", value.items, "})") if value.items else self.text("frozenset()")
        if isinstance(value, Ordered):
            return self.between("{", value.items, "}") if value.items else self.text("set()")
        if isinstance(value, tuple):
            return self.between("(", value, ",)" if len(value) == 1 and not self.deep() else ")")
        if isinstance(value, Import):
            out = self.name(value.module) + self.text(".") + self.name(value.name)
        elif isinstance(value, Call):
            out = self.text(value.word)
            out += self.text("…") if self.deep() else self.call(value)
        elif isinstance(value, Named):
            out = self.text(value.word + " ")
            out += self.text("…") if self.deep() and value.word == "persistent" else self.show(value.value)
        else:
            raise AssertionError(type(value))
        return out + self.changes(value)

    def show(self, value):
        if value is MARK:
            return self.text("(")
        if not isinstance(value, (list, Pairs, Ordered, tuple, Stand)) or value == ():
            return self.atom(value)
        if any(value is other for other in self.path):
            index = self.memo_of(value)
            if index is not None:
                return self.text(f"memo[{index}]")
            kinds = [(list, "[...]"), (Frozen, "..."), ((Pairs, Ordered), "{...}"), (tuple, "(...)"), (object, "...")]
            return self.text(next(text for kind, text in kinds if isinstance(value, kind)))
        self.path.append(value)
        out = self.node(value)
        self.path.pop()
        return out


MARK = object()


class Machine(pickle._Unpickler):
    """Records, after each opcode, the lines that describe the state."""

    dispatch = {}

    def __init__(self, data, limits, full, **options):
        self.file = io.BytesIO(data)
        super().__init__(self.file, **options)
        self.steps = []
        self.limits, self.full = limits, full
        self.details = []
        self.first_index = {}  # of a value by identity: the memo's index for it

    def position(self):
        frame = self._unframer.current_frame
        ahead = 0 if frame is None else len(frame.getbuffer()) - frame.tell()
        return self.file.tell() - ahead

    def value(self, value):
        def memo_of(wanted):
            index = self.first_index.get(id(wanted))
            return index if index is not None and self.memo.get(index) is wanted else None

        return Shower(self.limits, memo_of).show(value)

    def whole_stack(self):
        levels = [*self.metastack, self.stack]
        out = []
        for level in levels[:-1]:
            out += [*level, MARK]
        return out + levels[-1]

    def find_class(self, module, name):
        if self.proto < 3:
            if (module, name) in _compat_pickle.NAME_MAPPING:
                module, name = _compat_pickle.NAME_MAPPING[module, name]
            elif module in _compat_pickle.IMPORT_MAPPING:
                module = _compat_pickle.IMPORT_MAPPING[module]
        return Import(module, name)

    def persistent_load(self, pid):
        return Named("persistent", pid)

    def get_extension(self, code):
        self.append(Named("extension", code))

    def note(self, put=None):
        stack = self.whole_stack()
        shown = stack if self.full else stack[-STACK_SHOWN:]
        entries = [self.value(value) for value in shown]
        if len(shown) < len(stack):
            entries.insert(0, f"… {len(stack) - len(shown)} below")
        lines = ["stack  " + (" │ ".join(entries) or "empty")]
        for index in sorted(self.memo) if self.full else [] if put is None else [put]:
            lines.append(f"memo   memo[{index}] = {self.value(self.memo[index])}")
        self.details.append(lines)


def recorded(code, load):
    def step(self):
        self.steps.append((self.position() - 1, pickletools.code2op[chr(code)].name))
        before = dict(self.memo) if code in b"pqr\x94" else None
        try:
            load(self)
        except pickle._Stop as stop:
            self.details.append([f"result {self.value(stop.value)}"])
            raise
        put = None
        if before is not None:
            top = self.stack[-1]
            put = next(
                index
                for index in self.memo
                if self.memo[index] is top and (index not in before or index == self.last_index(code, before))
            )
            for key, index in list(self.first_index.items()):
                if index == put and key != id(top):
                    del self.first_index[key]
            self.first_index.setdefault(id(top), put)
        self.note(put)

    return step


def _last_index(self, code, before):
    return len(before) if code == 0x94 else self.index


Machine.last_index = _last_index


def load_new_dict(self):
    self.append(Pairs())


def load_dict(self):
    items = self.pop_mark()
    pairs = Pairs()
    pairs.items = list(zip(items[::2], items[1::2], strict=True))
    self.append(pairs)


def load_frozenset(self):
    items = self.pop_mark()
    self.append(Frozen(items))


def load_newobj_ex(self):
    self.stack[-3].with_keywords = True
    pickle._Unpickler.load_newobj_ex(self)


def load_next_buffer(self):
    self.buffers_count = getattr(self, "buffers_count", -1) + 1
    self.append(Named("buffer", self.buffers_count))


def load_readonly_buffer(self):
    if self.stack[-1].word != "readonly":
        self.stack[-1] = Named("readonly", self.stack[-1])


def load_index(code, load):
    """PUT and its like say which index they use."""

    def step(self):
        memo = self.memo
        self.memo = Watched(self, memo)
        try:
            load(self)
        finally:
            self.memo = memo

    return step


class Watched(dict):
    def __init__(self, machine, memo):
        super().__init__(memo)
        self.machine, self.under = machine, memo

    def __setitem__(self, index, value):
        self.machine.index = index
        self.under[index] = value


OWN = {
    pickle.EMPTY_DICT: load_new_dict,
    pickle.DICT: load_dict,
    pickle.EMPTY_SET: lambda self: self.append(Ordered()),
    pickle.FROZENSET: load_frozenset,
    pickle.NEWOBJ_EX: load_newobj_ex,
    pickle.NEXT_BUFFER: load_next_buffer,
    pickle.READONLY_BUFFER: load_readonly_buffer,
}
for _code, _load in pickle._Unpickler.dispatch.items():
    _load = OWN.get(bytes([_code]), _load)
    if _code in b"pqr\x94":
        _load = load_index(_code, _load)
    Machine.dispatch[_code] = recorded(_code, _load)


def trace(data, full=False, limits=None, **options):
    """[(offset, opcode, [lines])] of a pickle that is in order."""
    machine = Machine(data, limits or (FULL if full else USUAL), full, **options)
    machine.load()
    return [(*step, lines) for step, lines in zip(machine.steps, machine.details, strict=True)]


def parse(text):
    """The same of what the command printed, but for the sentences."""
    steps = []
    for line in text.splitlines():
        head = re.match(r" *\d+ +(\d+)  (\w+)", line)
        if head and line[:20].strip():
            steps.append((int(head[1]), head[2], []))
        elif line.startswith(" " * 20):
            steps[-1][2].append(line[20:])
    return steps

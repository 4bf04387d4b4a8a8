"""Compiles a pickle into the program that floor.c runs.

A symbolic unpickler (pickletools reads the opcodes) builds one Node for each object that the pickle
creates; the nodes are then written as words, each object where it is first needed. Everything that
can be known beforehand is settled here: sizes of containers, which objects are referred to again
(they get a slot), what a BUILD does to its object. What floor.c leaves out, and why, stands there.
"""

import pickletools
import struct
import sys

MOST_ARGUMENTS = 16  # of a call; floor.c has an array of as many
MARK = object()


class Node:
    """An object to be made: 'kind' of kinds.def, 'value' (a constant) or 'items' (Nodes), and 'state'."""

    __slots__ = ("kind", "value", "items", "state", "uses", "slot")

    def __init__(self, kind, value=None, items=()):
        self.kind = kind
        self.value = value
        self.items = items
        self.state = None
        self.uses = 0
        self.slot = None


def text_node(text):
    if text == "" or (len(text) == 1 and text <= "\xff"):
        return Node("SHARED", text)
    return Node("ASCII" if text.isascii() else "UTF8", text.encode("utf-8", "surrogatepass"))


def bytes_node(value):
    return Node("SHARED" if len(value) < 2 else "BYTES", value)


def int_node(number):
    if -5 <= number <= 256:
        return Node("SHARED", number)
    if -(2**63) <= number < 2**63:
        return Node("INT", number)
    return Node("BIG", number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True))


def text_of(node):
    return node.value if isinstance(node.value, str) else node.value.decode("utf-8", "surrogatepass")


SIMPLE = {
    "NONE": lambda _: Node("SHARED", None),
    "NEWTRUE": lambda _: Node("SHARED", True),
    "NEWFALSE": lambda _: Node("SHARED", False),
    "BINFLOAT": lambda value: Node("FLOAT", value),
    "EMPTY_TUPLE": lambda _: Node("SHARED", ()),
    "EMPTY_LIST": lambda _: Node("LIST", items=[]),
    "EMPTY_DICT": lambda _: Node("DICT", items=[]),
    "EMPTY_SET": lambda _: Node("SET", items=[]),
    "BYTEARRAY8": lambda value: Node("BYTEARRAY", bytes(value)),
}
SIMPLE.update(dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4"), int_node))
SIMPLE.update(dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), text_node))
SIMPLE.update(dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), bytes_node))
TUPLE_SIZE = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_graph(data):
    """The root Node of the pickle 'data', which is of protocol 4 or 5."""
    stack, memo, buffer_count = [], [], 0
    constructors = {}  # class: the Node that finds its __new__

    def pop_to_mark():
        start = len(stack) - 1
        while stack[start] is not MARK:
            start -= 1
        items = stack[start + 1 :]
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in SIMPLE:
            stack.append(SIMPLE[name](argument))
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(MARK)
        elif name == "MEMOIZE":
            memo.append(stack[-1])
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "POP":  # the items of a tuple that holds itself: by then it is in the memo
            stack.pop()
        elif name in TUPLE_SIZE:
            size = TUPLE_SIZE[name]
            stack[-size:] = [Node("TUPLE", items=stack[-size:])]
        elif name in ("TUPLE", "FROZENSET"):
            items = pop_to_mark()
            stack.append(Node(name, items=items))
        elif name in ("APPENDS", "SETITEMS", "ADDITEMS"):
            items = pop_to_mark()
            stack[-1].items.extend(items)
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].items.append(item)
        elif name == "SETITEM":
            pair = stack[-2:]
            del stack[-2:]
            stack[-1].items.extend(pair)
        elif name == "STACK_GLOBAL":
            module, qualified = map(text_of, stack[-2:])
            stack[-2:] = [Node("FOUND", (module, *qualified.split(".")))]
        elif name == "NEWOBJ":
            new_class, arguments = stack[-2:]
            stack[-2:] = [new_object(new_class, arguments, constructors)]
        elif name == "REDUCE":
            function, arguments = stack[-2:]
            stack[-2:] = [Node("CALL", items=[function, *arguments.items])]
        elif name == "BUILD":
            state = stack.pop()
            assert stack[-1].state is None
            stack[-1].state = state
        elif name == "NEXT_BUFFER":
            stack.append(Node("BUFFER", buffer_count))
            buffer_count += 1
        elif name == "STOP":
            return stack.pop()
        else:
            raise NotImplementedError(f"the floor does not know {name}")


def found(path):
    """What a FOUND node finds."""
    value = sys.modules[path[0]]
    for name in path[1:]:
        value = getattr(value, name)
    return value


def new_object(class_node, arguments, constructors):
    assert class_node.kind == "FOUND"
    if found(class_node.value).__new__ is object.__new__ and not arguments.items:
        return Node("INSTANCE", items=[class_node])
    path = (*class_node.value, "__new__")
    constructor = constructors.setdefault(path, Node("FOUND", path))
    return Node("CALL", items=[constructor, class_node, *arguments.items])


def class_of(node):
    """The class of the object that a BUILD is for."""
    for item in node.items[:2]:  # the class itself; or its __new__, then the class
        if item.kind == "FOUND" and isinstance(found(item.value), type):
            return found(item.value)
    raise NotImplementedError("the floor does not know whose state that is")


def attributes_of(state):
    """[name, value, name, value…]: what a BUILD with 'state' sets where there is no __setstate__."""
    parts = [state]
    if state.kind == "TUPLE" and len(state.items) == 2:  # __dict__, slots
        parts = [part for part in state.items if part.kind == "DICT"]
    assert all(part.kind == "DICT" for part in parts)
    return [node for part in parts for node in part.items]


def settle_states(root):
    """Turns every state that only sets attributes into the object's list of them, and counts all uses."""
    pending = [root]
    while pending:
        node = pending.pop()
        node.uses += 1
        if node.uses > 1:
            continue
        pending.extend(node.items)
        if node.state is None:
            continue
        if hasattr(class_of(node), "__setstate__"):
            pending.append(node.state)
        else:
            node.state = attributes_of(node.state)
            for name in node.state[::2]:
                if name.kind != "SHARED":
                    name.kind = "NAME"
            pending.extend(node.state)


class Program:
    """The words of a program, as they are written, with its constants and slots."""

    def __init__(self, floor):
        self.floor = floor
        self.words = bytearray()
        self.constants = {}  # (type, object): index; equal ones of different types are two
        self.constant((), tuple)  # the first is what object.__new__ wants
        self.slot_count = 1  # slot 0 means none

    def emit(self, kind, slot=0, count=0, payload=b""):
        assert slot < 1 << 24 and count < 1 << 32
        self.words += struct.pack("<Q", getattr(self.floor, kind) | slot << 8 | count << 32)
        self.words += payload
        self.words += bytes(-len(payload) % 8)

    def constant(self, value, kind):
        return self.constants.setdefault((kind, value), len(self.constants))

    def slot_for(self, node):
        if node.uses == 1 or node.kind in ("SHARED", "INT", "BIG", "FLOAT"):
            return 0
        node.slot = self.slot_count
        self.slot_count += 1
        return node.slot

    def write(self, node):
        if node.slot is not None:
            return self.emit("AGAIN", count=node.slot)
        kind, value, items = node.kind, node.value, node.items
        slot = self.slot_for(node)
        if isinstance(node.state, list):
            self.emit("ATTRIBUTES", count=len(node.state) // 2)
        elif node.state is not None:
            self.emit("STATE")

        if kind == "INT":
            self.emit(kind, payload=struct.pack("<q", value))
        elif kind == "FLOAT":
            self.emit(kind, payload=struct.pack("<d", value))
        elif kind == "FOUND":
            self.emit(kind, slot, self.constant(tuple(map(sys.intern, value)), kind))
        elif kind == "SHARED":
            self.emit(kind, slot, self.constant(value, type(value)))
        elif kind == "BUFFER":
            self.emit(kind, slot, value)
        elif kind == "UTF8":
            text = text_of(node)
            self.emit(kind, slot, len(value), struct.pack("<II", len(text), ord(max(text))) + value)
        elif isinstance(value, bytes):
            self.emit(kind, slot, len(value), value)
        elif kind == "CALL":
            assert len(items) <= 1 + MOST_ARGUMENTS
            self.emit(kind, slot, len(items) - 1)
        elif kind == "DICT":
            self.emit(kind, slot, len(items) // 2)
        else:
            self.emit(kind, slot, len(items))

        for item in items:
            self.write(item)
        if isinstance(node.state, list):
            for item in node.state:
                self.write(item)
        elif node.state is not None:
            self.write(node.state)


def describe(data, floor):
    """The Graph of the pickle 'data', for 'floor', the extension module."""
    root = read_graph(data)
    settle_states(root)
    program = Program(floor)
    program.write(root)
    constants = tuple(value for _, value in program.constants)
    return floor.Graph(bytes(program.words), constants, program.slot_count)

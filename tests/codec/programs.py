"""Random pickles written opcode by opcode, as no pickler would: values duplicated, popped, fetched
again, filled late, and calls anywhere in between, whose results may be thrown away."""

import random

import shapes

NAME = shapes.__name__.encode()


class Program:
    def __init__(self, seed, protocol=5, size=40):
        self.random = random.Random(seed)
        self.protocol = protocol
        self.out = bytearray(bytes([0x80, protocol]) if protocol >= 2 else b"")
        self.stack = []  # kinds
        self.memo = []  # kinds
        for _ in range(size):
            self.step()
        self.finish()

    def put(self):
        """Memoizes the top."""
        if len(self.memo) < 200:
            self.out += b"q" + bytes([len(self.memo)])
            self.memo.append(self.stack[-1])

    def push(self, code, kind):
        self.out += code
        self.stack.append(kind)
        if kind not in ("atom",) and self.random.random() < 0.6:
            self.put()

    def atom(self):
        self.push(
            self.random.choice([b"N", b"K\x01", b"I01\n", b"X\x03\0\0\0abc", b"U\x02hi", b"G?\xf0\0\0\0\0\0\0"]), "atom"
        )

    def fetch(self, kinds=None):
        fitting = [i for i, kind in enumerate(self.memo) if kinds is None or kind in kinds]
        if not fitting:
            return False
        index = self.random.choice(fitting)
        self.out += b"h" + bytes([index])
        self.stack.append(self.memo[index])
        return True

    def some(self, count, keys=False):
        """Pushes 'count' values; keys are hashable."""
        for i in range(count):
            if keys and i % 2 == 0:
                self.out += b"K" + bytes([self.random.randrange(10)])
                self.stack.append("atom")
            elif self.random.random() < 0.5 and self.fetch():
                pass
            elif self.random.random() < 0.3:
                self.container()
            elif self.random.random() < 0.3:
                self.call()
            else:
                self.atom()

    def drop(self, count):
        del self.stack[len(self.stack) - count :]

    def container(self):
        kinds = ["list", "dict", "tuple", "filled"] + (["set", "frozenset"] if self.protocol >= 4 else [])
        kind = self.random.choice(kinds)
        if kind == "list":
            self.push(b"]", "list")
        elif kind == "dict":
            self.push(b"}", "dict")
        elif kind == "set":
            self.push(b"\x8f", "set")
        elif kind == "frozenset":
            self.out += b"(K\x01K\x02\x91"
            self.stack.append("frozen")
        elif kind == "filled":
            count = self.random.randrange(4)
            self.out += b"("
            self.some(count)
            self.drop(count)
            self.push(b"l", "list")
        else:
            count = self.random.randrange(5)
            self.out += b"("
            self.some(count)
            self.drop(count)
            self.push(b"t", "tuple")

    def call(self):
        if not self.fetch({"note"}):
            self.push(b"c" + NAME + b"\nnote\n", "note")
        self.out += b"("
        count = self.random.randrange(3)
        self.some(count)
        self.drop(count)
        self.out += b"t"
        self.drop(1)
        self.push(b"R", "made")

    def change(self):
        """Changes what is on top: natively, or through a method of what note() made."""
        kind = self.stack[-1]
        count = self.random.randrange(1, 3)
        if kind in ("list", "made") and self.random.random() < 0.7:
            if count == 1:
                self.some(1)
                self.out += b"a"
            else:
                self.out += b"("
                self.some(count)
                self.out += b"e"
            self.drop(count)
        elif kind in ("dict", "made"):
            if kind == "made" and self.random.random() < 0.5:
                self.some(1)
                self.out += b"b"
                self.drop(1)
                return
            if count == 1:
                self.some(2, keys=True)
                self.out += b"s"
            else:
                self.out += b"("
                self.some(2 * count, keys=True)
                self.out += b"u"
            self.drop(2 * count)
        elif kind == "set":
            self.out += b"(K" + bytes([self.random.randrange(20)]) + b"\x90"

    def step(self):
        choice = self.random.random()
        if choice < 0.15:
            self.atom()
        elif choice < 0.35:
            self.container()
        elif choice < 0.5:
            self.call()
        elif choice < 0.7 and self.fetch():
            pass
        elif choice < 0.9 and self.stack:
            self.change()
        elif choice < 0.94 and self.stack:
            self.out += b"0"
            self.drop(1)
        elif choice < 0.97 and self.stack:
            self.out += b"2"
            self.stack.append(self.stack[-1])

    def finish(self):
        """What is left becomes one tuple, sometimes; else the top alone."""
        if not self.stack or self.random.random() < 0.5:
            prefix = 2 if self.protocol >= 2 else 0
            self.out[prefix:prefix] = b"("
            self.out += b"t"
        self.out += b"."


def program(seed, protocol=5, size=40):
    return bytes(Program(seed, protocol, size).out)

"""How many bytes code by value takes, with and without portable=True: the figures of docs/streams.md.

python bench/stream_sizes.py
"""

import functools

import achar


class First:
    def method(self):
        return 1


class Second:
    def method(self):
        return 1


KINDS = {
    "a lambda": lambda x: x + 1,
    "two lambdas": [lambda x: x + 1, lambda x: x + 2],
    "a class with one method": First,
    "two classes with one method each": [First, Second],
    "an instance of such a class": First(),
    "a partial of a lambda": functools.partial(lambda x, y: x + y, 1),
}

print(f"{'':34}{'plain':>9}{'portable':>10}{'deterministic':>15}")
for name, obj in KINDS.items():
    sizes = [len(achar.dumps(obj, **options)) for options in ({}, {"portable": True}, {"deterministic": True})]
    print(f"{name:34}{sizes[0]:9,}{sizes[1]:10,}{sizes[2]:15,}")

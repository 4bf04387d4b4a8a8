"""What the loader says a str hashes to: the same as a str of that text that it never saw.

The loader remembers hashes of short texts by their content (src/python/loader/hashes.h). Each check runs
in an interpreter of its own, because str hashes depend on PYTHONHASHSEED, which is read at the start.
"""

import os
import subprocess
import sys

PROGRAM = r"""
import itertools, pickle, random, sys
import achar, achar.pickle

def texts():
    # Every length around the table's limits (2 and 32) and the words that it compares (3/4, 7/8, 16/17).
    for nbytes in range(0, 40):
        base = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"[:nbytes]
        yield base
        for at in range(nbytes):  # equal but for one character, each in turn
            yield base[:at] + "~" + base[at + 1:]
    yield from ("aa", "aaa", "aaaa", "a" * 8, "a" * 16, "a" * 31, "a" * 32, "a" * 33)
    yield from ("".join(letters) for letters in itertools.product("ab\0", repeat=5))  # NULs are text, too
    # 2,000 keys for 256 places: nearly every one of them pushes another out of its place.
    yield from (f"key number {i}" for i in range(2000))
    for wide in ("\x7f", "\x80", "\xe9", "\u0101", "\u20ac", "\U0001f600"):  # one, two, four bytes each
        for nbytes in (0, 1, 2, 3, 7, 15, 16, 31, 32):
            yield "k" * nbytes + wide
            yield wide + "k" * nbytes

def anew(text):
    '''An equal str that no pickle and no table of names was asked for, so its hash is worked out now.'''
    return text.encode("utf-32-le", "surrogatepass").decode("utf-32-le", "surrogatepass")

everything = list(dict.fromkeys(texts()))
random.Random(1).shuffle(everything)

def check(loaded):
    assert len(loaded) == len(everything)
    for wanted, got in zip(everything, loaded):
        fresh = anew(wanted)
        assert fresh is not wanted or len(wanted) < 2
        assert got == fresh and hash(got) == hash(fresh), (wanted, hash(got), hash(fresh))

for protocol in (0, 2, 5):
    for loads in (achar.loads, achar.pickle.loads):
        check(list(loads(pickle.dumps(dict.fromkeys(everything, 1), protocol))))
    # Small dicts are those that the table serves; the second time, it has seen the last of the keys.
    for size in (1, 5, 60):
        for _ in range(2):
            got = []
            for start in range(0, len(everything), size):
                part = dict.fromkeys(everything[start:start + size], 1)
                found = achar.loads(pickle.dumps(part, protocol))
                assert all(found[anew(text)] == 1 for text in part)
                got += found
            check(got)

def pairs():
    '''Texts that differ in one of the parts that the table compares. It has 256 places, so that of the pairs
    of each kind some fall into the same one, the second right behind the first.'''
    letters = [chr(code) for code in range(32, 127)]
    for letter in letters:  # in nothing but the length
        yield from itertools.combinations([letter * nbytes for nbytes in range(2, 33)], 2)
    number = random.Random(2)
    for nbytes in (2, 4, 8, 16, 17, 24, 32):  # in up to eight neighbours
        base = "".join(number.choices(letters, k=nbytes))
        for start in range(0, nbytes, 8):
            width = min(8, nbytes - start)
            for _ in range(1000):
                yield base, base[:start] + "".join(number.choices(letters, k=width)) + base[start + width:]

for pair in pairs():
    for text, got in zip(dict.fromkeys(pair), achar.loads(pickle.dumps(dict.fromkeys(pair)))):
        assert hash(got) == hash(anew(text)), pair

print(len(everything), hash("achar"))
"""


def run(seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def test_hashes_are_those_of_fresh_texts():
    outcomes = [run(seed) for seed in ("0", "random", "4294967295")]
    assert all(count > 2000 for count, _ in outcomes)
    assert len({witness for _, witness in outcomes}) > 1  # else it was about one and the same seed

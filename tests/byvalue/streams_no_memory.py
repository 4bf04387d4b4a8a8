"""What test_deterministic.py runs in a process of its own: each allocation of a dump fails in turn."""

import _testcapi

import achar


class Node:
    def __init__(self):
        self.near = set()


class Tags(set):
    pass


def function(x):
    return x in {"a", "b"} and Node


nodes = [Node() for _ in range(3)]
for node in nodes:
    node.near |= {*nodes[:2], node}
for obj in (function, nodes[:2], Tags("abc"), {(1, "a"), frozenset("xy")}, [("a", ("b", 1j))] * 2):
    for options in ({"deterministic": True}, {"deterministic": True, "portable": True}):
        expected = achar.dumps(obj, **options)
        failed = survived = 0
        while survived < 10:
            try:
                _testcapi.set_nomemory(failed + survived, failed + survived + 1)
                try:
                    data = achar.dumps(obj, **options)
                finally:
                    _testcapi.remove_mem_hooks()
                assert data == expected
                survived += 1
            except MemoryError:
                failed, survived = failed + survived + 1, 0
        assert failed > 5
print("done")

"""What test_no_memory.py runs, in a process of its own: the N-th allocation fails, for every N.

Twice: only the N-th, and three hundred from the N-th on. Each time the outcome has to be MemoryError or the
right one. Over whole sweeps of N nothing may be left behind: neither pymalloc's blocks, nor malloc's
bytes, nor references to the classes and containers that take part. (Not by tracemalloc: when memory
fails it takes its own lock twice.)

    python no_memory.py dumps|loads|callbacks achar|achar.pickle
"""

import _testcapi
import ctypes
import functools
import gc
import importlib
import io
import pickle
import sys
from pathlib import Path

import no_memory_cases

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "codec"))

import cases  # noqa: E402
import equality  # noqa: E402

SWEEPS = 60
# Not all for ever: up to 3.11 the interpreter's loop may want an int before it handles an exception, again and again.
FAILING_COUNT = 300
ENOUGH = 20
IN_ALL_PROTOCOLS = {"request", "dataclasses", "slotted dataclasses", "ints", "non-ASCII strings", "set"}
NOISE = 2  # blocks that counting itself takes


def attempt(function, start, stop, set_nomemory=_testcapi.set_nomemory, remove=_testcapi.remove_mem_hooks):
    """The result while the allocations in (start, stop] fail; MemoryError if so it ends."""
    try:
        set_nomemory(start, stop)
        try:
            return function()
        finally:
            remove()
    except MemoryError:
        return MemoryError


def sweep(function, is_right):
    """Lets every allocation fail in turn; how many there are. RuntimeError if something else comes out."""
    ends = []
    for how_many in (1, FAILING_COUNT):
        start = good = 0
        while good < ENOUGH:  # a failure may be survived, one by one
            result = attempt(function, start, start + how_many)
            if result is MemoryError:
                good = 0
            elif is_right(result):
                good += 1
            else:
                raise RuntimeError(f"{how_many} allocations from {start} on failed: {result!r:.200}")
            start += 1
        ends.append(start - good)
    return max(ends)


class MallocInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc's
if mallinfo:
    mallinfo.restype = MallocInfo


def counts(watched, references):
    """(blocks of pymalloc, bytes of malloc); references to each of 'watched' go into 'references'."""
    gc.collect()
    references[:] = [sys.getrefcount(one) for one in watched]
    info = mallinfo() if mallinfo else MallocInfo()
    return sys.getallocatedblocks(), info.uordblks + info.hblkhd


def leaks(function, is_right, watched):
    """(allocations, "" or what every one of many sweeps has left behind)

    One sweep that leaves nothing is enough: caches fill up at some time, a leak shows each time."""
    references, references_after = list(range(1000, 1000 + len(watched))), list(range(1000, 1000 + len(watched)))
    for _ in range(SWEEPS):
        blocks, nbytes = counts(watched, references)
        allocations = sweep(function, is_right)
        blocks_after, nbytes_after = counts(watched, references_after)
        moved = [(one, b - a) for one, a, b in zip(watched, references, references_after, strict=True) if a != b]
        if blocks_after <= blocks + NOISE and nbytes_after <= nbytes and not moved:
            return allocations, ""
    return allocations, (
        f"each sweep of {allocations} allocations leaves {blocks_after - blocks} blocks,"
        f" {nbytes_after - nbytes} bytes, and references {moved!r:.500}"
    )


def check(name, function, is_right, watched, reference=None):
    """RuntimeError if 'function' leaks, unless 'reference', the interpreter's own way, leaks too."""
    print(f"{name}: ", end="", flush=True)
    function()
    allocations, lost = leaks(function, is_right, watched)
    if lost and not (reference and leaks(reference, lambda result: True, watched)[1]):
        raise RuntimeError(lost)
    print(f"{allocations} allocations{', some lost as by _pickle' if lost else ''}", flush=True)


def parts_of(obj):
    """All objects that a graph is made of which can be reached without asking, and their types."""
    found, todo = {}, [obj]
    while todo:
        one = todo.pop()
        if id(one) in found or len(found) > 2000:
            continue
        found[id(one)] = one
        if isinstance(one, dict):
            todo += one
            todo += one.values()
        elif isinstance(one, (list, tuple, set, frozenset)):
            todo += one
        elif hasattr(one, "__dict__") and not isinstance(one, type):
            todo.append(one.__dict__)
        todo.append(type(one))
    empty = ()
    # Small numbers and the like belong to everybody.
    return [one for one in found.values() if not isinstance(one, (int, float, str, bytes)) and one is not empty]


def same_as(expected):
    return lambda result: not equality.difference(expected, result, sharing=False)


def same_bytes(expected):
    return lambda result: result == expected


def suite():
    """(name, object, protocol): each case with the newest one, some with all."""
    for case in cases.CASES:
        # numpy leaks, and returns results with an exception set, when its own allocations fail.
        if "array" in case.name:
            continue
        obj = case.build(True)
        yield case.name, obj, 5
        if case.name in IN_ALL_PROTOCOLS:
            # Below protocol 2 objects are made by functions of copyreg, whose opcode cache 3.10 frees twice.
            plain = "slotted" in case.name or ("dataclasses" in case.name and sys.version_info < (3, 11))
            for protocol in range(2 if plain else 0, 5):
                yield f"{case.name}, protocol {protocol}", obj, protocol


def check_dumps(module):
    for name, obj, protocol in suite():
        dumps = functools.partial(module.dumps, obj, protocol)
        check(name, dumps, same_bytes(pickle.dumps(obj, protocol)), parts_of(obj))


def check_loads(module):
    for name, obj, protocol in suite():
        data = pickle.dumps(obj, protocol)
        types = [type(one) for one in parts_of(obj)]
        loads, reference = functools.partial(module.loads, data), functools.partial(pickle.loads, data)
        check(name, loads, same_as(reference()), types, reference)


def check_callbacks(module):
    references = no_memory_cases.make(pickle)
    for name, (make, watched) in no_memory_cases.make(module).items():
        function = make()
        check(name, function, same_as(function()), watched, references[name][0]())


if __name__ == "__main__":
    what, module = sys.argv[1], importlib.import_module(sys.argv[2])
    # Everything that is imported at first use is there.
    module.loads(module.dumps([io.BytesIO, print]))
    {"dumps": check_dumps, "loads": check_loads, "callbacks": check_callbacks}[what](module)
    print("done")

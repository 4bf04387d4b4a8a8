"""Whether two object graphs are the same: types, values, and which objects are shared."""

import collections

ATOMS = (type(None), bool, int, float, complex)


def parts(value):
    """The objects that 'value' holds, in an order that equal values share; None: it holds none."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    if type(value).__module__ in ("datetime", "numpy"):
        return None
    attributes = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        names = [name for name in cls.__dict__.get("__slots__", ()) if hasattr(value, name)]
        attributes.update((name, getattr(value, name)) for name in names)
    return [part for pair in sorted(attributes.items()) for part in pair] or None


def equal(a, b):
    if isinstance(a, (set, frozenset)):
        return a == b and collections.Counter(map(type, a)) == collections.Counter(map(type, b))
    if type(a).__module__ == "numpy":
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return a == b or (a != a and b != b)
    return a == b


def difference(expected, actual, sharing=False):
    """
    None if 'actual' is what 'expected' is, else a sentence about the first place where it is not.

    With 'sharing', what is one object there has to be one object here, and a mutable object that is
    here twice has to be so there.
    """
    twins = {}  # id(expected): actual, and id(actual): expected for what may be changed
    alive = []  # ids stay unique while their objects live
    pending = [(expected, actual)]
    while pending:
        a, b = pending.pop()
        if type(a) is not type(b):
            return f"{type(a).__name__} came back as {type(b).__name__}"
        if isinstance(a, ATOMS):
            if not equal(a, b):
                return f"{a!r:.60} came back as {b!r:.60}"
            continue
        if id(a) in twins:
            if sharing and twins[id(a)] is not b:
                return f"a shared {type(a).__name__} came back as two"
            if twins[id(a)] is b:
                continue
        held = parts(a)
        if sharing and held is not None and not isinstance(a, tuple):
            if twins.setdefault(("back", id(b)), a) is not a:
                return f"two of {type(a).__name__} came back as one"
        twins[id(a)] = b
        alive.append((a, b))
        if held is None:
            if not equal(a, b):
                return f"{a!r:.60} came back as {b!r:.60}"
            continue
        held_back = parts(b)
        if len(held) != len(held_back):
            return f"{type(a).__name__} of {len(held)} parts came back with {len(held_back)}"
        pending.extend(zip(held, held_back, strict=True))
    return None

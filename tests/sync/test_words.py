"""Wrong arguments and wrong states: the same exceptions as threading's, in the same words, for many calls of each."""

import threading
import warnings

import achar
import pytest

METHODS = {
    "Lock": ["acquire", "release"],
    "RLock": ["acquire", "release"],
    "Condition": ["acquire", "release", "wait", "wait_for", "notify", "notify_all", "notifyAll"],
    "Event": ["is_set", "isSet", "set", "clear", "wait"],
    "Semaphore": ["acquire", "release"],
    "BoundedSemaphore": ["acquire", "release"],
    "Barrier": ["wait", "abort", "reset"],
}
MADE_WITH = {"Semaphore": (2,), "BoundedSemaphore": (2,), "Barrier": (1,)}
POSITIONAL = [
    (), (1, 2), (1, 2, 3), (1, 2, 3, 4), ("x",), (None,), (0,), (-1,), (-2,), (0, 1), (0, None), (True, -1), (True, -2),
    (True, "x"), (True, None), (False, -1), (1.5,), (True, 1e300), (True, float("nan")), (bool, "x"), (bool, -1), (3,),
    ([],), (True, float("inf")), (len,), (object,),
]  # fmt: skip
KEYWORDS = [
    {"x": 1}, {"timeout": "x"}, {"blocking": 0, "timeout": 1}, {"n": 0}, {"n": "x"}, {"n": -1}, {"predicate": object},
    {"predicate": len}, {"timeout": -1}, {"timeout": -2}, {"value": -1}, {"blocking": []},
]  # fmt: skip


def outcome(function, args, kwargs):
    try:
        function(*args, **kwargs)
    except BaseException as error:
        return type(error).__name__, str(error)
    return None


def would_wait(name, args, kwargs):
    """Where threading's object, which is as new, would wait, or achar's."""
    limit = kwargs.get("timeout", args[0] if args else None)
    if name == "wait":
        return (
            len(args) < 2
            and "x" not in kwargs
            and (limit is None or (isinstance(limit, float) and limit > 0) or limit == 3)
        )
    return name == "acquire" and args[:1] == (1,)


@pytest.mark.parametrize(
    ("class_name", "held"), [(name, False) for name in METHODS] + [("Lock", True), ("RLock", True), ("Condition", True)]
)
def test_the_same_words(class_name, held):
    compared, differences = 0, []
    made_with = MADE_WITH.get(class_name, ())
    for name in [None, *METHODS[class_name]]:
        for args in POSITIONAL:
            for kwargs in [{}, *KEYWORDS] if len(args) < 2 else [{}]:
                if name == "release" and class_name.endswith("ock") and (args or kwargs):
                    continue  # "lock.release() takes no ...", with a capital letter here
                if class_name == "Condition" and (name == "release" and (args or kwargs)):
                    continue  # the lock's words there
                if would_wait(name, args, kwargs) or (held and class_name == "Lock" and name == "acquire"):
                    continue
                results = []
                for module in threading, achar:
                    class_ = getattr(module, class_name)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", DeprecationWarning)
                        if name is None:
                            results.append(outcome(class_, args, kwargs))
                        else:
                            made = class_(*made_with)
                            if held:
                                made.acquire()
                            results.append(outcome(getattr(made, name), args, kwargs))
                theirs, ours = results
                compared += 1
                if name is None and class_name == "Condition" and theirs and theirs[0] == "AttributeError":
                    assert ours[0] == "TypeError" and "achar.Lock or achar.RLock" in ours[1]
                elif theirs is None:  # threading does not look at it; this may
                    if ours:
                        assert ours[0] in ("TypeError", "ValueError", "OverflowError"), ours
                elif theirs != ours:
                    differences.append((name, args, kwargs, theirs, ours))
    assert not differences
    assert compared > 50


def test_where_threading_has_no_objection_there_is_one_of_our_own():
    for call in [
        lambda: achar.Barrier("x"),
        lambda: achar.Barrier(1).wait("x"),
        lambda: achar.Semaphore(1.5),
        lambda: achar.Semaphore(1).acquire(timeout="x"),
    ]:
        with pytest.raises(TypeError):
            call()

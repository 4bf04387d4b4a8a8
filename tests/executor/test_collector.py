"""The garbage collector leaves futures alone that refer to nothing, and finds those that do."""

import gc
import weakref

import achar
import pytest


class Anchor:
    """By this a cycle is seen to be gone."""


@pytest.fixture(scope="module")
def ex():
    with achar.Executor(1) as executor:
        yield executor


def test_a_future_that_refers_to_nothing_is_not_looked_at(ex):
    futures = [ex.submit(int) for _ in range(3)]
    assert not any(gc.is_tracked(future) for future in futures)
    assert [future.result() for future in futures] == [0, 0, 0]
    assert not any(gc.is_tracked(future) for future in futures)


def by_attribute(future, anchor):
    future.anchor = anchor


def by_dict(future, anchor):
    vars(future)["anchor"] = anchor


def by_new_dict(future, anchor):
    future.__dict__ = {"anchor": anchor}


def by_the_setter(future, anchor):
    vars(achar.Future)["__dict__"].__set__(future, {"anchor": anchor})


def by_callback(future, anchor):
    future._done_callbacks.append(anchor)


def by_waiter(future, anchor):
    future._waiters.append(anchor)


def by_condition(future, anchor):
    future._condition.anchor = anchor


def by_result(future, anchor):
    future.result().append(anchor)


def by_exception(future, anchor):
    future.exception().anchor = anchor


@pytest.mark.parametrize(
    ("refer", "function", "is_read_first"),
    [
        (by_attribute, int, False),
        (by_attribute, int, True),
        (by_dict, int, False),
        (by_dict, int, True),
        (by_new_dict, int, False),
        (by_the_setter, int, False),
        (by_callback, int, True),
        (by_waiter, int, True),
        (by_condition, int, True),
        (by_result, list, False),
        (by_exception, int.bit_count, False),
    ],
)
def test_a_cycle_through_a_future_is_collected(ex, refer, function, is_read_first):
    future, anchor = ex.submit(function), Anchor()
    anchor.future = future
    if is_read_first:
        future.result()
    refer(future, anchor)
    future.exception()
    alive = weakref.ref(anchor)
    del future, anchor
    gc.collect()
    assert alive() is None


def test_a_cycle_through_a_name_is_collected(ex):
    class Name(str):
        pass

    name, anchor = Name("name"), Anchor()
    name.anchor = anchor
    anchor.future = ex.options(name=name).submit(int)
    assert anchor.future.result() == 0
    alive = weakref.ref(anchor)
    del name, anchor
    gc.collect()
    assert alive() is None

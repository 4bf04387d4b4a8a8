"""A result that has a buffer of its task's arguments, as it came, refers to it; nobody can tell but by the time."""

import gc
import os
import time

import achar
import pytest

np = pytest.importorskip("numpy")
MIB = 1 << 20


@pytest.fixture
def ex():
    with achar.Executor(1) as executor:
        yield executor


def same(x):
    return x


def is_in(array, region):
    address = array.__array_interface__["data"][0]
    with open("/proc/self/maps") as file:
        for line in file:
            start, _, end = line.split()[0].partition("-")
            if int(start, 16) <= address < int(end, 16):
                return region in line
    return False


def is_kept(array):
    """It was not copied into the worker's memory."""
    return is_in(array, "achar-client")


def numbers(nbytes=MIB):
    return np.arange(nbytes // 8)


def test_what_comes_back_as_it_was_is_not_copied(ex):
    array = numbers()
    result = ex.submit(same, array).result()
    assert is_kept(result) and np.array_equal(result, array)
    assert result.flags.writeable
    result[0] = 9
    assert array[0] == 0


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda x: x[: len(x) * 3 // 4], True),
        (lambda x: x.reshape(2, -1), True),
        (lambda x: x.reshape(2, -1).T, True),
        (lambda x: {"a": x, "b": x.sum()}, True),
        (lambda x: x[: len(x) // 3], False),  # it would keep thrice as much
        (lambda x: x[1:], False),  # in the middle of a page
        (lambda x: x + 1, False),
        (lambda x: x.copy(), False),
    ],
)
def test_parts_of_it(ex, change, kept):
    array = numbers(4 * MIB)
    result = ex.submit(change, array).result()
    expected = change(array)
    if isinstance(result, dict):
        assert result["b"] == expected["b"]
        result, expected = result["a"], expected["a"]
    assert np.array_equal(result, expected) and result.flags.writeable
    assert is_kept(result) == kept


@pytest.mark.parametrize("place", [0, 512 * 64, -1])
def test_what_the_task_has_written_is_copied(ex, place):
    def write(x):
        x[place] = -5
        return x

    array = numbers()
    for _ in range(3):
        result = ex.submit(write, array).result()
        assert result[place] == -5 and not is_kept(result)
        assert result.sum() == array.sum() - array[place] - 5


def test_some_are_kept_and_some_are_not(ex):
    def mix(x, y):
        y[1] = 7
        return [x, y, x + y, b"small"]

    x, y = numbers(4 * MIB), numbers(4 * MIB)[::-1].copy()
    back = ex.submit(mix, x, y).result()
    y[1] = 7
    assert [is_kept(part) for part in back[:3]] == [True, False, False]
    assert all(np.array_equal(a, b) for a, b in zip(back, [x, y, x + y])) and back[3] == b"small"


def test_the_same_twice(ex):
    array = numbers()
    one, two, other = ex.submit(lambda x: (x, x, x[:]), array).result()
    assert one is two and np.array_equal(other, array)
    one[0] = 5
    assert other[0] == 0


def test_who_has_it_cannot_change_the_others(ex):
    array = numbers()

    def remember(x):
        import builtins

        builtins.remembered = x
        return x

    def overwrite():
        import builtins

        builtins.remembered[:] = 1
        return builtins.remembered.sum()

    result = ex.submit(remember, array).result()
    assert is_kept(result)
    assert ex.submit(overwrite).result() == len(array)  # the worker's own
    assert np.array_equal(result, array)
    result[:] = 2  # the client's own
    assert ex.submit(lambda: int(__import__("builtins").remembered[5])).result() == 1


def test_as_an_input(ex):
    array = numbers()
    first = ex.submit(same, array)
    chain = first
    for _ in range(5):
        chain = ex.submit(same, chain)
    sums = [ex.submit(np.sum, first) for _ in range(10)]
    changed = ex.submit(lambda x: x.fill(3) or int(x.sum()), first)
    del first
    gc.collect()
    assert np.array_equal(chain.result(), array)
    assert changed.result() == 3 * len(array)
    assert [future.result() for future in sums] == [array.sum()] * 10


def test_an_input_that_is_remembered(ex):
    def remember(x):
        import builtins

        builtins.remembered = x

    array = numbers()
    first = ex.submit(same, array)
    ex.submit(remember, first).result()
    del first
    gc.collect()
    for n in range(8):  # what is free is used again
        ex.submit(same, np.full(MIB // 8, n)).result()
    assert ex.submit(lambda: int(__import__("builtins").remembered.sum())).result() == array.sum()


def test_nested(ex):
    def outer(x):
        inner = achar.current_executor().submit(lambda y: y, x).result()
        return bool((inner == x).all()), inner

    array = numbers()
    equal, back = ex.submit(outer, array).result()
    assert equal and np.array_equal(back, array)


def test_bytes_are_whole(ex):
    array, small = numbers(), numbers(300_000)

    def both(x):
        return [x, x[: 300_000 // 8] + 0, x.shape]

    future = ex.submit(both, array)
    future._keep_bytes(True)
    assert is_kept(future.result()[0])
    from achar import _achar

    kind, data = future._bytes()
    back = _achar.loads_packed(kind, data)
    assert np.array_equal(back[0], array) and np.array_equal(back[1], small) and back[2] == array.shape


def test_it_outlives_the_worker_and_the_executor():
    with achar.Executor(1, max_tasks_per_child=1) as ex:
        futures = [ex.submit(lambda x: x, np.full(MIB // 8, n)) for n in range(2)]
        early = futures[0].result()
        futures[1].exception()
    late = [future.result() for future in futures]
    del ex, futures
    gc.collect()
    assert (early == 0).all() and all((array == n).all() for n, array in enumerate(late))


def test_a_retry_may_return_them(ex, tmp_path):
    def second_time(x, path):
        if not os.path.exists(path):
            open(path, "w").close()
            x[:] = 0
            raise ValueError("first")
        return x

    array = numbers()
    result = ex.options(retries=1, backoff=0).submit(second_time, array, str(tmp_path / "tried")).result()
    assert np.array_equal(result, array)


def test_memory_comes_back():
    array = numbers(8 * MIB)
    with achar.Executor(1, memory_limit=128 * MIB, spill_limit=0, room_timeout=200) as ex:
        ex._pool.be_patient(60)
        for _ in range(6):  # half of the client's half has room for three
            results = [ex.submit(lambda x: x, array).result() for _ in range(3)]
            assert all(is_kept(result) for result in results)
            del results


def test_what_an_input_keeps_is_room_to_come():
    """Memory that is free once a task has ended is waited for, also where it is another one's arguments."""
    with achar.Executor(2, memory_limit=40 * MIB, spill_limit=0, room_timeout=200) as ex:
        ex._pool.be_patient(60)
        kept = ex.submit(same, numbers(6 * MIB))
        ex.wait([kept])
        reader = ex.submit(lambda array: time.sleep(0.3) or len(array), kept)
        del kept
        assert ex.submit(len, numbers(16 * MIB)).result(200) == 16 * MIB // 8
        assert reader.result(200) == 6 * MIB // 8


def test_results_do_not_take_all_the_room():
    """Half of it is for what is submitted; then what comes back is copied, unless the worker has no room."""
    with achar.Executor(1, memory_limit=64 * MIB, spill_limit=0, room_timeout=200) as ex:
        ex._pool.be_patient(60)
        ref = ex.put(numbers(8 * MIB))
        futures = [ex.submit(same, numbers(4 * MIB)) for _ in range(11)]
        assert [len(future.result(200)) for future in futures] == [MIB // 2] * 11
        kept = [is_kept(future.result()) for future in futures]
        assert True in kept and False in kept
        assert len(ref.result()) == MIB
        large = ex.submit(same, numbers(6 * MIB)).result(200)
        del futures
        assert len(large) == 6 * MIB // 8


def test_a_process_without_proc_copies(run):
    out = run("""
        import achar, numpy as np, resource

        def no_descriptors(x):
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            return x

        array = np.arange(1 << 17)
        with achar.Executor(1) as ex:
            print(np.array_equal(ex.submit(no_descriptors, array).result(), array))
    """)
    assert out == "True\n"

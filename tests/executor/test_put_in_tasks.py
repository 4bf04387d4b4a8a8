"""put() in a task; references that travel among tasks, and what is in shared memory before and after."""

import gc
import os
import time

import achar
import pytest

np = pytest.importorskip("numpy")
MIB = 1 << 20


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def used(ex):
    return ex._pool.memory()["used"]


def comes_back_to(ex, before):
    """Releases travel with the tasks that come next."""
    deadline = time.monotonic() + 120
    while used(ex) > before and time.monotonic() < deadline:
        gc.collect()
        ex.submit(os.getpid).result()
        time.sleep(0.01)
    return used(ex) <= before


def settle(ex):
    """What earlier tasks have returned is given back: functions stay, and no array does."""
    assert comes_back_to(ex, MIB)


def both_work(ex, tmp_path):
    def wait(n):
        (tmp_path / f"{n}").touch()
        while len(os.listdir(tmp_path)) < 2:
            time.sleep(0.01)

    for future in [ex.submit(wait, n) for n in range(2)]:
        future.result()


def put_and_return(n):
    return achar.current_executor().put(np.full(MIB, n))


def read(x):
    return int(x.sum()), x.flags.writeable


def test_a_task_returns_what_it_has_put(ex):
    read_once = ex.submit(read, np.zeros(9))
    assert read_once.result() == (0, True)
    ref = ex.submit(put_and_return, 3)
    assert [future.result() for future in [ex.submit(read, ref) for _ in range(6)]] == [(3 * MIB, False)] * 6
    view = ref.result()
    assert view.sum() == 3 * MIB and not view.flags.writeable
    assert ex.submit(read, ref).result() == (3 * MIB, False)  # still a reference, now that it was read
    ref = ex.submit(put_and_return, 4)
    assert ref.result().sum() == 4 * MIB
    assert view.sum() == 3 * MIB


def test_a_task_puts_and_its_tasks_read(ex):
    def outer():
        import achar

        nested = achar.current_executor()
        array = np.arange(MIB)
        ref = nested.put([array, "text"])
        array[:] = 0  # it was a snapshot
        own = ref.result()
        futures = [nested.submit(lambda x: (int(x[0].sum()), x[1], x[0].flags.writeable), ref) for _ in range(4)]
        return int(own[0].sum()), own[0].flags.writeable, ref.done(), [future.result() for future in futures]

    wanted = int(np.arange(MIB).sum())
    assert ex.submit(outer).result() == (wanted, False, True, [(wanted, "text", False)] * 4)


def test_what_cannot_be_put_in_a_task(ex):
    def outer():
        import achar

        achar.current_executor().put(n for n in [1])

    with pytest.raises(Exception, match="generator"):
        ex.submit(outer).result()

    def inside():
        import achar

        return [achar.current_executor().put(1)]

    with pytest.raises(Exception, match="what a task returns"):
        ex.submit(inside).result()


def test_references_through_many_hands(ex):
    before_functions = [ex.submit(read, np.zeros(3)), ex.submit(put_and_return, 0), ex.submit(os.getpid)]
    for future in before_functions:
        future.result()
    del before_functions, future
    gc.collect()
    settle(ex)
    before = used(ex)
    array = np.arange(MIB)
    ref = ex.put(array)
    made = ex.submit(put_and_return, 2)
    totals = [ex.submit(read, r) for r in (ref, made) * 10]
    assert {future.result() for future in totals} == {(int(array.sum()), False), (2 * MIB, False)}
    assert used(ex) - before >= 16 * MIB
    del ref, made, totals
    assert comes_back_to(ex, before)


@pytest.mark.parametrize("dies", ["holder", "maker", "reader"])
def test_the_dead_hold_nothing(dies, tmp_path):
    with achar.Executor(2) as ex:
        both_work(ex, tmp_path)
        ex.submit(read, np.zeros(3)).result()
        ex.submit(put_and_return, 0).result()
        ex.submit(keep, np.zeros(3)).result()
        settle(ex)
        before = used(ex)
        if dies == "holder":
            ref = ex.put(np.ones(MIB))
            pid = ex.submit(keep, ref).result()
            os.kill(pid, 9)
        elif dies == "maker":
            ref = ex.submit(put_and_return, 1)
            assert ref.result().sum() == MIB
            for pid in ex._pool.pids():
                os.kill(pid, 9)
            assert ex.submit(read, ref).result() == (MIB, False)  # the bytes are the client's to read
        else:
            ref = ex.put(np.ones(MIB))
            died = ex.submit(die, ref)
            assert isinstance(died.exception(), achar.WorkerDied)
            del died
        del ref
        assert comes_back_to(ex, before + 65536)  # what functions take is not given back


def keep(x):
    import builtins

    builtins.kept = x
    return os.getpid()


def die(x):
    os.kill(os.getpid(), 9)

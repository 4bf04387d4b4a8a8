"""Executor.put(): stored once, read by many without a copy, read-only, freed with the last that looks."""

import gc
import os
import pickle
import time

import achar
import pytest

np = pytest.importorskip("numpy")
MIB = 1 << 20


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def shared_nbytes(pid="self"):
    """How much of its shared memory (memfds) a process has touched or made."""
    total = 0
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss_Shmem:"):
                total += int(line.split()[1]) * 1024
    return total


def test_values_of_all_kinds(ex):
    for value in [
        1,
        "x",
        [1, {2: b"3"}],
        np.arange(5),
        np.asfortranarray(np.ones((3, 4))),
        np.arange(10)[::2],
        bytearray(9),
    ]:
        ref = ex.put(value)
        assert ref.done()
        for back in (ref.result(), ex.submit(lambda x: x, ref).result()):
            assert np.array_equal(back, value) and type(back) is type(value)


def test_stored_once_and_read_in_place(ex):
    array = np.arange(8 * MIB, dtype="u1")  # read by 100 tasks
    before = shared_nbytes()
    ref = ex.put([array, array])
    stored = shared_nbytes() - before
    # Less, where workers have come to share meanwhile what was the client's alone.
    assert 8 * MIB - (64 << 10) <= stored < 9 * MIB

    def look(pair):
        def private():
            with open("/proc/self/smaps_rollup") as file:
                return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty:"))

        before = private()
        total = int(pair[0][::4096].sum())
        return total, pair[0].flags.writeable, pair[0] is pair[1], private() - before

    wanted = int(array[::4096].sum())
    for total, writeable, same, copied in [future.result() for future in [ex.submit(look, ref) for _ in range(100)]]:
        assert (total, writeable, same) == (wanted, False, True)
        assert copied < 1024  # KiB

    def write(pair):
        pair[0][0] = 1

    with pytest.raises(ValueError, match="read-only"):
        ex.submit(write, ref).result()
    with pytest.raises(ValueError, match="read-only"):
        ref.result()[0][0] = 1


def test_memory_comes_back(ex):
    for n in range(24):  # 24 times 64 MiB would be more than the warm memory
        ref = ex.put(np.full(64 * MIB, n % 250, "u1"))
        assert ex.submit(lambda x: int(x[-1]), ref).result() == n % 250
    del ref
    deadline = time.monotonic() + 120
    while shared_nbytes() > 1300 * MIB and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shared_nbytes() < 1300 * MIB


def keep(array):
    import builtins

    builtins.kept = array
    return os.getpid()


def look_at_kept():
    import builtins

    return int(builtins.kept.sum()), os.getpid()


@pytest.mark.parametrize("ending", ["drop", "kill"])
def test_a_view_keeps_the_memory(ending):
    """What a task keeps beyond its end stays as it is, and is freed when it is dropped, or its worker killed."""
    with achar.Executor(1) as ex:
        ref = ex.put(np.full(4 * MIB, 7, "u1"))
        pid = ex.submit(keep, ref).result()
        del ref
        gc.collect()
        others = [ex.put(np.full(4 * MIB, 9, "u1")) for _ in range(8)]  # would reuse it
        assert ex.submit(look_at_kept).result() == (7 * 4 * MIB, pid)
        del others
        if ending == "kill":
            os.kill(pid, 9)
        else:
            ex.submit(lambda: delattr(__import__("builtins"), "kept")).result()
        assert ex.submit(pow, 2, 2).result() == 4
        first = ex.put(np.full(4 * MIB, 1, "u1"))
        assert ex.submit(lambda x: int(x.sum()), first).result() == 4 * MIB


def test_more_views_than_pins():
    with achar.Executor(1) as ex:
        refs = [ex.put(np.full(1000, n, "u1")) for n in range(200)]

        def keep_one(x):
            import builtins

            builtins.__dict__.setdefault("held", []).append(x)

        for ref in refs:
            ex.submit(keep_one, ref).result()
        del refs, ref
        gc.collect()
        others = [ex.put(np.zeros(1000, "u1")) for _ in range(400)]
        sums = ex.submit(lambda: [int(x.sum()) for x in __import__("builtins").held]).result()
        assert sums == [1000 * n for n in range(200)]
        assert len(others) == 400


def test_the_clients_view_outlives_everything():
    with achar.Executor(1) as ex:
        view = ex.put(np.arange(1000)).result()
    del ex
    gc.collect()
    assert view.sum() == 499500


def test_large_arguments_and_results(ex):
    array = np.arange(4 * MIB, dtype="f8")

    def change(x):
        x[0] = 42
        return x

    back = ex.submit(change, array).result()
    assert back[0] == 42 and array[0] == 0 and np.array_equal(back[1:], array[1:])
    made = ex.submit(np.arange, 4 * MIB)
    assert ex.submit(lambda x: float(x.sum()), made).result() == float(np.arange(4 * MIB).sum())


def test_what_cannot_be_stored(ex):
    with pytest.raises(pickle.PicklingError, match="obj"):
        ex.put([n for n in [(k for k in [1])]])
    with pytest.raises(pickle.PicklingError):
        ex.put([ex.put(1)])
    ex.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.put(1)


def test_too_large_is_said(run):
    out = run(
        """
        import achar, resource
        with achar.Executor(1) as ex:
            ref = ex.put(b"x" * 1000)
            resource.setrlimit(resource.RLIMIT_AS, (8 << 40, 8 << 40))
            import mmap
            huge = mmap.mmap(-1, 200 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
            import pickle
            class Huge:
                def __reduce_ex__(self, protocol):
                    return bytearray, (pickle.PickleBuffer(huge),)
            try:
                ex.put(Huge())
            except MemoryError as error:
                print(error)
            print(ex.submit(len, ref).result())
        """
    )
    assert out.splitlines()[-1] == "1000"
    assert "cannot store an object of this size" in out


def test_wait(ex):
    futures = [ex.submit(time.sleep, n) for n in (0, 0.05, 600)] + [ex.put(1)]
    done, others = ex.wait(futures, 3)
    assert done == [futures[0], futures[1], futures[3]] and others == [futures[2]]
    done, others = ex.wait(futures, timeout=0.1)
    assert len(done) == 3
    assert ex.wait([], None) == ([], [])
    ex.cancel(futures[2], force=True)
    assert ex.wait(futures, timeout=120) == (futures, [])
    with pytest.raises(ValueError, match="number"):
        ex.wait(futures, 5)


def test_holders_are_killed_again_and_again(ex):
    ref = ex.put(np.arange(MIB))
    wanted = int(np.arange(MIB).sum())
    for n in range(12):
        dies = ex.submit(lambda x: os.kill(os.getpid(), 9), ref)
        lives = ex.submit(lambda x: int(x.sum()), ref)
        assert isinstance(dies.exception(), achar.WorkerDied)
        assert lives.result() == wanted, n

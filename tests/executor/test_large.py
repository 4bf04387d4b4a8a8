"""Large buffers among ordinary arguments and results: not copied by who receives them, yet its own."""

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
    with achar.Executor(1) as executor:
        yield executor


def same(x):
    return x


def is_mapped(array):
    """Whether the array's memory is shared memory that this process looks at through a window."""
    base = array
    while getattr(base, "base", None) is not None:
        base = base.base
    address = array.__array_interface__["data"][0]
    with open("/proc/self/maps") as file:
        for line in file:
            start, _, end = line.split()[0].partition("-")
            if int(start, 16) <= address < int(end, 16):
                return "achar-" in line and line.split()[1].startswith("rw-p")
    return False


def test_nothing_is_copied_by_the_receiver(ex):
    array = np.arange(MIB)
    assert ex.submit(is_mapped, array).result()
    result = ex.submit(np.arange, MIB).result()
    assert is_mapped(result) and np.array_equal(result, array)
    assert not is_mapped(ex.submit(np.arange, 1000).result())


def test_flags_order_and_types_are_pickles(ex):
    frozen = np.arange(MIB)
    frozen.flags.writeable = False
    fortran = np.asfortranarray(np.arange(MIB, dtype="f4").reshape(1024, 1024))
    structured = np.zeros(MIB // 8, dtype=[("a", "i4"), ("b", "f8")])
    strided = np.arange(2 * MIB)[::2]
    for array in (frozen, fortran, structured, strided, np.arange(MIB).reshape(4, -1)):
        here = pickle.loads(pickle.dumps(array, 5))
        there = ex.submit(same, array).result()
        assert np.array_equal(there, array) and there.dtype == array.dtype and there.shape == array.shape
        assert there.flags.writeable == here.flags.writeable
        assert there.flags.f_contiguous == here.flags.f_contiguous


def test_everyone_has_his_own(ex):
    array = np.zeros(MIB)

    def change(x, y):
        x += 1
        return float(x.sum() + y.sum()), x is y

    assert ex.submit(change, array, array).result() == (2.0 * MIB, True)
    assert not array.any()
    made = ex.submit(np.ones, MIB)  # an input of tasks, each of which changes it
    assert [ex.submit(change, made, np.zeros(9)).result()[0] for _ in range(3)] == [2.0 * MIB] * 3
    first = made.result()
    first[:] = 5
    assert ex.submit(np.sum, first).result() == 5.0 * MIB


def test_a_retry_finds_the_arguments_as_they_were(ex, tmp_path):
    marker = tmp_path / "tried"

    def fail_once(x):
        x += 1
        if not marker.exists():
            marker.touch()
            raise ValueError(x)  # the exception's traceback keeps it
        return float(x.sum())

    assert ex.options(retries=1, backoff=0).submit(fail_once, np.zeros(MIB)).result() == MIB
    marker.unlink()

    def die_once(x):
        x += 1
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
        return float(x.sum())

    assert ex.options(retries=1, backoff=0).submit(die_once, np.zeros(MIB)).result() == MIB


def keep(x):
    import builtins

    builtins.kept = x
    x[0] = 77
    return os.getpid()


def kept():
    import builtins

    return float(builtins.kept[0]), float(builtins.kept[1:].sum()), os.getpid()


def test_what_a_task_keeps_stays_as_it_is(ex):
    pid = ex.submit(keep, np.full(MIB, 3.0)).result()
    for n in range(6):  # would reuse its memory
        assert ex.submit(np.sum, np.full(MIB, float(n))).result() == n * float(MIB)
    assert ex.submit(kept).result() == (77.0, 3.0 * (MIB - 1), pid)


def test_what_the_client_keeps_stays_as_it_is():
    with achar.Executor(1) as ex:
        results = [ex.submit(np.full, MIB, n).result() for n in range(4)]
        part = results[1][5:10]
        del results[1]
        gc.collect()
        results += [ex.submit(np.full, MIB, n).result() for n in range(4, 8)]
        pid = ex.submit(os.getpid).result()
        os.kill(pid, 9)
        assert ex.submit(pow, 2, 2).result() == 4
        assert part.tolist() == [1] * 5
    del ex
    gc.collect()
    assert [int(result.sum()) for result in results] == [n * MIB for n in (0, 2, 3, 4, 5, 6, 7)]
    results[0][:] = 1  # still writable, with the executor gone
    assert int(results[0].sum()) == MIB and part.tolist() == [1] * 5


def test_a_fork_keeps_its_copy(run):
    out = run(
        """
        import achar, gc, numpy as np, os
        with achar.Executor(1) as ex:
            result = ex.submit(np.full, 1 << 20, 7).result()
            go, ready = os.pipe()
            child = os.fork()
            if child == 0:
                os.read(go, 1)
                os._exit(0 if result.sum() == 7 << 20 else 1)
            del result
            gc.collect()
            for n in range(4):  # reuses the memory
                assert ex.submit(np.full, 1 << 20, n).result().sum() == n << 20
            os.write(ready, b"!")
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

            def fork(x):  # the same in a worker, whose task ends before its child
                go, ready = os.pipe()
                done, tell = os.pipe()
                child = os.fork()
                if child == 0:
                    os.read(go, 1)
                    os.write(tell, b"good" if x.sum() == 9 << 20 else b"bad!")
                    os._exit(0)
                return ready, done

            ready, done = ex.submit(fork, np.full(1 << 20, 9)).result()
            for n in range(4):
                assert ex.submit(np.sum, np.full(1 << 20, n)).result() == n << 20
            print(ex.submit(lambda: (os.write(ready, b"!"), os.read(done, 4))[1].decode()).result())
        """,
        stderr_empty=False,  # from 3.12 on os.fork() warns
    )
    assert out.split() == ["0", "good"]


def test_a_fork_may_go_on_reading_what_was_put(run):
    """Also one that closes all descriptors, and its child; when the last of them is gone, so is the memory."""
    out = run(
        """
        import achar, gc, numpy as np, os, time
        MIB = 1 << 20
        def used():
            return ex._pool.memory()["client"]
        def look_later(array):
            go, ready = os.pipe()
            done, tell = os.pipe()
            if os.fork() == 0:
                for fd in range(256):
                    if fd not in (go, tell):
                        try:
                            os.close(fd)
                        except OSError:
                            pass
                if os.fork() == 0:
                    os.setsid()
                    os.read(go, 1)
                    os.write(tell, b"good" if array[0] == 7 and array[-1] == 7 else b"bad!")
                    os.read(go, 1)
                os._exit(0)
            os.wait()
            return go, ready, done, tell
        def say(fds):
            os.write(fds[1], b"!")
            answer = os.read(fds[2], 4).decode()
            os.write(fds[1], b"!")
            return answer
        with achar.Executor(1) as ex:
            ex.submit(int).result()
            before = used()
            ref = ex.put(np.full(4 * MIB, 7, "u1"))
            array = ref.result()
            fds = look_later(array)
            del ref, array
            assert used() - before >= 4 * MIB
            others = [ex.put(np.full(4 * MIB, n, "u1")) for n in range(3)]
            print(say(fds))
            del others
            ref = ex.put(np.full(4 * MIB, 7, "u1"))
            fds = ex.submit(look_later, ref).result()
            del ref
            others = [ex.put(np.full(4 * MIB, n, "u1")) for n in range(3)]
            print(ex.submit(say, fds).result())
            del others
            deadline = time.monotonic() + 100
            while time.monotonic() < deadline:
                ex.submit(len, np.zeros(MIB, "u1")).result()  # the worker looks around
                if used() - before < 4 * MIB:
                    break
                time.sleep(0.01)
            print(used() - before < 4 * MIB)
        """,
        stderr_empty=False,  # from 3.12 on os.fork() warns
    )
    assert out.split() == ["good", "good", "True"]


def test_memory_comes_back_when_the_last_goes(ex):
    def used():
        return ex._pool.memory()["used"]

    ex.submit(same, 1).result()
    before = used()
    array = np.zeros(MIB)
    result = ex.submit(same, array).result()
    assert used() - before >= 8 * MIB  # the worker's, since this process looks at it
    del result
    gc.collect()
    deadline = time.monotonic() + 120
    while used() > before and time.monotonic() < deadline:
        ex.submit(same, 1).result()
    assert used() <= before


def test_nested_tasks_too(ex):
    def outer(array):
        inner = achar.current_executor().submit(lambda x: x + 1, array)
        back = inner.result()
        back += 1
        return back

    assert np.array_equal(ex.submit(outer, np.arange(MIB)).result(), np.arange(MIB) + 2)


def test_locked_pages_are_not_the_next_ones():
    """Pages that mlock() holds were not dropped with the array, and the next one at that address was the old."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def make(n):
        import numpy

        return numpy.full(1 << 20, n, "u1")

    with achar.Executor(1) as executor:
        array = executor.submit(make, 1).result()
        array[:] = 99
        if libc.mlock(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)) != 0:
            pytest.skip("no memory may be locked here")
        del array
        assert [int(executor.submit(make, n).result()[-1]) for n in range(2, 8)] == list(range(2, 8))

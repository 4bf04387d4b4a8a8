"""Memory is bounded: past memory_limit to disk, past spill_limit submit() waits, and nothing is left behind."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time

import achar
import pytest

np = pytest.importorskip("numpy")
MIB = 1 << 20
ARRAY = np.arange(MIB, dtype="u1").repeat(4)  # 4 MiB


def memory(ex):
    return ex._pool.memory()


def total(x):
    return int(x.sum())


def test_what_is_put_spills_and_comes_back(tmp_path):
    with achar.Executor(1, memory_limit=16 * MIB, spill_dir=tmp_path) as ex:
        ex.submit(int).result()
        before = memory(ex)
        refs = [ex.put(ARRAY + n) for n in range(12)]  # 48 MiB; 8 of them are the client's in memory
        now = memory(ex)
        assert now["client"] - before["client"] >= 48 * MIB
        assert now["spilled"] >= 39 * MIB and now["client"] - now["spilled"] <= before["client"] + 8 * MIB
        for n, ref in enumerate(refs):
            assert ex.submit(total, ref).result() == total(ARRAY + n) == total(ref.result())
        assert os.listdir(tmp_path) == []
        del refs, ref
        gc.collect()
        assert ex.submit(int).result() == 0  # a completion lets pinned blocks go
        wait_until(lambda: memory(ex)["used"] <= before["used"] + 4096)  # functions stay
        assert memory(ex)["spilled"] == 0


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_results_and_arguments_spill(tmp_path):
    with achar.Executor(2, memory_limit=16 * MIB, spill_dir=tmp_path) as ex:
        futures = [ex.submit(lambda x, n: x + n, ARRAY, n) for n in range(12)]
        results = [future.result() for future in futures]
        for n, result in enumerate(results):
            assert np.array_equal(result, ARRAY + n)
            result[:] = 1  # its own, wherever it is
        texts = [ex.submit(lambda n: b"%d" % n * MIB, n) for n in range(10, 40)]
        assert all(future.result() == b"%d" % n * MIB for n, future in zip(range(10, 40), texts, strict=True))
        pids = ex._pool.pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert ex.submit(total, ARRAY).result() == total(ARRAY)
        assert all(total(result) == 4 * MIB for result in results)
    assert os.listdir(tmp_path) == []


def test_the_default_is_bounded_too():
    with achar.Executor(1) as ex:
        assert ex.submit(pow, 2, 3).result() == 8
    with achar.Executor(1, spill_limit=0) as ex:
        assert ex.submit(pow, 2, 3).result() == 8


def test_wrong_limits(tmp_path):
    for timeout in (0, -1.5):
        with pytest.raises(ValueError, match="room_timeout"):
            achar.Executor(1, room_timeout=timeout)
    for options in ({"memory_limit": 0}, {"memory_limit": 1000}, {"spill_limit": -1}):
        with pytest.raises(ValueError, match="at least"):
            achar.Executor(1, **options)
    for options in ({"memory_limit": 1e9}, {"spill_limit": True}):
        with pytest.raises(TypeError, match="integer"):
            achar.Executor(1, **options)
    with pytest.raises(FileNotFoundError):
        achar.Executor(1, spill_dir=tmp_path / "missing")


def test_a_tiny_spill_limit_is_one():
    with achar.Executor(2, memory_limit=16 * MIB, spill_limit=1) as ex:
        refs = [ex.put(ARRAY)]
        with pytest.raises(MemoryError, match="spill_limit"):
            refs += [ex.put(ARRAY), ex.put(ARRAY)]
        assert isinstance(ex.submit(np.zeros, 6 * MIB, "u1").exception(), MemoryError)  # a worker has its share of it
        assert memory(ex)["spilled"] == 0


def test_submit_waits_for_room(run):
    """Two arrays are what there is room for; twenty are submitted, as fast as there is room."""
    out = run(
        """
        import achar, numpy as np, time
        MIB = 1 << 20
        with achar.Executor(1, memory_limit=20 * MIB, spill_limit=0) as ex:
            ex._pool.be_patient(60)
            ex.submit(int).result()
            def work(x):
                time.sleep(0.02)
                return int(x[0])
            futures, most = [], 0
            for n in range(20):
                futures.append(ex.submit(work, np.full(4 * MIB, n, "u1")))
                most = max(most, ex._pool.memory()["client"])
            assert [future.result() for future in futures] == list(range(20))
            assert most < 11 * MIB, most
            assert list(ex.map(work, [np.full(3 * MIB, n, "u1") for n in range(9)])) == list(range(9))
            print("done")
        """
    )
    assert out == "done\n"


def test_waiting_is_refused_where_it_would_be_for_ever(run):
    out = run(
        """
        import achar, asyncio, numpy as np, time, threading
        MIB = 1 << 20
        large = np.zeros(6 * MIB, "u1")
        with achar.Executor(1, memory_limit=20 * MIB, spill_limit=0) as ex:
            def attempt(what, *args):
                try:
                    return what(*args)
                except MemoryError as error:
                    print("MemoryError:", error)

            ref = ex.put(large)
            attempt(ex.put, large)  # no task is unfinished: nobody would ever make room
            print(type(ex.submit(len, large).exception()).__name__)
            attempt(list, ex.map(len, [large]))
            assert ex.submit(len, b"small").result() == 5  # and the executor goes on

            sleeper = ex.submit(time.sleep, 1)

            async def in_a_loop():
                return type(ex.submit(len, large).exception(0)).__name__

            print(asyncio.run(in_a_loop()))
            told = []
            def callback(future):
                told.append(type(ex.submit(len, large).exception(0)).__name__)
            ex.submit(int).add_done_callback(callback)
            while not told:
                time.sleep(0.01)
            print(told[0])

            def nested():  # the client's thread for such calls does not wait for this very task
                import achar
                return type(achar.current_executor().submit(len, bytes(24 << 20)).exception()).__name__
            print(ex.submit(nested).result())
            del ref
            assert ex.submit(len, large).result() == 6 * MIB

            blocker = ex.submit(time.sleep, 600)
            refs = [ex.put(np.zeros(4 * MIB, "u1")), ex.put(np.zeros(4 * MIB, "u1"))]
            threading.Timer(0.5, lambda: ex.cancel(blocker, force=True)).start()
            print(type(ex.submit(len, large).exception()).__name__)  # it waited, and in the end for nothing
        """
    )
    lines = out.splitlines()
    assert lines[0].startswith("MemoryError: cannot store an object of this size: it does not fit into")
    assert "memory_limit and spill_limit" in lines[0]
    assert [line.split(":")[0] for line in lines[1:]] == ["MemoryError"] * 6


def test_what_can_never_fit_is_said_at_once(run):
    """A task runs, but what it holds is not enough; and it waits for this very process."""
    out = run(
        """
        import achar, numpy as np, os, time
        MIB = 1 << 20
        def server(path):
            while not os.path.exists(path):
                time.sleep(0.01)
        with achar.Executor(1, memory_limit=32 * MIB, spill_limit=0, room_timeout=None) as ex:
            waits = ex.submit(server, "flag")
            refs = []
            try:
                while True:
                    refs.append(ex.put(np.zeros(4 * MIB, "u1")))
            except MemoryError:
                print(len(refs))
            big = bytes(100 * MIB)
            print(type(ex.submit(len, big).exception(timeout=0)).__name__)
            print(type(ex.submit(lambda: len(big)).exception(timeout=0)).__name__)
            open("flag", "w").close()
            waits.result()
        """
    )
    assert out == "3\nMemoryError\nMemoryError\n"


def test_a_task_that_waits_for_who_waits_for_room(run):
    """Nobody can see that; so it ends after room_timeout."""
    out = run(
        """
        import achar, numpy as np, os, time
        MIB = 1 << 20
        def server(path, data):
            while not os.path.exists(path):
                time.sleep(0.01)
        with achar.Executor(2, memory_limit=32 * MIB, spill_limit=0, room_timeout=0.3) as ex:
            waits = ex.submit(server, "flag", np.zeros(12 * MIB, "u1"))
            print(ex.submit(len, np.zeros(12 * MIB, "u1")).exception(timeout=0))
            try:
                print(list(ex.map(len, [bytes(12 * MIB)])))
            except MemoryError:
                print("MemoryError")
            made = ex.submit(np.zeros, 7 * MIB, "u1")
            print(type(ex.submit(len, made).exception()).__name__)  # its input finds no room, either
            open("flag", "w").close()
            waits.result()
            while ex._pool.memory()["client"] > 8 * MIB:  # its worker looks at its argument still
                time.sleep(0.01)
            print(ex.submit(len, made).result() == 7 * MIB)
        """
    )
    lines = out.splitlines()
    assert "nothing has become free" in lines[0]
    assert lines[1:] == ["MemoryError", "MemoryError", "True"]


def test_who_could_run_is_not_kept_behind_who_has_no_room(run):
    """Nothing runs, and the first has no room; but the one behind it has, and makes room."""
    out = run(
        """
        import achar, numpy as np, os, time
        MIB = 1 << 20
        def wait(path):
            while not os.path.exists(path):
                time.sleep(0.01)
        with achar.Executor(2, memory_limit=32 * MIB, spill_limit=0) as ex:
            held = ex.put(np.zeros(10 * MIB, "u1"))  # 16 are the client's
            running = ex.submit(wait, "flag")
            reader = ex.submit(lambda held, running: held.nbytes, held, running)
            del held
            made = ex.submit(np.zeros, 7 * MIB, "u1")
            starved = ex.submit(len, made)
            made.exception()
            assert not starved.done()
            open("flag", "w").close()
            print(starved.result() == 7 * MIB, reader.result() == 10 * MIB)
        """
    )
    assert out == "True True\n"


def test_what_a_worker_keeps_for_ever_is_not_waited_for(run):
    out = run(
        """
        import achar, numpy as np
        MIB = 1 << 20
        def keep(array):
            import builtins
            builtins.kept = array
        with achar.Executor(1, memory_limit=32 * MIB, spill_limit=0, room_timeout=None) as ex:
            ref = ex.put(np.zeros(10 * MIB, "u1"))
            ex.submit(keep, ref).result()
            del ref
            print(type(ex.submit(len, ex.submit(np.zeros, 7 * MIB, "u1")).exception()).__name__)
            print(type(ex.submit(len, bytes(7 * MIB)).exception()).__name__)
            print(ex.submit(len, bytes(2 * MIB)).result())
        """
    )
    assert out == f"MemoryError\nMemoryError\n{2 * MIB}\n"


def test_functions_and_inputs_wait_for_room():
    def function_with(n):
        data = bytes([n]) * (3 * MIB)
        return lambda: (time.sleep(0.05), len(data))[1]

    def first(array):
        time.sleep(0.05)
        return int(array[0])

    with achar.Executor(2, memory_limit=32 * MIB, spill_limit=0) as ex:
        ex._pool.be_patient(60)
        futures = [ex.submit(function_with(n)) for n in range(12)]  # 36 MiB, and room for 16
        assert [future.result() for future in futures] == [3 * MIB] * 12
        del futures
        holders = [ex.submit(first, np.full(4 * MIB, n, "u1")) for n in range(3)]
        users = [ex.submit(first, ex.submit(np.full, 2 * MIB, n, "u1")) for n in range(6)]
        assert [user.result() for user in users] == list(range(6))
        assert [holder.result() for holder in holders] == [0, 1, 2]


def test_what_a_task_gives_back_or_raises_is_free_at_once():
    def fail(array):
        raise ValueError(array.nbytes)

    with achar.Executor(1, memory_limit=16 * MIB, spill_limit=0) as ex:
        ex._pool.be_patient(60)
        for _ in range(4):
            assert ex.submit(lambda array: array, np.zeros(6 * MIB, "u1")).result().nbytes == 6 * MIB
            assert isinstance(ex.submit(fail, np.zeros(6 * MIB, "u1")).exception(), ValueError)


def test_a_result_without_room_is_that_tasks_error():
    with achar.Executor(1, memory_limit=16 * MIB, spill_limit=0) as ex:
        future = ex.submit(np.zeros, 10 * MIB, "u1")
        assert isinstance(future.exception(), MemoryError)
        assert ex.submit(np.zeros, 6 * MIB, "u1").result().nbytes == 6 * MIB


def test_ctrl_c_while_waiting(run):
    out = run(
        """
        import achar, numpy as np, os, signal, threading, time
        ex = achar.Executor(1, memory_limit=8 << 20, spill_limit=0)
        blocker = ex.submit(lambda data: time.sleep(600), np.zeros(3 << 20, "u1"))
        while not blocker.running():
            time.sleep(0.01)
        try:
            threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            ex.submit(len, np.zeros(3 << 20, "u1"))
        except KeyboardInterrupt:
            print("interrupted")
        ex.cancel(blocker, force=True)
        ex.shutdown()
        """
    )
    assert out == "interrupted\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_client_is_killed(tmp_path, how):
    program = textwrap.dedent(
        f"""
        import achar, numpy as np, os, time
        ex = achar.Executor(2, memory_limit=16 << 20, spill_dir={str(tmp_path)!r})
        refs = [ex.put(np.zeros(4 << 20, "u1")) for n in range(6)]
        futures = [ex.submit(np.zeros, 6 << 20, "u1") for n in range(6)]
        achar_done = [future.result() for future in futures]
        assert ex._pool.memory()["spilled"] > 0
        while len(ex._pool.pids()) < 2:
            time.sleep(0.01)
        print(*ex._pool.pids(), flush=True)
        time.sleep(600)
        """
    )
    shm_before = sorted(os.listdir("/dev/shm"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as client:
        pids = [int(pid) for pid in client.stdout.readline().split()]
        assert len(pids) == 2 and str(client.pid) in users_of(tmp_path)
        client.send_signal(how)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    assert os.listdir(tmp_path) == []
    assert [name for name in os.listdir("/dev/shm") if name not in shm_before and "achar" in name] == []
    wait_until(
        lambda: users_of(tmp_path) == []
    )  # a file without a name is gone with the last who has it open or mapped


def users_of(folder):
    """The processes that have a file open that was made there, or memory of one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            with open(f"/proc/{pid}/maps") as maps:
                found += [pid] * any(f"{folder}/" in line for line in [*files, *maps])
        except OSError:  # it has ended, or a descriptor of it
            continue
    return found


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_said(tmp_path):
    program = textwrap.dedent(
        f"""
        import achar, numpy as np
        with achar.Executor(1, memory_limit=16 << 20, spill_dir={str(tmp_path)!r}) as ex:
            refs = []
            try:
                while True:
                    refs.append(ex.put(np.full(2 << 20, len(refs), "u1")))
            except MemoryError as error:
                print(error)
            assert 4 < len(refs) < 20, len(refs)
            assert [int(ex.submit(np.sum, ref).result()) for ref in refs] == [n << 21 for n in range(len(refs))]
            del refs[3:]
            assert ex.put(np.zeros(2 << 20, "u1")).result().sum() == 0
            print("goes on")
        """
    )
    command = f'mount -t tmpfs -o size=16m tmpfs "{tmp_path}" && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, sys.executable, program], capture_output=True, text=True, timeout=200
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "cannot store an object of this size: no memory left, and none on disk",
        "goes on",
    ]

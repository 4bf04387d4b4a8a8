"""Memos whose processes are killed, whose files are damaged, whose disk is full."""

import os
import pathlib
import subprocess
import sys
import warnings

import achar
import achar.memo
import pytest

HERE = pathlib.Path(__file__).parent


def run(script, *args, timeout=280):
    done = subprocess.run(
        [sys.executable, HERE / script, *map(str, args)], capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_acknowledged_results_survive_kill(tmp_path):
    out = run("killed_writer.py", tmp_path / "m", 200)
    assert out.startswith("200 kills, ") and "0 lost" in out


def filled(path, count=300):
    with achar.Memo(path) as memo:
        for i in range(count):
            memo.put(i, (i, "x" * (i % 50)))
    return path


@pytest.mark.parametrize("place", ["header", "schema", "text", "row", "index", "everywhere", "cut", "zeros"])
def test_damage_is_reported_and_the_rest_kept(tmp_path, place):
    path = filled(tmp_path / "m")
    data = bytearray(path.read_bytes())
    pages = len(data) // 4096
    rows = [i for i in range(1, pages) if data[4096 * i] == 0x0D]
    if place == "header":
        data[5] ^= 1
    elif place == "schema":
        data[100] ^= 0xFF
    elif place == "text":  # SQLite quotes the schema, which is no UTF-8 any more
        data[data.index(b"CREATE TABLE result") + 14] ^= 0x80
    elif place == "row":
        data[4096 * rows[-1] + 4000] ^= 1
    elif place == "index":
        data[4096 * next(i for i in range(1, pages) if data[4096 * i] in (0x05, 0x02))] = 0x55
    elif place == "everywhere":
        for at in range(4096 + 50, len(data), 5000):
            data[at] ^= 0x10
    elif place == "cut":
        del data[-4096 - 1000 :]
    else:
        data[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(data)
    found = {}
    with pytest.warns(achar.memo.MemoDamagedWarning):
        with achar.Memo(path) as memo:
            for i in range(300):
                found[i] = memo.get(i)
            report = memo.check()  # finds what nobody has come upon
            if report["damaged"]:
                warnings.warn("damaged", achar.memo.MemoDamagedWarning, stacklevel=1)
    assert all(value in (None, (i, "x" * (i % 50))) for i, value in found.items())
    kept = sum(value is not None for value in found.values())
    assert kept >= {"everywhere": 30, "cut": 100, "zeros": 30}.get(place, 200), (place, kept)
    with achar.Memo(path) as memo:  # and all is well again
        for i in range(300):
            memo.put(i, i)
        assert memo.check() == {"results": 300, "damaged": 0, "problems": []}


@pytest.mark.parametrize("how", ["torn", "flipped", "missing"])
def test_what_a_damaged_log_loses_is_reported(tmp_path, how):
    assert "which is reported" in run("killed_writer.py", tmp_path / "m", 1, how)


def test_a_damaged_file_beside(tmp_path):
    import numpy as np

    data = np.random.default_rng(1).random(100_000)
    for damage in ("flip", "cut", "gone"):
        with achar.Memo(tmp_path / "m") as memo:
            memo.put("a", data)
        (file,) = (tmp_path / "m.d").glob("*/*")
        if damage == "flip":
            with open(file, "r+b") as stream:
                stream.seek(5000)
                stream.write(b"?!")
        elif damage == "cut":
            file.write_bytes(file.read_bytes()[:-1])
        else:
            file.unlink()
        with achar.Memo(tmp_path / "m") as memo, pytest.warns(achar.memo.MemoDamagedWarning):
            assert memo.get("a") is None and memo.stats()["damaged"] == 1


def test_a_full_disk(tmp_path):
    assert run("full_disk.py", tmp_path) == "ok\n"


def test_processes_share_one_computation_and_take_over(tmp_path):
    assert run("shared_call.py", tmp_path / "m") == "computed once; taken over; once after a fork\n"


def test_processes_that_drop_and_check_what_others_store(tmp_path):
    assert run("many_at_once.py", tmp_path / "m", 1) == "nobody took anything for damaged\n"


def test_forks(tmp_path):
    first, threads, inside, goes = run("forks.py", tmp_path).splitlines()
    assert first == "[1, 2, 3]" and threads == "[0, 0, 0]"
    assert inside == "({0}, 0, [])" and goes == "(None, True, 2, [])"


def damaged(path, count=600):
    """Rows are lost, and SQLite says so when it comes upon them."""
    with achar.Memo(path) as memo:
        for i in range(count):
            memo.put(i, "x" * 200)
    data = bytearray(path.read_bytes())
    at = 4096 * 10 + 5
    data[at : at + 3000] = b"\xff" * 3000
    path.write_bytes(data)


def test_other_memos_of_the_process_go_on_with_the_new_file(tmp_path):
    damaged(tmp_path / "m")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", achar.memo.MemoDamagedWarning)
        first, second, power = (achar.Memo(tmp_path / "m", durability=d) for d in ("process", "process", "power"))
        kept = [sum(memo.get(i) is not None for i in range(600)) for memo in (first, second, power)]
        assert len(set(kept)) == 1 and 400 < kept[0] < 600
        for i, memo in enumerate((first, second, power)):
            memo.put(("new", i), i)
        assert [memo.get(("new", 2)) for memo in (first, second, power)] == [2, 2, 2]
    assert not list(tmp_path.glob("m.new-*")) and len(list(tmp_path.glob("m.damaged-*[0-9]"))) == 1


SALVAGER = """
import sys, warnings, achar, achar.memo
warnings.simplefilter("ignore")
memo = achar.Memo(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(sum(memo.get(i) is not None for i in range(600)))
memo.put(sys.argv[2], 1)
"""


def test_processes_that_meet_the_same_damage(tmp_path):
    damaged(tmp_path / "m")
    command = [sys.executable, "-c", SALVAGER, tmp_path / "m"]
    processes = [
        subprocess.Popen([*command, str(i)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for i in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {int(process.communicate(timeout=150)[0]) for process in processes}
    assert len(found) == 1 and 400 < min(found) < 600
    with achar.Memo(tmp_path / "m") as memo:
        assert [memo.get(str(i)) for i in range(3)] == [1, 1, 1] and memo.stats()["results"] == found.pop() + 3


def test_a_link_to_the_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "m")
    with achar.Memo(tmp_path / "link", durability="power") as linked, achar.Memo(tmp_path / "m") as memo:
        linked.put("large", b"0123456789abcdef" * 8 + os.urandom(100_000))
        assert len(memo.get("large")) == 100_128 and not (tmp_path / "link.d").exists()


def test_a_row_that_is_replaced(tmp_path):
    """Its file goes with it; who has read the old row reads the new one, and takes nothing for damaged."""
    with achar.Memo(tmp_path / "m") as memo, achar.Memo(tmp_path / "m") as other:
        for start in range(3):
            memo.put("k", bytes([start]) + os.urandom(100_000))
            assert len(list((tmp_path / "m.d").glob("*/*"))) == 1
        read = memo._bytes_of

        def late(*args):
            memo._bytes_of = read
            other.put("k", b"new" + os.urandom(100_000))
            return read(*args)

        memo._bytes_of = late
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert memo.get("k")[:3] == other.get("k")[:3] == b"new"
        assert memo.stats()["damaged"] == 0
        memo.put("k", 1)
        assert list((tmp_path / "m.d").glob("*/*")) == []

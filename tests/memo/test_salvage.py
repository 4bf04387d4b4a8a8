"""What happens around a damaged file, or a damaged row, when others use it at the same moment."""

import gc
import os
import pathlib
import sqlite3
import subprocess
import sys
import threading
import warnings

import achar
import achar.memo
import pytest
from achar import _memo_salvage

HERE = pathlib.Path(__file__).parent

PUT = """
import sys, achar
memo = achar.Memo(sys.argv[1])
memo.put("before", 1)
print("ready", flush=True)
sys.stdin.readline()
print("goes", flush=True)
memo.put("by a process", 1)
"""


def damaged(path):
    """A file of whose rows a page is lost."""
    with achar.Memo(path) as memo:
        for i in range(600):
            memo.put(i, "x" * 200)
    data = bytearray(path.read_bytes())
    at = 4096 * 10 + 5
    data[at : at + 3000] = b"\xff" * 3000
    path.write_bytes(data)


def test_who_puts_while_another_salvages_waits_and_finds_the_new_file(tmp_path, monkeypatch):
    """What was committed to the damaged file after it had been read would be lost."""
    path = tmp_path / "m"
    damaged(path)
    memo, power = achar.Memo(path), achar.Memo(path, durability="power")
    process = subprocess.Popen(
        [sys.executable, "-c", PUT, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    copy, threads = _memo_salvage._copy, []

    def put(where, key):
        where.put(key, 1)

    def slow_copy(pages, store):
        counts = copy(pages, store)
        for where, key in ((memo, "by a thread"), (power, "by another store")):
            threads.append(threading.Thread(target=put, args=(where, key)))
            threads[-1].start()
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "goes\n"
        for thread in threads:
            thread.join(0.1)  # it waits for us
        return counts

    monkeypatch.setattr(_memo_salvage, "_copy", slow_copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", achar.memo.MemoDamagedWarning)
        kept = sum(memo.get(i) is not None for i in range(600))
        for thread in threads:
            thread.join(150)
    assert process.wait(150) == 0
    process.stdout.close()
    process.stdin.close()
    assert len(threads) == 2 and 400 < kept < 600
    for key in ("before", "by a thread", "by another store", "by a process"):
        assert memo.get(key) == power.get(key) == 1, key
    assert memo.check()["problems"] == [] and not list(tmp_path.glob("m.new-*"))


def test_who_only_reads_finds_the_new_file(tmp_path):
    damaged(tmp_path / "m")
    script = "import sys, achar, warnings; warnings.simplefilter('ignore'); memo = achar.Memo(sys.argv[1]); "
    script += "[memo.get(i) for i in range(600)]; memo.put('new', 1)"
    with achar.Memo(tmp_path / "m") as memo:
        assert memo.get(599) == "x" * 200
        subprocess.run([sys.executable, "-c", script, tmp_path / "m"], check=True, timeout=200)
        assert list(tmp_path.glob("m.damaged-*")) and memo.get("new") == 1 and memo.stats()["damaged"] == 0


def test_a_salvager_that_is_killed_at_any_step(tmp_path):
    done = subprocess.run(
        [sys.executable, HERE / "killed_salvage.py", tmp_path], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0 and done.stdout.startswith("killed at each of 1"), done.stdout + done.stderr


def test_stores_of_a_file_that_go_while_it_is_salvaged(tmp_path, monkeypatch):
    """The last one to close would write the log into the file that is being read, and delete it."""
    path = tmp_path / "m"
    damaged(path)
    memo, power = achar.Memo(path), achar.Memo(path, durability="power")
    power.put("late", 1)
    assert power.get("late") == 1
    copy = _memo_salvage._Pages

    def pages(path):
        nonlocal power
        power = None
        gc.collect()
        thread = threading.Thread(target=lambda: achar.Memo(tmp_path / "other").close())
        thread.start()
        thread.join(0.05)  # it waits, too
        found = copy(path)
        thread_of.append(thread)
        return found

    thread_of = []
    monkeypatch.setattr(_memo_salvage, "_Pages", pages)
    with pytest.warns(achar.memo.MemoDamagedWarning):
        assert 400 < sum(memo.get(i) is not None for i in range(600)) < 600
    thread_of[0].join(150)
    assert memo.get("late") == 1


ROW = "SELECT seq, id, key FROM result ORDER BY seq"


@pytest.mark.parametrize("column", ["key", "kind", "origin", "beside", "stored_ms", "took_ns", "checksum", "value"])
def test_a_damaged_row_is_dropped_and_no_other(tmp_path, column):
    path = tmp_path / "m"
    with achar.Memo(path) as memo:
        for i in range(20):
            memo.put(i, [i])
    with sqlite3.connect(path) as db:
        changed = "value || x'00'" if column == "value" else "zeroblob(32)" if column == "key" else f"{column} + 1"
        db.execute(f"UPDATE result SET {column} = {changed} WHERE seq = 8")
    db.close()
    with achar.Memo(path) as memo:
        with pytest.warns(achar.memo.MemoDamagedWarning, match="checksum of the result is wrong"):
            assert memo.get(7) is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert memo.get(7) is None and memo.stats()["results"] == 19 and memo.stats()["damaged"] == 1
            memo.put(7, "again")
            assert [memo.get(i) for i in range(20)] == [[i] if i != 7 else "again" for i in range(20)]
            assert memo.check() == {"results": 20, "damaged": 0, "problems": []}


def test_a_damaged_row_that_another_has_replaced_meanwhile_stays(tmp_path):
    path = tmp_path / "m"
    with achar.Memo(path) as memo:
        memo.put("k", 1)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE result SET took_ns = 5")
    db.close()
    with achar.Memo(path) as memo, achar.Memo(path, durability="power") as other:
        drop = memo._drop_damaged

        def late(*args):
            other.put("k", 2)
            return drop(*args)

        memo._drop_damaged = late
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert memo.get("k") is None and memo.get("k") == 2 and memo.stats()["damaged"] == 0


def test_a_file_that_is_replaced_while_it_is_checked(tmp_path, monkeypatch):
    """In the new file the rows have other numbers, and files that belong to them must stay."""
    monkeypatch.setattr(_memo_salvage, "_ROWS_AT_ONCE", 4)
    dropped, seen = _memo_salvage._dropped, []
    script = "import sys, achar, warnings; warnings.simplefilter('ignore'); memo = achar.Memo(sys.argv[1]); "
    script += "memo._salvage(achar.memo.MemoDamaged('so it seems'))"

    def late(*args):
        seen.append(args)
        if len(seen) == 7:
            subprocess.run([sys.executable, "-c", script, tmp_path / "m"], check=True, timeout=200)
        return dropped(*args)

    with achar.Memo(tmp_path / "m") as memo:
        for i in range(30):
            memo.put(i, os.urandom(70_000))
        for i in range(10):
            memo.invalidate(key=i)
        for file in (tmp_path / "m.d").glob("*/*"):
            os.utime(file, (0, 0))
        monkeypatch.setattr(_memo_salvage, "_dropped", late)
        assert memo.check() == {"results": 20, "damaged": 0, "problems": []}
        assert len(seen) > 20 and len(list((tmp_path / "m.d").glob("*/*"))) == 20
        assert all(memo.get(i) is not None for i in range(10, 30))


def test_old_files_are_let_go(tmp_path):
    """Each time that another takes the place of the file."""
    with achar.Memo(tmp_path / "m") as memo:
        counts = []
        for i in range(5):
            memo.put("k", i)
            assert memo.get("k") == i
            counts.append(len(os.listdir("/proc/self/fd")))
            for file in tmp_path.iterdir():
                file.unlink()
        assert counts[-1] <= counts[1], counts
        memo.put("k", 5)
        assert memo.stats()["hits"] == 5


@pytest.mark.parametrize("at", [18, 19, 47, 60, 63, 68, 71])
def test_a_header_that_says_that_the_file_is_something_else(tmp_path, at):
    path = tmp_path / "m"
    with achar.Memo(path) as memo:
        for i in range(20):
            memo.put(i, [i])
    del memo
    gc.collect()
    data = bytearray(path.read_bytes())
    for bit in (1, 0x80):
        data[at] ^= bit
        path.write_bytes(data)
        with pytest.warns(achar.memo.MemoDamagedWarning, match="20 results are kept, 0 others"):
            memo = achar.Memo(path)
        assert [memo.get(i) for i in range(20)] == [[i] for i in range(20)]
        memo.put(20, "new")
        assert memo.check() == {"results": 21, "damaged": 0, "problems": []}
        memo.close()
        del memo
        gc.collect()
        data[at] ^= bit


@pytest.mark.parametrize("text", [b"INTEGER PRIMARY KEY, about", b"kind INTEGER", b"_by_id ON result"])
def test_a_schema_that_says_something_else(tmp_path, text):
    path = tmp_path / "m"
    with achar.Memo(path) as memo:
        for i in range(20):
            memo.put(i, [i])
    del memo
    gc.collect()
    data = bytearray(path.read_bytes())
    data[data.index(text) + 8] ^= 4
    path.write_bytes(data)
    with pytest.warns(achar.memo.MemoDamagedWarning, match="20 results are kept, 0 others"):
        memo = achar.Memo(path)
    assert [memo.get(i) for i in range(20)] == [[i] for i in range(20)]
    memo.close()


@pytest.mark.parametrize("at", [5, 18, 47, 60, 68])
def test_a_damaged_database_of_somebody_else_is_left_alone(tmp_path, at):
    path = tmp_path / "other"
    with sqlite3.connect(path) as db:  # with as many columns as a result has, and as an origin
        db.execute("CREATE TABLE many(a, b, c, d, e, f, g, h, i, j)")
        db.execute("CREATE TABLE three(id INTEGER PRIMARY KEY, about TEXT, checksum INTEGER)")
        db.execute("INSERT INTO many VALUES(1, 2, x'00', 4, 5, 6, 7, 8, 9, x'00')")
        db.execute("INSERT INTO three VALUES(1, 'x', 2)")
    db.close()
    data = bytearray(path.read_bytes())
    data[at] ^= 0x80
    path.write_bytes(data)
    with pytest.raises(achar.memo.NotAMemo, match="something else"):
        achar.Memo(path)
    assert path.read_bytes() == data and not list(tmp_path.glob("other.*"))


def test_a_later_version_is_left_alone(tmp_path):
    path = tmp_path / "m"
    achar.Memo(path).put("k", 1)
    gc.collect()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE later(x)")
        db.execute("PRAGMA user_version=2")
    db.close()
    before = path.read_bytes()
    with pytest.raises(achar.memo.NotAMemo, match="another version of achar"):
        achar.Memo(path)
    assert path.read_bytes() == before


def test_an_index_that_leads_past_a_row(tmp_path):
    """Until check() looks, such a result is computed again, as if it had never been."""
    path = tmp_path / "m"
    with achar.Memo(path) as memo:
        for i in range(20):
            memo.put(i, [i])
    del memo
    gc.collect()
    with sqlite3.connect(path) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name='result_by_id'").fetchone()
        ids = [id for _, id, _ in db.execute(ROW)]
    db.close()
    data = bytearray(path.read_bytes())
    at = data.index(ids[8].to_bytes(8, "big", signed=True), 4096 * (page - 1), 4096 * page)
    data[at + 7] ^= 1
    path.write_bytes(data)
    with achar.Memo(path) as memo:
        assert memo.get(8) is None and memo.get(9) == [9]
        with pytest.warns(achar.memo.MemoDamagedWarning, match="20 results are kept"):
            assert memo.check()["problems"]
        assert [memo.get(i) for i in range(20)] == [[i] for i in range(20)]


def test_an_index_that_has_what_no_row_has(tmp_path):
    """It leads to the row of another key: that must not go, and the put must not fail."""
    path = tmp_path / "m"
    with achar.Memo(path) as memo:
        for i in range(20):
            memo.put(i, [i])
    with sqlite3.connect(path) as db:
        ids = [id for _, id, _ in db.execute(ROW)]
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, '(id)', '(-id)') WHERE name = 'result_by_id'")
    db.close()
    with sqlite3.connect(path) as db:  # the index's entries are now said to be of other numbers
        assert db.execute("PRAGMA integrity_check").fetchone()[0] != "ok" and len(ids) == 20
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE result SET id = id + 1 WHERE seq = 8")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, '(-id)', '(id)') WHERE name = 'result_by_id'")
    db.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", achar.memo.MemoDamagedWarning)
        with achar.Memo(path) as memo:
            for i in range(20):
                memo.put(i, (i,))
            assert [memo.get(i) for i in range(20)] == [(i,) for i in range(20)]
            assert memo.check()["results"] == 20  # and repairs what nobody has come upon
            assert memo.check() == {"results": 20, "damaged": 0, "problems": []}


def test_closing_one_store_keeps_what_another_of_the_process_computes(tmp_path):
    """POSIX locks go with the first descriptor of their file that the process closes."""
    path = tmp_path / "m"
    memo, other = achar.Memo(path), achar.Memo(path, durability="power")
    script = "import sys, achar; memo = achar.Memo(sys.argv[1], durability='power')\n"
    script += "f = memo(key='name')(lambda x: 'there')\nf.__wrapped__.__qualname__ = 'f'\n"
    script += "f._keys.function.__module__ = 'm'\nprint('ready', flush=True)\nprint(f(1))"
    entered, process = threading.Event(), None

    def f(x):
        nonlocal process, other
        other.close()
        other = None
        gc.collect()
        process = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        entered.wait(0.5)
        return "here"

    f.__qualname__, f.__module__ = "f", "m"
    assert memo(key="name")(f)(1) == "here"
    assert process.communicate(timeout=200)[0] == "here\n"


def test_two_stores_of_a_file_in_a_process_compute_once(tmp_path):
    calls, go = [], threading.Event()

    def f(x):
        calls.append(x)
        go.wait(0.2)
        return x

    functions = [achar.Memo(tmp_path / "m", durability=d)(key="name")(f) for d in ("process", "power")]
    threads = [threading.Thread(target=function, args=(1,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(150)
    assert calls == [1]


def test_the_memory_that_it_takes_does_not_grow_with_the_file(tmp_path):
    """A file of 12 MB, whose log has a part of it."""
    script = """
import os, resource, sys, warnings, achar, achar.memo
from achar import _memo_salvage
with achar.Memo(sys.argv[1]) as memo:
    for i in range(200):
        memo.put(i, os.urandom(60_000))
memo = achar.Memo(sys.argv[1])
memo.put(200, os.urandom(60_000))
assert os.path.getsize(sys.argv[1]) > 12_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    memo._salvage(achar.memo.MemoDamaged("as it is said"))
more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(len(memo._run("SELECT seq FROM result")), more if more > 8_000 else "")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "m"], capture_output=True, text=True, timeout=250, check=False
    )
    assert (done.stdout, done.stderr) == ("201 \n", "")

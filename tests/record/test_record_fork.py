"""A process that records forks."""

import sqlite3
import subprocess
import sys
import textwrap


def run_script(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", textwrap.dedent(script), *map(str, arguments)],
        timeout=250, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_child_records_to_the_same_file_and_goes_on_after_its_parent(tmp_path):
    path = tmp_path / "run.db"
    script = """
        import os, signal, sys, traceback, warnings, achar
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: os.fork() with threads
        ex = achar.Executor(1, monitor=sys.argv[1])
        assert sum(ex.map(abs, range(50))) == 1225
        assert ex._monitor.record.join(100)
        from_child, to_parent = os.pipe()
        from_parent, to_child = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(200)
                own = achar.Executor(1, monitor=sys.argv[1])
                own.submit(abs, -1).result()
                assert own._monitor.record.join(100)
                os.write(to_parent, b"1")
                os.read(from_parent, 1)
                for i in range(100):
                    own.submit(abs, i).result()
                own.shutdown()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        os.read(from_child, 1)
        assert sum(ex.map(abs, range(50))) == 1225  # and writes by a connection that it has opened again
        ex.shutdown()
        os.write(to_child, b"1")
        assert os.waitpid(pid, 0)[1] == 0
    """
    run_script(script, path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT run, sum(calls) FROM task GROUP BY run").fetchall() == [(1, 100), (2, 101)]
    assert connection.execute("SELECT count(*) FROM run WHERE ended AND NOT dropped").fetchone() == (2,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_children_use_sqlite_while_the_parent_records(tmp_path):
    """No fork finds the record's thread inside SQLite: its mutexes would be locked in the child for ever."""
    script = """
        import os, signal, sqlite3, sys, threading, warnings, achar
        warnings.simplefilter("ignore", DeprecationWarning)
        with achar.Executor(1, monitor=sys.argv[1]) as ex:
            stops = threading.Event()

            def write():
                while not stops.is_set():
                    ex.wait([ex.submit(abs, i) for i in range(500)])
                    ex._monitor.record.join(0)  # so that it writes now

            writer = threading.Thread(target=write)
            writer.start()
            for _ in range(30):
                pid = os.fork()
                if pid == 0:
                    signal.alarm(150)
                    own = sqlite3.connect(":memory:")
                    own.execute("CREATE TABLE t(a)")
                    own.close()
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            stops.set()
            writer.join()
    """
    run_script(script, tmp_path / "run.db")
    connection = sqlite3.connect(tmp_path / "run.db")
    assert connection.execute("SELECT ended IS NOT NULL, dropped FROM run").fetchall() == [(1, 0)]
    assert connection.execute("SELECT count(*) FROM task WHERE state <> 'returned'").fetchone() == (0,)
    connection.close()

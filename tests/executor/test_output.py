"""What tasks print, warn and log reaches the client: whole lines, marked, once, and nobody hangs."""

import logging
import os
import sys

import achar
import pytest

RAW = """
def raw(text):
    import ctypes, subprocess, sys, time
    os.write(1, (text + " write\\n").encode())
    subprocess.run(["echo", text + " child"])
    libc = ctypes.CDLL(None)
    libc.puts((text + " libc").encode())
    libc.fflush(None)
    while not os.path.exists("read"):  # its number is that of the task that runs when it is read
        time.sleep(0.01)
"""


def test_printed_text_is_tagged_and_goes_to_the_streams_of_now(capsys):
    def task(n):
        print("first", n)
        print("part", end="")
        print(" of a line", n, file=sys.stdout)
        print("wrong", n, file=sys.stderr)
        return n

    with achar.Executor(1) as ex:
        ex._pool.be_patient(60)
        assert ex.submit(task, 7).result() == 7
        tag = f"[worker 0 · task 1 {task.__qualname__}] "
        out, err = capsys.readouterr()  # what a task has printed comes before its result
        assert (out, err) == (f"{tag}first 7\n{tag}part of a line 7\n", f"{tag}wrong 7\n")
        ex.options(name="my name").submit(task, 8).result()
        list(ex.map(task, [9, 10]))
    out, err = capsys.readouterr()
    assert "[worker 0 · task 2 my name] first 8\n" in out
    assert f"[worker 0 · task 3 {task.__qualname__}] first 9\n" in out
    assert f"[worker 0 · task 4 {task.__qualname__}] part of a line 10\n" in out
    assert [line.partition("] ")[2] for line in err.splitlines()] == [f"wrong {n}" for n in (8, 9, 10)]


def test_lines_without_end_are_their_own_tasks(capsys):
    def noend(n):
        sys.stdout.write(f"out{n}")
        sys.stdout.buffer.write(b"!")
        sys.stderr.write(f"err{n}")

    with achar.Executor(1) as ex:
        ex.submit(noend, 1).result()
        ex.submit(len, "").result()
        list(ex.map(noend, [3, 4]))
        ex.submit(print, "end").result()
    out, err = capsys.readouterr()
    tags = [f"[worker 0 · task {n} {noend.__qualname__}] " for n in (1, 3, 4)]
    assert out == "".join(f"{tag}out{n}!\n" for tag, n in zip(tags, (1, 3, 4))) + "[worker 0 · task 5 print] end\n"
    assert err == "".join(f"{tag}err{n}\n" for tag, n in zip(tags, (1, 3, 4)))


def test_c_code_and_child_processes(run):
    out = run(f"""
import achar, io, os, sys, time
{RAW}
real, sys.stdout = sys.stdout, io.StringIO()
with achar.Executor(1) as ex:
    ex.submit(len, "").result()
    future = ex.submit(raw, "from")
    while sys.stdout.getvalue().count("\\n") < 3:
        time.sleep(0.01)
    open("read", "w").close()
    future.result()
print(sys.stdout.getvalue(), end="", file=real)
""")
    assert sorted(out.splitlines()) == sorted(f"[worker 0 · task 2] from {what}" for what in ("write", "child", "libc"))


@pytest.mark.parametrize("output", ["plain", "inherit", "discard"])
def test_the_other_ways(run, output):
    out = run(
        f"""
import achar, os, sys
{RAW}
open("read", "w").close()
def task():
    print("printed"); print("wrong", file=sys.stderr)
with achar.Executor(1, output={output!r}) as ex:
    ex.submit(task).result()
    ex.submit(raw, "x").result()
    ex.actor(list)
    print("end", flush=True)
""",
        stderr_empty=output == "discard",
    )
    lines = out.splitlines()
    if output == "discard":
        assert lines == ["end"]
    else:
        assert sorted(lines) == ["end", "printed", "x child", "x libc", "x write"]
        assert run.stderr == "wrong\n"


def test_lines_of_many_tasks_are_whole(run):
    """Lines longer than a pipe keeps in one piece, from two workers and their threads at once."""
    out = run("""
import achar, sys, threading
def task(n):
    def prints():
        for k in range(20):
            sys.stdout.write(f"<{n}:{k}:" + "x" * (n * 700) + ">\\n")  # one write, so that threads do not mix
    threads = [threading.Thread(target=prints) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
with achar.Executor(2, output="plain") as ex:
    ex._pool.be_patient(600)  # and nobody waits so long for what has no end
    list(ex.map(task, range(20)))
    print("café \\0 \\x1e", flush=True)
    ex.submit(print, "café \\0achar \\x1e").result()
    ex.submit(print, "no end", end="").result()
""")
    wanted = [f"<{n}:{k}:" + "x" * (n * 700) + ">" for n in range(20) for k in range(20) for _ in range(2)]
    wanted += ["café \0 \x1e", "café \0achar \x1e", "no end"]
    assert sorted(out.removesuffix("\n").split("\n")) == sorted(wanted)


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


def test_records_go_to_the_clients_handlers_once(capfd):
    def task():
        import logging
        import threading

        logging.basicConfig(level=logging.INFO)  # what scripts do; in a worker it sets the level
        logging.getLogger("a.b").info("hello %s", 3, extra={"lock": threading.Lock()})
        logging.getLogger("a.quiet").info("not wanted here")
        logging.getLogger("a").warning("x" * 100_000)
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger("a").exception("oops")

    kept, logger, quiet = Kept(), logging.getLogger("a"), logging.getLogger("a.quiet")
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    quiet.setLevel(logging.ERROR)
    try:
        with achar.Executor(1) as ex:
            ex.submit(task).result()
    finally:
        logger.removeHandler(kept)
        logger.setLevel(logging.NOTSET)
        quiet.setLevel(logging.NOTSET)
        logger.propagate = True
    hello, long, oops = kept.records
    assert (hello.name, hello.getMessage(), hello.levelno) == ("a.b", "hello 3", logging.INFO)
    assert hello.process != os.getpid() and (hello.achar_worker, hello.achar_task) == (0, 1)
    assert "lock" in hello.lock  # as text: a lock cannot be sent
    assert long.getMessage() == "x" * 100_000
    assert "ZeroDivisionError: division by zero" in oops.exc_text
    assert capfd.readouterr() == ("", "")


def test_warnings_are_lines(capsys):
    def task():
        import warnings

        warnings.warn("be careful", stacklevel=1)

    with achar.Executor(1) as ex:
        ex.submit(task).result()
    assert "UserWarning: be careful\n" in capsys.readouterr().err


def test_a_dead_workers_last_words_are_in_the_error(capsys):
    def crash():
        import ctypes

        print("just before", file=sys.stderr)
        ctypes.string_at(0)

    with achar.Executor(1) as ex:
        ex.submit(print, "another's", file=None).result()
        ex.submit(lambda: print("another's", file=sys.stderr)).result()
        error = ex.submit(crash).exception()
        assert isinstance(error, achar.WorkerDied)
        text = str(error)
        assert (
            "just before" in text and "Segmentation fault" in text and "string_at" in text and "another's" not in text
        )
        with pytest.raises(achar.WorkerDied, match="(?s)the end of its stderr.*Segmentation fault"):
            list(ex.map(lambda n: crash(), range(3)))
    with achar.Executor(1, output="discard") as ex:
        assert "Segmentation fault" in str(ex.submit(crash).exception())
    with (
        achar.Executor(1, env={"PYTHONHOME": "/nowhere"}) as ex,
        pytest.raises(achar.WorkersCannotStart, match="(?s)the end of its stderr.*encodings"),
    ):
        ex.submit(print).result()


def test_a_client_that_does_not_read_loses_lines_and_learns_how_many(run):
    """sys.stdout blocks for longer than the runtime's patience: the task goes on, and so do the others."""
    out = run(
        """
import achar, sys, threading
class Stuck:
    encoding = "utf-8"
    def __init__(self): self.free, self.text = threading.Event(), []
    def write(self, text): self.free.wait(); self.text.append(text)
    def flush(self): pass
real, stuck = sys.stdout, Stuck()
def chatty():
    for n in range(50_000): print("line", n)
    return "done"
with achar.Executor(2, output="plain") as ex:
    sys.stdout = stuck
    future = ex.submit(chatty)
    assert [ex.submit(len, "ab").result() for _ in range(100)] == [2] * 100
    assert future.result(120) == "done"
    stuck.free.set()
sys.stdout = real
lines = "".join(stuck.text).splitlines()
print(lines[0], len(lines) < 50_000)
""",
        stderr_empty=False,
    )
    assert out == "line 0 True\n"
    dropped = int(run.stderr.split("achar: ")[1].split(" lines")[0])
    assert 0 < dropped < 50_000 and "were dropped" in run.stderr


def test_results_do_not_wait_for_a_stream_that_is_stuck(run):
    """Half a second for the first, and nothing for the others; result(timeout=0) never."""
    out = run(
        """
        import achar, io, os, sys, threading, time
        stuck, real = threading.Event(), sys.stdout
        class Stuck(io.StringIO):
            def write(self, text):
                stuck.set()
                time.sleep(600)
        with achar.Executor(1) as ex:
            ex.submit(int).result()
            sys.stdout = Stuck()
            futures = [ex.submit(print, n) for n in range(200)]
            while not all(future.done() for future in futures):
                time.sleep(0.01)
            stuck.wait()
            start = time.monotonic()
            ex._pool.be_patient(600)
            futures[0].result(timeout=0)
            at_once = time.monotonic() - start
            ex._pool.be_patient(0.5)  # as it is
            for future in futures:
                future.result()
            took = time.monotonic() - start
            print(at_once < 90, took < 90, file=real, flush=True)  # 100 s if each waited
            os._exit(0)
        """
    )
    assert out == "True True\n"


def test_a_slow_client_loses_nothing(run):
    out = run("""
import achar
def chatty():
    for n in range(30_000): print(n, "x" * 50)
with achar.Executor(1, output="plain") as ex:
    ex._pool.be_patient(60)
    ex.submit(chatty).result()
""")
    assert [line.split()[0] for line in out.splitlines()] == [str(n) for n in range(30_000)]


def test_a_closed_or_missing_stdout(run):
    run("""
import achar, sys
for stream in (None, open("/dev/null", "w")):
    if stream: stream.close()
    real, sys.stdout = sys.stdout, stream
    with achar.Executor(1) as ex:
        assert ex.submit(print, "x").result() is None
        assert ex.submit(len, "abc").result() == 3
    sys.stdout = real
""")


def test_a_daemon_that_keeps_the_pipe_holds_up_nobody(run):
    run(
        """
import achar, os, subprocess
def leaves():
    return subprocess.Popen(["sleep", "100"], start_new_session=True).pid
with achar.Executor(1) as ex:
    pid = ex.submit(leaves).result()
os.kill(pid, 9)
""",
    )


def test_it_is_one_of_four():
    with pytest.raises(ValueError, match="output"):
        achar.Executor(output="loud")


def test_what_a_task_puts_at_descriptor_1_gets_the_text_alone(tmp_path):
    path = str(tmp_path / "out")

    def redirected():
        import os
        import sys

        kept, file = os.dup(1), os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, 1)
        print("hello")
        sys.stdout.flush()
        os.dup2(kept, 1)

    with achar.Executor(1) as executor:
        executor.submit(redirected).result()
    assert (tmp_path / "out").read_text() == "hello\n"


def test_a_handler_that_raises_stops_no_output(capsys):
    import logging

    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("broken")

    def log():
        import logging

        logging.getLogger("x").warning("lost")

    handler = Broken()
    logging.getLogger().addHandler(handler)
    try:
        with achar.Executor(1) as executor:
            executor.submit(log).result()
            executor.submit(print, "later").result()
    finally:
        logging.getLogger().removeHandler(handler)
    assert "later" in capsys.readouterr().out

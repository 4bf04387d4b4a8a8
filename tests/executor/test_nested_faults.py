"""What a task does to the way to its executor hurts that task, and neither the next one nor another worker's."""

import concurrent.futures
import os
import time

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(1) as executor:
        yield executor


def child_of_a_task():
    return achar.current_executor().submit(len, b"abc").result(60)


@pytest.mark.parametrize("how", ["by force", "time limit"])
def test_a_task_is_ended_while_it_sends_a_call(ex, how, tmp_path):
    """Half a call has been sent; what follows is not taken for the rest."""

    class SendsHalf:
        def __init__(self, link):
            self.link, self.socket = link, link.socket

        def sendall(self, data):
            if len(data) < 1000:
                return self.socket.sendall(data)
            self.socket.sendall(data[: len(data) // 2])
            self.link.socket = self.socket
            open(path, "w").close()
            time.sleep(600)

    def sends():
        here = achar.current_executor()
        link = here._connect()
        link.socket = SendsHalf(link)
        here.submit(len, bytes(10_000))

    path = str(tmp_path / "sends")
    if how == "by force":
        ended = ex.submit(sends)
        while not os.path.exists(path):
            time.sleep(0.001)
        assert ex.cancel(ended, force=True)
        with pytest.raises(concurrent.futures.CancelledError):
            ended.result(120)
    else:
        error = ex.options(timeout=0.2).submit(sends).exception(60)
        assert isinstance(error, TimeoutError), error
    assert [ex.submit(child_of_a_task).result(60) for _ in range(2)] == [3, 3]


def empty():
    os.write(6, b"")


def no_socket():
    import array
    import socket

    with socket.socket(fileno=os.dup(6)) as door, open(os.devnull) as file:
        door.sendmsg([bytes(8)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))])


@pytest.mark.parametrize("send", [empty, no_socket])
def test_what_is_sent_through_the_door(send):
    """It is ignored: a connection made before, and those made after, are answered."""

    with achar.Executor(2) as ex:
        before = ex.submit(lambda: achar.current_executor().submit(time.sleep, 0.2).result(60))
        ex.submit(send).result(60)
        after = [ex.submit(child_of_a_task) for _ in range(4)]
        assert before.result(60) is None
        assert [future.result(60) for future in after] == [3] * 4


def shuts_down():
    import socket

    with socket.socket(fileno=os.dup(6)) as door:
        door.shutdown(socket.SHUT_RDWR)


def closes():
    os.close(6)


def closes_all():
    os.closerange(3, 200)


def fills():
    import fcntl

    fcntl.fcntl(6, fcntl.F_SETFL, os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(6, b"no hello")


@pytest.mark.parametrize("spoil", [shuts_down, closes, closes_all, fills])
def test_a_door_is_its_workers_own(spoil, tmp_path):
    """While the task that has spoiled its own still runs, the others' are opened; after it, every worker's."""

    def spoils(path):
        spoil()
        open(path, "w").close()
        while os.path.exists(path):
            time.sleep(0.001)
        return os.getpid()

    path = str(tmp_path / "spoiled")
    with achar.Executor(3) as ex:
        spoiler = ex.submit(spoils, path)
        while not os.path.exists(path):
            time.sleep(0.001)
        assert [ex.submit(child_of_a_task).result(60) for _ in range(4)] == [3] * 4
        os.unlink(path)
        pid = spoiler.result(60)
        while spoil is not fills and pid in ex._pool.pids():
            time.sleep(0.001)
        assert [ex.submit(child_of_a_task).result(60) for _ in range(12)] == [3] * 12


def test_what_the_dead_have_submitted_in_peace_is_done(tmp_path):
    """Even if nobody had looked at their door before the executor ended."""

    def submits(path):
        achar.current_executor().submit(lambda: open(path, "w").close())

    with achar.Executor(1, max_tasks_per_child=1) as ex:
        for n in range(3):
            ex.submit(submits, str(tmp_path / str(n)))
    assert sorted(os.listdir(tmp_path)) == ["0", "1", "2"]


def test_tasks_of_a_task_that_closes_all_descriptors(ex, tmp_path):
    """They end with its worker, which nothing is heard of any more."""

    def parent():
        here = achar.current_executor()
        children = [here.submit(time.sleep, 600) for _ in range(2)]
        os.closerange(0, 200)
        return len(children)

    assert ex.submit(parent).result(60) == 2
    start = time.monotonic()
    ex.shutdown()
    assert time.monotonic() - start < 250  # and not 600


@pytest.mark.parametrize("data", [b"\1", b"\1" * 40, b"garbage" * 100], ids=["byte", "length", "garbage"])
def test_what_is_written_to_a_connection(ex, data):
    """It ends that connection; the next task has another."""

    def writes():
        for fd in range(3, 64):
            try:
                os.write(fd, data)
            except OSError:
                pass

    def puts():
        here = achar.current_executor()
        return here.submit(len, here.put(b"abcd")).result(60)

    for after in (child_of_a_task, puts):
        assert ex.submit(child_of_a_task).result(60) == 3
        ex.submit(writes).result(60)
        assert ex.submit(after).result(60) == (3 if after is child_of_a_task else 4)


def test_a_future_of_a_connection_that_has_ended(ex):
    """It is no argument on another connection, where its number may be another's."""

    def keeps():
        import builtins

        builtins.kept = achar.current_executor().submit(len, b"abc")
        builtins.kept.result(60)
        for fd in range(3, 64):
            try:
                os.write(fd, b"garbage" * 10)
            except OSError:
                pass

    def uses():
        import builtins

        here = achar.current_executor()
        return str(here.submit(abs, builtins.kept).exception(60)), here.submit(len, b"ab").result(60)

    ex.submit(keeps).result(60)
    text, length = ex.submit(uses).result(60)
    assert "this future" in text and length == 2


def test_no_memory_for_a_result(ex):
    """The future that it is for raises that; the others of the connection go on."""

    def parent():
        import resource

        here = achar.current_executor()
        here.submit(int).result()
        before = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20), before[1]))
        try:
            error = here.submit(bytes, 80 << 20).exception(60)
            return type(error).__name__, here.submit(len, b"abc").result(60)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    assert ex.submit(parent).result(60) == ("MemoryError", 3)


def test_results_are_let_go_of_at_the_end_of_a_task(ex):
    """And not with that worker's next call."""
    import gc

    from achar._door import Connection

    def parent():
        return [len(achar.current_executor().submit(bytes, n).result()) for n in range(5)]

    def held():
        return [len(found.futures) for found in gc.get_objects() if isinstance(found, Connection)]

    assert ex.submit(parent).result(60) == [0, 1, 2, 3, 4]
    end = time.monotonic() + 60
    while any(held()) and time.monotonic() < end:
        time.sleep(0.01)
    assert held() and not any(held())


def test_cancelling_what_could_not_be_submitted(ex):
    """The client has no task for it; the connection goes on."""

    def parent():
        from achar._nested import CANCEL

        here = achar.current_executor()
        link = here._connect()
        failed = link.submit((None, 0, 0, 0), "name", b"", [1 << 30])  # there is no such input
        link.send(CANCEL, failed._number)
        return type(failed.exception(60)).__name__, here.submit(len, b"abc").result(60)

    assert ex.submit(parent).result(60) == ("KeyError", 3)


def test_a_descriptor_of_a_connection_is_something_else_by_now(ex):
    """The next task has a connection of its own, and what is there gets nothing."""

    def replaces():
        import builtins
        import socket

        here = achar.current_executor()
        here.submit(int).result(60)
        builtins.kept = socket.socketpair()
        os.dup2(builtins.kept[0].fileno(), here._link.fd)

    def uses():
        import builtins

        length = child_of_a_task()
        builtins.kept[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            builtins.kept[1].recv(1)
        os.write(builtins.kept[0].fileno(), b"x")  # it is open
        return length, builtins.kept[1].recv(2)

    ex.submit(replaces).result(60)
    assert ex.submit(uses).result(60) == (3, b"x")


def test_the_answer_to_a_question_is_lost(ex):
    """A task may have read it: a new connection is made after a while, which this shortens."""

    def ends_without_answer():
        from achar import _nested

        here = achar.current_executor()
        here.submit(int).result(60)
        _nested.ANSWER_S = 0.2
        here._link.finish = lambda *answer: None

    ex.submit(ends_without_answer).result(60)
    assert ex.submit(child_of_a_task).result(60) == 3


def test_connections_are_let_go_of(ex):
    def ends_its_own():
        here = achar.current_executor()
        here.submit(int).result(60)
        here._link.end()

    def left():
        import gc

        from achar import _nested

        end = time.monotonic() + 60
        while len(_nested._links) > 1 and time.monotonic() < end:
            gc.collect()
            time.sleep(0.01)
        return len(_nested._links)

    for _ in range(10):
        ex.submit(ends_its_own).result(60)
    assert ex.submit(left).result(100) <= 1


def test_an_initializer_that_shuts_the_door():
    """All workers do that, so they are not replaced for it: their tasks run, but cannot submit any."""

    def puts_another():
        import builtins
        import socket

        builtins.kept = socket.socketpair()
        os.dup2(builtins.kept[0].fileno(), 6)

    def submits():
        import builtins

        builtins.kept[1].setblocking(False)
        try:
            return child_of_a_task()
        except RuntimeError as error:
            with pytest.raises(BlockingIOError):  # nothing has been sent there
                builtins.kept[1].recv(1)
            return str(error)

    with achar.Executor(2, initializer=puts_another) as ex:
        for text in [ex.submit(submits).result(60) for _ in range(4)]:
            assert "something in this worker closed it" in text
        assert list(ex.map(abs, range(-20, 0))) == list(range(20, 0, -1))

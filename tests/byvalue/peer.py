"""The other side of a conversation: an interpreter that answers requests with pickles.

Each request is a pickled (function, args) of achar.dumps, its length before it; the answer is
("ok" or "error", dumped result). Test modules talk to it through Peer.
"""

import struct
import subprocess
import sys


def read_frame(file):
    header = file.read(8)
    return file.read(struct.unpack("<Q", header)[0]) if header else None


def write_frame(file, data):
    file.write(struct.pack("<Q", len(data)) + data)
    file.flush()


class Peer:
    """with Peer() as peer: peer(function, *args) runs it there and brings back what comes of it."""

    def __enter__(self):
        import os

        from byvalue_support import PACKAGE_ROOT

        here = os.path.dirname(__file__)
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.append({here!r}); import peer; peer.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": PACKAGE_ROOT},
            cwd="/",
        )
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.stdout.close()

    def __call__(self, function, *args):
        from byvalue_support import dumps, loads

        write_frame(self.process.stdin, dumps((function, args)))
        data = read_frame(self.process.stdout)
        assert data, "the peer died"
        kind, value = loads(data)
        if kind == "error":
            raise value
        return value


def serve():
    from byvalue_support import dumps, loads

    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    while (data := read_frame(source)) is not None:
        try:
            function, args = loads(data)
            answer = dumps(("ok", function(*args)))
        except BaseException as e:
            answer = dumps(("error", e))
        write_frame(sink, answer)

"""Where the built command and the test server are, and how to talk to the server."""

import os
import pathlib
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("ACHAR_BUILD", ROOT / "build"))


def built(path):
    """A program from the build directory, which `make build` fills."""
    program = BUILD / path
    assert program.exists(), f"{program} is missing; ACHAR_BUILD names another build directory"
    return program


class Refused(Exception):
    """What the server says of a pickle that it cannot read or write."""

    def __init__(self, what, text):
        self.reading = what == 1
        self.code, offset, self.message = text.split(" ", 2)
        self.offset = int(offset)
        super().__init__(text)


class Rewriter:
    """tests/c/codec/rewrite.c: C reads a pickle and writes it again, thousands in one process."""

    def __init__(self):
        self.process = None

    def __call__(self, data, protocol, encoding=0):
        if self.process is None:
            self.process = subprocess.Popen(
                [built("tests/c/codec/rewrite")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        self.process.stdin.write(bytes([protocol, encoding]) + struct.pack("<Q", len(data)) + data)
        self.process.stdin.flush()
        header = self.process.stdout.read(9)
        if len(header) != 9:
            status, self.process = self.process.wait(), None
            pytest.fail(f"the server died ({status}) on {data!r}, protocol {protocol}")
        answer = self.process.stdout.read(struct.unpack("<Q", header[1:])[0])
        if header[0] != 0:
            raise Refused(header[0], answer.decode())
        return answer

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            assert self.process.wait() == 0


@pytest.fixture(scope="session")
def rewrite():
    rewriter = Rewriter()
    yield rewriter
    rewriter.close()


@pytest.fixture(scope="session")
def command():
    """Runs build/achar with arguments; the completed process, output in bytes."""
    program = built("achar")

    def run(*arguments, stdin=b"", cwd=None):
        return subprocess.run([program, *arguments], input=stdin, capture_output=True, timeout=200, cwd=cwd)

    return run

"""achar trace against CPython's unpickler in Python, opcode by opcode; its options and its refusals."""

import fcntl
import os
import pickle
import pty
import random
import re
import resource
import struct
import subprocess
import sys
import termios

import programs
import pytest
import trace_oracle
from conftest import ROOT, Refused, built
from golden import CASES, FILES, IDS
from hypothesis import HealthCheck, given, settings
from test_dis import values

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def compare(command, data, *arguments, full=False, **options):
    done = command("trace", *arguments, *(["--full"] if full else []), "-", stdin=data)
    assert done.returncode == 0, done.stderr
    expected = trace_oracle.trace(data, full, **options)
    for ours, theirs in zip(trace_oracle.parse(done.stdout.decode()), expected, strict=True):
        assert ours == theirs


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_golden(command, file):
    compare(command, file.read_bytes(), "-e", "latin1", encoding="latin1")


def test_golden_in_full(command):
    """Each step shows the whole memo: the small ones."""
    for file in FILES:
        if file.stat().st_size < 2000:
            compare(command, file.read_bytes(), "-e", "latin1", full=True, encoding="latin1")


@pytest.mark.parametrize("protocol", range(6))
def test_random_pickles(command, protocol):
    @given(values)
    @QUIET
    def run(value):
        compare(command, pickle.dumps(value, protocol))

    run()


def test_random_programs(command):
    for seed in range(80):
        compare(command, programs.program(seed, seed % 6, seed % 60), full=seed % 6 == 0)


def check_refusal(command, rewrite, data):
    """Where the reader refuses, the trace does, for the same reason; otherwise it comes to the end."""
    done = command("trace", "-", stdin=data)
    try:
        rewrite(data, 5)
        refused = None
    except Refused as refusal:
        refused = refusal if refusal.reading else None
    if refused is None:
        assert (done.returncode, done.stderr) == (0, b""), data
        return
    assert done.returncode == 1, data
    place, _, why = done.stderr.decode().removeprefix("achar: -: offset ").partition(": ")
    assert (int(place.split(",")[0]), why) == (refused.offset, refused.message + "\n"), data
    assert "FAULT at byte " in done.stdout.decode()


def test_every_prefix_is_refused_as_the_reader_refuses_it(command, rewrite):
    datas = [file.read_bytes() for file, name in CASES if "/o" in name or "hand" in name]
    for data in datas:
        for end in range(0, len(data), 1 + len(data) // 12):
            check_refusal(command, rewrite, data[:end])


def test_damage_is_refused_as_the_reader_refuses_it(command, rewrite):
    rng = random.Random(4)
    codes = b"()0123.]}KNIMRQPSabcdeghilopqrstuVX" + bytes(range(0x80, 0x99)) + b"\0\1\xff"
    for seed in range(600):
        file, _ = CASES[seed % len(CASES)]
        data = bytearray(file.read_bytes() if seed % 2 else programs.program(seed, seed % 6, 20))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.choice(codes)
        check_refusal(command, rewrite, bytes(data))


@pytest.mark.parametrize(
    "data, last",
    [
        (b"", ["stack  empty", "bytes   (here the input ends)"]),
        (b"K\x01", ["stack  1", "bytes  4b 01 (here the input ends)"]),
        (
            b"]q\0K\x01R.",
            ["stack  [] │ 1", "memo   memo[0] = []", "bytes  5d 71 00 4b 01 [52] 2e (here the input ends)"],
        ),
        (b"(K\x05" + b"\xff" + bytes(30), ["stack  ( │ 5", "bytes  28 4b 05 [ff]" + " 00" * 16 + " …"]),
    ],
)
def test_a_fault_shows_the_state_there(command, data, last):
    done = command("trace", "-", stdin=data)
    assert done.returncode == 1
    assert [line.strip() for line in done.stdout.decode().splitlines()[-len(last) :]] == last


def test_what_is_there_of_a_cut_frame_is_shown(command):
    """The reader refuses the frame; people want to see what is in it."""
    data = pickle.dumps({"a": [1, 2, 3], "b": "x" * 30}, 4)[:40]
    done = command("trace", "-", stdin=data)
    text = done.stdout.decode()
    assert "FAULT: a frame of" in text
    assert "FAULT at byte 32: the pickle ends inside this opcode's argument" in text
    assert "{} │ ( │ 'a' │ [1, 2, 3] │ 'b'" in text
    assert done.stderr.startswith(b"achar: -: offset 2, opcode FRAME: a frame of ")


def steps_of(done):
    return [
        (int(line[:6]), int(line[6:16])) for line in done.stdout.decode().splitlines() if line[:6].strip().isdigit()
    ]


def test_ranges(command):
    data = pickle.dumps(list(range(50)), 2)
    everything = steps_of(command("trace", "-", stdin=data))
    assert [number for number, _ in everything] == list(range(1, len(everything) + 1))
    for arguments, wanted in [
        (["--from", "5"], everything[4:]),
        (["--to", "7"], everything[:7]),
        (["--from", "5", "--to", "7"], everything[4:7]),
        (["--limit", "3"], everything[:3]),
        (["-f", "10", "-n", "2"], everything[9:11]),
        (["--from", "@20"], [step for step in everything if step[1] >= 20]),
        (["--from", "@0x14", "--to", "@30"], [step for step in everything if 20 <= step[1] <= 30]),
    ]:
        done = command("trace", *arguments, "-", stdin=data)
        assert done.returncode == 0
        assert steps_of(done) == wanted, arguments
    assert b"(not shown: what follows from byte 8 on (" in command("trace", "-n", "5", "-", stdin=data).stdout
    # the state is that of the whole pickle, whatever is shown of it
    assert b"43 below" in command("trace", "-f", "53", "-n", "1", "-", stdin=data).stdout


def test_all_pickles(command):
    first, second = pickle.dumps("first", 0), pickle.dumps(["second"], 4)
    only_first = command("trace", "-", stdin=first + second)
    assert steps_of(only_first) == [(1, 0), (2, 7), (3, 10)]
    assert f"behind the pickle: {len(second)} bytes, from byte {len(first)} on" in only_first.stdout.decode()
    both = command("trace", "--all", "-", stdin=first + second)
    assert f"\npickle 2, at byte {len(first)}\n" in both.stdout.decode()
    assert [offset for _, offset in steps_of(both)][3] == len(first)
    assert both.stdout.decode().splitlines()[-1].strip() == "result ['second']"
    damaged = command("trace", "-A", "-", stdin=first + b"\xff")
    assert damaged.returncode == 1 and f"offset {len(first)}: byte 0xff".encode() in damaged.stderr


def test_width(command):
    data = pickle.dumps([list(range(100)), "é" * 200, {"key": b"\xff" * 50}])
    for width in [10, 40, 80]:
        for line in command("trace", "--width", str(width), "-", stdin=data).stdout.decode().splitlines():
            assert len(line) <= width


def test_nothing_reaches_the_terminal_unescaped(command):
    evil = "\x1b[31m\x07\x9b31m\u202e\u2028\r\n"
    datas = [pickle.dumps([evil, evil.encode(), bytearray(evil.encode())], protocol) for protocol in range(6)]
    datas += [f"c{evil[:-2]}\n{evil[:-2]}\n.".encode(), f"P{evil[:-2]}\n.".encode(), f"I{evil}\n.".encode()]
    for data in datas:
        text = command("trace", "-", stdin=data).stdout.decode()
        assert all(c == "\n" or c.isprintable() for c in text), data


def test_colors_only_when_asked_for(command):
    data = pickle.dumps(print)
    assert b"\x1b" not in command("trace", "-", stdin=data).stdout
    colored = command("trace", "--color=always", "-", stdin=data).stdout
    assert b"\x1b[31m" in colored
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", colored) == command("trace", "-", stdin=data).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        *(["-n", number] for number in ["x", "0", "", "0x1", "99999999999999999999"]),
        *(
            [option, place]
            for option in ["-f", "-t"]
            for place in ["0", "-1", "0x1", "a", "@", "@x", "@a", "@-1", "@0x", "@0x-1", "@0x0x1"]
        ),
        *(["--width", width] for width in ["x", "-1"]),
        ["--color=red"],
        ["-e", "x"],
        ["a", "b"],
        [],
    ],
)
def test_misuse(command, arguments):
    done = command("trace", *arguments, *([] if arguments in ([], ["a", "b"]) else ["-"]), stdin=b"N.")
    assert done.returncode == 2 and b"achar trace" in done.stderr


@pytest.mark.parametrize(
    "arguments, shown",
    [(["-n", "1"], 1), (["-t", "1"], 1), (["-t", "@0"], 1), (["-t", "@1"], 1), (["-t", "@2"], 2), (["-n", "010"], 10),
     (["-f", "@0"], 21), (["-f", "08", "-t", "09"], 2)],
)  # fmt: skip
def test_ends_of_what_is_shown(command, arguments, shown):
    done = command("trace", *arguments, "-", stdin=b"\x80\x02" + b"N0" * 9 + b"N.")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(rb"(?m)^ *\d+ +\d+ +[A-Z]", done.stdout)) == shown, done.stdout


def on_a_terminal(arguments, **environment):
    """Runs the command on a pseudo-terminal of 60 columns; what arrives there."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
    env = {**os.environ, "TERM": "xterm", **environment}
    for name in ["COLUMNS", "NO_COLOR"]:
        if name not in environment:
            env.pop(name, None)
    process = subprocess.Popen(
        [built("achar"), "trace", *arguments], stdin=subprocess.DEVNULL, stdout=follower, env=env
    )
    os.close(follower)
    out = b""
    try:
        while chunk := os.read(leader, 65536):
            out += chunk
    except OSError:  # the other side is closed
        pass
    os.close(leader)
    return process.wait(timeout=200), out


def test_on_a_terminal(tmp_path):
    file = tmp_path / "a.pickle"
    file.write_bytes(pickle.dumps([list(range(30)), "x" * 100]))
    code, out = on_a_terminal([file], PAGER="sed s/^/paged:/")
    lines = out.decode().replace("\r", "").splitlines()
    assert code == 0 and all(line.startswith("paged:") for line in lines)
    assert b"\x1b[1mPROTO" in out
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line).removeprefix("paged:")) for line in lines) == 60
    code, out = on_a_terminal([file], PAGER="sed s/^/paged:/", NO_COLOR="1", COLUMNS="50")
    assert code == 0 and b"paged:" in out and b"\x1b" not in out
    assert max(len(line.removeprefix("paged:")) for line in out.decode().replace("\r", "").splitlines()) == 50
    code, out = on_a_terminal(["--no-pager", file], PAGER="sed s/^/paged:/")
    assert code == 0 and b"paged:" not in out and b"PROTO" in out


def test_a_pager_may_be_left_early(tmp_path):
    file = tmp_path / "long.pickle"
    file.write_bytes(pickle.dumps(list(range(200_000))))
    code, out = on_a_terminal([file], PAGER="head -n 1")
    assert code == 0 and out.count(b"\n") == 1


def test_a_large_memo_keeps_what_is_asked_for(command):
    """Past 2^17 entries the memo forgets what no opcode asks for; nobody may notice."""
    shared = ["shared"]
    data = pickle.dumps([shared, [str(i) for i in range(200_000)], shared], 4)
    done = command("trace", "--from", f"@{len(data) - 40}", "-", stdin=data)
    assert done.returncode == 0, done.stderr
    assert "[['shared'], ['0', '1', '2', '3', '4', '5', '6', '7', …+199992], ['shared']]" in done.stdout.decode()


def test_a_named_fifo(tmp_path):
    """What was written to it is there once, for whoever opened it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen([built("achar"), "trace", "--no-pager", fifo], stdout=subprocess.PIPE)
    try:
        with fifo.open("wb") as file:
            file.write(pickle.dumps(["through"]))
        out, _ = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == 0 and b"result ['through']" in out


def limited_to(nbytes, *arguments):
    return subprocess.run(
        [built("achar"), "trace", *arguments],
        capture_output=True,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (nbytes, nbytes)),
    )


def test_memory_does_not_grow_with_the_input(tmp_path):
    """Of four million values in one list a few are kept; the file is mapped."""
    file = tmp_path / "long.pickle"
    file.write_bytes(b"](" + b"I5\n" * 1000 + b"e" + (b"(" + b"I5\n" * 1000 + b"e") * 4000 + b".")
    done = limited_to(24 << 20, "--from", "4000000", file)
    assert done.returncode == 0, done.stderr
    assert "result [5, 5, 5, 5, 5, 5, 5, 5, …+4000992]" in done.stdout.decode()


def test_memory_does_not_grow_with_the_memo(tmp_path):
    """Of two million entries one is asked for again."""
    file = tmp_path / "long.pickle"
    file.write_bytes(b"X\4\0\0\0kept\x94" + b"]\x940" * 2_000_000 + b"h\0\x86.")
    done = limited_to(40 << 20, "--from", "6000000", file)
    assert done.returncode == 0, done.stderr
    assert "result ('kept', 'kept')" in done.stdout.decode()


@pytest.mark.parametrize("order", ["gaps", "far", "again"])
def test_a_large_memo_with_any_indexes(command, order):
    """MEMOIZE counts the entries, wherever PUT has put them and whether they are asked for or not."""
    out = bytearray(b"(")
    indexes = []
    for i in range(270_000 if order == "again" else 132_000):
        index = {"gaps": 2 * i, "far": i if i % 1000 else 10**9 + i, "again": i - i % 2}[order]
        indexes.append(index)
        out += b"Nr" + min(index, 2**32 - 1).to_bytes(4, "little") + b"0"
    count = len(set(indexes))
    for _ in range(3):
        out += b"\x8c\x03new\x94"
        indexes.append(count)
        count = len(set(indexes))
    for index in sorted(set(indexes[:5] + indexes[-6:] + indexes[131_000:131_010])):
        out += b"j" + index.to_bytes(4, "little")
    data = bytes(out) + b"t."
    done = command("trace", "--from", f"@{len(data) - 1}", "-", stdin=data)
    assert done.returncode == 0, done.stderr
    # what they are is for pickle.py to say
    shown = [repr(value) for value in pickle._loads(data)]
    assert f"({', '.join(shown[:8])}, …+{len(shown) - 8})" in done.stdout.decode()
    missing = data[:-2] + b"j" + (max(indexes) + 5).to_bytes(4, "little") + b"t."
    assert b"nothing in the memo at" in command("trace", "-f", f"@{len(missing) - 2}", "-", stdin=missing).stderr


def test_the_examples_in_the_documentation(tmp_path):
    page = (ROOT / "docs" / "trace.md").read_text()
    for python in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        subprocess.run([sys.executable, "-c", python], cwd=tmp_path, check=True, timeout=200)
    (tmp_path / "achar").symlink_to(built("achar"))
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
        shown = "".join(line + "\n" for line in block.splitlines() if not line.startswith("$ "))
        done = subprocess.run(
            ["bash", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=200,
        )
        assert done.stdout.decode() == shown

"""achar dis against pickletools: the same lines, the same refusals, the same options."""

import io
import pickle
import pickletools
import random
import subprocess
import sys

import programs
import pytest
from conftest import built
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# Not yet assigned in some Python's Unicode and printable in another's.
text = st.text(alphabet=st.characters(codec=None, exclude_categories=["Cn"]))
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), text, st.binary(), st.builds(bytearray, st.binary())
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(text, inner),
        st.sets(st.integers()),
        inner.map(lambda x: [x, x]),
    ),
    max_leaves=20,
)


def expected(data, **options):
    """What pickletools prints, and whether it then raises."""
    out = io.StringIO()
    try:
        pickletools.dis(data, out, **options)
        refused = False
    except (ValueError, IndexError):
        refused = True
    # Before some errors pickletools has printed the position and nothing else.
    printed = out.getvalue()
    printed = printed[: printed.rfind("\n") + 1]
    # 3.12 and older have a slip of the pen here.
    return printed.replace("found-byte", "four-byte"), refused


def compare(command, data, *arguments, **options):
    done = command("dis", *arguments, "-", stdin=data)
    text, refused = expected(data, **options)
    assert done.stdout.decode() == text
    assert done.returncode == refused, done.stderr
    assert (done.stderr == b"") == (not refused)


@pytest.mark.parametrize("protocol", range(6))
def test_random_pickles(command, protocol):
    @given(values)
    @QUIET
    def run(value):
        compare(command, pickle.dumps(value, protocol))

    run()


def test_random_programs(command):
    for seed in range(100):
        compare(command, programs.program(seed, protocol=seed % 6, size=seed % 60))


def test_random_damage(command):
    rng = random.Random(1)
    for seed in range(300):
        data = bytearray(programs.program(seed, protocol=seed % 6, size=20))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.choice(
                [0, 1, ord("."), ord("("), ord("0"), ord("t"), 0x85, 0x94, 0xFF]
            )
        compare(command, bytes(data))


def test_powers_of_two_as_floats(command):
    """Where the shortest decimal is hardest to find."""
    values = [2.0**i for i in range(-1074, 1024)] + [2.0**i * (1 + 2**-52) for i in range(-1022, 1023)]
    compare(command, pickle.dumps(values, 2))


def test_random_floats(command):
    rng = random.Random(2)
    values = [rng.uniform(-1, 1) * 10.0 ** rng.randrange(-320, 308) for _ in range(5000)]
    values += [float(f"{rng.randrange(10**6)}e{rng.randrange(-30, 30)}") for _ in range(5000)]
    compare(command, pickle.dumps(values, 2))


@pytest.mark.parametrize("line", [b"1_0.5_0", b"1_0e1_0", b"1__0", b"_1", b"1_", b"1_.5", b"_", b" 1_0 ", b""])
def test_floats_with_underscores(command, line):
    compare(command, b"F" + line + b"\n.")


@pytest.mark.parametrize("data", [b"'", b'"', b"'\"", b"\"'", b"\\'", b"\\"])
def test_quotes(command, data):
    """A bytearray's repr does not quote as that of bytes does."""
    compare(command, pickle.dumps([data, bytearray(data), data.decode()], 5))


@pytest.mark.parametrize("protocol", [0, 5])
def test_options(command, protocol):
    data = pickle.dumps([(1, 2), {"a": [None]}, 2**100, "x" * 50], protocol)
    compare(command, data, "-a", annotate=30)
    compare(command, data, "-l", "2", indentlevel=2)
    compare(command, data, "-l", "0", indentlevel=0)
    compare(command, data, "--annotate", "--indentlevel=7", annotate=30, indentlevel=7)


@pytest.mark.parametrize("arguments", [[], ["-a"], ["-m"], ["-p", "file {name}:"], ["-l", "1"]])
def test_like_python_m_pickletools(command, tmp_path, arguments):
    files = []
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 2)
    shared = ["shared"]
    for i, value in enumerate([shared, (shared, "two")]):
        start = buffer.tell()
        pickler.dump(value)
        file = tmp_path / f"{i}.pickle"
        file.write_bytes(buffer.getvalue()[start:])
        files.append(file)
    if "-m" not in arguments:
        files = files[:1] * 2
    theirs = subprocess.run(
        [sys.executable, "-m", "pickletools", *arguments, *files], capture_output=True, timeout=200, check=True
    )
    ours = command("dis", *arguments, *files)
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == theirs.stdout


def test_all_pickles_of_a_file(command, tmp_path):
    file = tmp_path / "two.pickle"
    first, second = pickle.dumps("first", 2), pickle.dumps("second", 2)
    file.write_bytes(first + second)
    assert command("dis", file).stdout.decode() == expected(first)[0]
    stream, out = io.BytesIO(first + second), io.StringIO()
    pickletools.dis(stream, out)
    pickletools.dis(stream, out)
    assert command("dis", "--all", file).stdout.decode() == out.getvalue()


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "offset 0: pickle exhausted before seeing STOP"),
        (b"NN", "offset 2: pickle exhausted before seeing STOP"),
        (b"N\xff", "offset 1: byte 0xff is not an opcode"),
        (b"K", "offset 0, opcode BININT1: the pickle ends inside this opcode's argument"),
        (b"h\x05.", "offset 0, opcode BINGET: memo key 5 has never been stored into"),
        (b"NN.", "offset 2, opcode STOP: the stack is not empty after STOP: [None]"),
        (b"a.", "offset 0, opcode APPEND: tries to pop 2 items from stack with only 0 items"),
        (b"e.", "offset 0, opcode APPENDS: no MARK exists on stack"),
        (b"(\x85l.", "offset 2, opcode LIST: the MARK is no longer on the stack"),
    ],
)
def test_errors_name_place_and_reason(command, data, words):
    done = command("dis", "-", stdin=data)
    assert done.returncode == 1
    assert done.stderr.decode() == f"achar: -: {words}\n"


def test_names_beyond_ascii_are_shown(command):
    done = command("dis", "-", stdin="cmodül\nKlasse\n.".encode())
    assert done.returncode == 0
    assert "'modül Klasse'" in done.stdout.decode()


@pytest.mark.parametrize("verb", ["dis", "json"])
def test_a_full_disk_is_not_the_files_fault(tmp_path, verb):
    file = tmp_path / "long.pickle"
    file.write_bytes(pickle.dumps(list(range(100_000))))
    with open("/dev/full", "wb") as full:
        done = subprocess.run([built("achar"), verb, file], stdout=full, stderr=subprocess.PIPE, timeout=200)
    assert done.returncode == 1
    assert done.stderr == b"achar: standard output: No space left on device\n"


def test_a_closed_pipe_is_an_error():
    done = subprocess.run(
        ["sh", "-c", '"$1" dis - > /dev/full', "sh", built("achar")], input=b"N.", capture_output=True, timeout=200
    )
    assert done.returncode == 1 and b"standard output" in done.stderr

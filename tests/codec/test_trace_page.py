"""achar trace --html: the states that its data describes, by a replay here and by its own script in
node; and that a pickle cannot put anything else on the page than text."""

import base64
import hashlib
import pickle
import random
import subprocess

import programs
import pytest
import trace_oracle
from conftest import ROOT
from golden import FILES, IDS
from hypothesis import HealthCheck, given, settings
from test_dis import values
from trace_page import NODE, Page, Replay, by_script, oracle

QUIET = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node on this machine")

# The whole of the page's markup, whatever is in the pickle.
TAGS = "html head meta meta meta title style body script noscript p pre script".split()


def page_of(command, data, *arguments):
    done = command("trace", "--html", *arguments, "-", stdin=data)
    assert done.returncode == 0, done.stderr
    page = Page(done.stdout.decode())
    assert [tag for tag, _ in page.elements if tag != "p"] == [tag for tag in TAGS if tag != "p"]
    return page


def compare(ours, theirs):
    for step, expected in zip(ours, theirs, strict=True):
        assert step == expected


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_golden(command, file):
    data = file.read_bytes()
    page = page_of(command, data, "-e", "latin1")
    expected = oracle(data, encoding="latin1")
    compare(Replay(page.data).lines(), expected)
    compare(trace_oracle.parse(page.text("pre")), expected[:1000])


@needs_node
def test_golden_by_its_script(command):
    datas = [file.read_bytes() for file in FILES[::2]]
    pages = [page_of(command, data, "-e", "latin1") for data in datas]
    for ours, data in zip(by_script(pages), datas, strict=True):
        compare(ours, oracle(data, encoding="latin1"))


@pytest.mark.parametrize("protocol", range(6))
def test_random_pickles(command, protocol):
    @given(values)
    @QUIET
    def run(value):
        data = pickle.dumps(value, protocol)
        compare(Replay(page_of(command, data).data).lines(), oracle(data))

    run()


def test_random_programs(command):
    datas = [programs.program(seed, seed % 6, seed % 60) for seed in range(50)]
    pages = [page_of(command, data) for data in datas]
    expected = [oracle(data) for data in datas]
    for page, steps in zip(pages, expected, strict=True):
        compare(Replay(page.data).lines(), steps)
    if NODE:
        for ours, steps in zip(by_script(pages), expected, strict=True):
            compare(ours, steps)


def test_ranges(command):
    """What was made before the first step that is shown is there, as it was."""
    rng = random.Random(3)
    pages, wanted = [], []
    for seed in range(30):
        data = programs.program(seed, seed % 6, 60)
        expected = oracle(data)
        first = rng.randrange(1, len(expected) + 1)
        last = rng.randrange(first, len(expected) + 1)
        page = page_of(command, data, "--from", str(first), "--to", str(last))
        assert page.data["first"] == first
        pages.append(page)
        wanted.append(expected[first - 1 : last])
        compare(Replay(page.data).lines(), wanted[-1])
    if NODE:
        for ours, steps in zip(by_script(pages), wanted, strict=True):
            compare(ours, steps)


def test_all_pickles(command):
    first, second = pickle.dumps(["first"] * 3), pickle.dumps({"second": [2]}, 2)
    page = page_of(command, first + second, "--all")
    expected = oracle(first) + [(len(first) + offset, *rest) for offset, *rest in oracle(second)]
    compare(Replay(page.data).lines(), expected)
    page = page_of(command, first + second)
    compare(Replay(page.data).lines(), oracle(first))
    assert page.data["note"] == f"behind the pickle: {len(second)} bytes, from byte {len(first)} on"


def test_what_is_too_long_for_a_page_is_cut_and_said_so(command):
    data = pickle.dumps(list(range(120_000)), 2)
    done = command("trace", "--html", "-", stdin=data)
    page = Page(done.stdout.decode())
    assert len(page.data["steps"]) == 100_000
    assert page.data["note"].startswith("not shown: what follows from byte ")
    assert len(page.text("pre").splitlines()) < 2100
    assert len(done.stdout) < 100 * 100_000
    assert len(page_of(command, data, "--limit", "10").data["steps"]) == 10


def test_a_fault_is_on_the_page(command):
    data = b"]q\0(K\x01K\x02eK\x05R."
    done = command("trace", "--html", "-", stdin=data)
    assert done.returncode == 1
    assert done.stderr == b"achar: -: offset 11, opcode REDUCE: a call of list\n"
    page = Page(done.stdout.decode())
    assert page.data["fault"] == {
        "message": "a call of list",
        "offset": 11,
        "opcode": "REDUCE",
        "before": "5d 71 00 28 4b 01 4b 02 65 4b 05",
        "byte": "[52]",
        "after": "2e",
    }
    assert "FAULT at byte 11: a call of list" in page.text("pre")
    for broken in [b"", b"\xff", b"N", pickle.dumps([1, 2, 3], 4)[:-3]]:
        done = command("trace", "--html", "-", stdin=broken)
        assert done.returncode == 1
        assert Page(done.stdout.decode()).data["fault"]["message"]


EVIL = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--></noscript></pre><img src=x onerror=alert(1)>",
    "]]>&lt;script&gt;&#60;",
    "\u2028\u2029\x00\x1b\x7f\ufeff",
    "'\"`${alert(1)}\\",
]


@pytest.mark.parametrize("evil", EVIL)
def test_text_of_a_pickle_stays_text(command, tmp_path, evil):
    """The page's markup is the same whatever is in the pickle, and '<' occurs in it nowhere else."""
    name = evil.replace("\0", "").replace("\n", "")
    line = name.encode("utf-8")
    datas = [pickle.dumps([evil, evil.encode(), bytearray(evil.encode()), {evil: (evil,)}], p) for p in range(6)]
    datas += [b"c" + line + b"\n" + line + b"\n(tR.", b"P" + line + b"\n.", b"(i" + line + b"\n" + line + b"\n."]
    empty = command("trace", "--html", "-", stdin=b"N.").stdout
    for data in datas:
        page = page_of(command, data)
        if evil.isascii() or data not in datas[6:]:
            compare(Replay(page.data).lines(), oracle(data))
        assert command("trace", "--html", "-", stdin=data).stdout.count(b"<") == empty.count(b"<")
    if evil.isprintable() and "/" not in evil:
        file = tmp_path / evil
        file.write_bytes(b"N.")
        done = command("trace", "--html", file.name, cwd=tmp_path)
        page = Page(done.stdout.decode())
        assert page.text("title") == page.data["title"] and evil.strip("'\"`\\") in page.data["title"]
        assert done.stdout.count(b"<") == empty.count(b"<")
    # in what is said of a fault
    done = command("trace", "--html", "-", stdin=b"I" + line + b"\n.")
    assert done.returncode == 1 and done.stdout.count(b"<") == empty.count(b"<")


def test_a_title_of_any_bytes(command, tmp_path):
    (tmp_path / "plain").write_bytes(b"N.")
    name = b"\xff\xed\xa0\x80<b>"
    (tmp_path / "plain").rename(str(tmp_path).encode().decode() + "/" + name.decode("utf-8", "surrogateescape"))
    done = command("trace", "--html", name, cwd=tmp_path)
    assert Page(done.stdout.decode()).data["title"] == repr(name)


def test_the_page_allows_itself_its_own_script_and_nothing_else(command):
    page = page_of(command, b"N.")
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")

    def allowed(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy.split("; ") == [
        "default-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        f"script-src {allowed(page.script)}",
        f"style-src {allowed(page.text('style'))}",
    ]
    for word in ["http:", "https:", "//cdn", "import(", "eval(", "innerHTML", "insertAdjacent", "document.write"]:
        assert word not in page.script + page.text("style")


@needs_node
def test_the_script_is_javascript():
    subprocess.run([NODE, "--check", ROOT / "src" / "codec" / "trace_page.js"], check=True, timeout=200)

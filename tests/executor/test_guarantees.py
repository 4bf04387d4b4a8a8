"""docs/guarantees.md names the tests that show what it promises."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`((?:test_\w+|storm)\.(?:py|c))?(?:::(\w+))?`")


def functions_of(name, cache):
    if name not in cache:
        files = [path for part in ("executor", "tasks", "c") for path in (ROOT / "tests" / part).rglob(name)]
        assert len(files) >= 1, f"{name} does not exist"
        cache[name] = "\n".join(file.read_text() for file in files)
    return cache[name]


def test_each_is_shown_by_tests_that_exist():
    promises, last, missing, cache = 0, None, [], {}
    for row in (ROOT / "docs/guarantees.md").read_text().splitlines():
        named = [match for match in NAMED.findall(row) if any(match)]
        if row.startswith("| ") and row.count("|") == 4 and "shown by" not in row and "| its future |" not in row:
            promises += 1
        for name, function in named:
            last = name or last
            text = functions_of(last, cache)
            if function and not re.search(rf"^(?:def|static void) {function}\(", text, re.MULTILINE):
                missing.append(f"{last}::{function}")
    assert not missing and promises > 30


def test_every_row_of_the_second_table_names_one():
    table = (ROOT / "docs/guarantees.md").read_text().split("| shown by |")[1].split("\n\n")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")]
    assert len(rows) > 20
    assert [row for row in rows if not any(map(any, NAMED.findall(row)))] == []

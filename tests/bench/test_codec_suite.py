"""The codec benchmark works: on tiny data, whatever peers are installed. What is slow is not judged here."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "bench" / "codec"
TIME_LIMIT_S = 800
MEASURED = ["None", "slotted dataclasses", "set", "nested", "array out of band", "pickle_list", "unpickle"]


def run(*arguments, check=True):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=TIME_LIMIT_S, env=os.environ
    )
    if check:
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def run_inside(code, tmp_path, **kwargs):
    """Runs 'code' where the suite's modules can be imported."""
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(SUITE)!r})\nFOLDER = {str(tmp_path)!r}\n")
    with script.open("a") as file:
        file.write(textwrap.dedent(code))
    return run(script, **kwargs)


def test_in_every_case_the_bytes_are_those_of_pickle_and_load_to_equal_objects():
    done = run(SUITE, "--check")
    count = re.search(r"^(\d+) cases: ", done.stdout, re.MULTILINE)
    assert int(count[1]) >= 18, done.stdout


@pytest.fixture(scope="module")
def results_path(tmp_path_factory):
    """Results of a quick run of MEASURED, as far as what they need is installed."""
    here = [name for name in MEASURED if "pickle" not in name or importlib.util.find_spec("pyperformance")]
    path = tmp_path_factory.mktemp("bench") / "results.json"
    run(SUITE, "--quick", "--only", ",".join(here), "--out", path)
    return path


def test_every_contestant_has_figures_or_a_reason_why_not(results_path):
    results = json.loads(results_path.read_text())
    cases = {case["name"]: case for case in results["cases"]}
    assert {"None", "slotted dataclasses", "set", "nested", "array out of band"} <= set(cases)
    for case in cases.values():
        directions = [direction for direction in ("dumps", "loads") if direction in case]
        one_way = {"pickle_list": ["dumps"], "unpickle": ["loads"]}
        assert directions == one_way.get(case["name"], ["dumps", "loads"])
        for direction in directions:
            for name in ("_pickle", "achar.pickle", "achar"):
                assert case[direction][name]["seconds"] > 0
            assert case[direction]["_pickle"]["ratio"] == 1
            for name in set(results["versions"]) - {"floor"}:
                assert name in case[direction] or case["refused"][name]
        if "loads" in case:
            assert case["loads"]["achar.pickle"]["floors"] > 0


def test_the_table_says_what_is_met_and_what_is_not(results_path, tmp_path):
    results = json.loads(results_path.read_text())
    results["quick"] = False
    cases = {case["name"]: case for case in results["cases"]}
    for case in cases.values():
        for direction in ("dumps", "loads"):
            if direction in case:
                case[direction]["achar.pickle"]["ratio"] = 5.0
        if "loads" in case:
            case["loads"]["achar.pickle"]["floors"] = 1.1
    cases["set"]["dumps"]["achar.pickle"].update(ratio=1.04, quartiles=[1.01, 1.12])
    cases["nested"]["loads"]["achar.pickle"].update(floors=1.37, floors_quartiles=[1.3, 1.4])
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(results))
    run(SUITE, "report", "--no-pictures", "--docs", tmp_path, changed)
    page = (tmp_path / "codec.md").read_text()
    lines = page.splitlines()

    dumps, loads = [
        page.partition(f"### {direction},")[2].partition("\n## ")[0].partition("\n### ")[0].splitlines()
        for direction in ("dumps", "loads")
    ]

    def row(name, table):
        (found,) = [line for line in table if line.startswith(f"| {name} |")]
        return found

    assert row("set", dumps).endswith("| **not met**: 1.04× (1.01 to 1.12) < 1.1× |")
    assert row("set", loads).endswith("| met |")
    assert row("nested", dumps).endswith("| met |")
    assert row("nested", loads).endswith("| **not met**: 1.37 floors (1.30 to 1.40) > 1.2 |")
    for table in (dumps, loads):
        assert len({line.count("|") for line in table if line.startswith("|")}) == 1
    assert [line for line in lines if line.startswith("- dumps: no case below 1.1×: **not met**")]
    assert [line for line in lines if line.startswith("- dumps: geometric mean at least 2.5×: met")]
    assert [line for line in lines if "every case within 1.2 floors: **not met**" in line and "nested (1.37)" in line]


def test_the_picture_is_drawn(results_path, tmp_path):
    pytest.importorskip("matplotlib")
    run(SUITE, "report", "--docs", tmp_path, results_path)
    (picture,) = tmp_path.glob("*.svg")
    text = picture.read_text()
    assert "slotted dataclasses" in text and "achar.pickle" in text
    assert picture.stat().st_size < 200_000


def test_the_floor_makes_what_pickle_makes(tmp_path):
    done = run_inside(
        """
        import dataclasses, datetime, decimal, collections, pickle
        import cases
        from equality import difference
        from floor.build import load_floor
        from floor.describe import describe

        floor = load_floor(FOLDER)
        own = [1, "own"]
        own.append({"itself": own})
        in_itself = ([],)
        in_itself[0].append(in_itself)
        order = cases.Order(1, "x", 2.5, 3, True)
        order.customer = [order, {"again": order}]
        graphs = [
            None, True, False, 0, -1, 255, 2**31, -(2**63), 2**63, -(2**200), 0.0, -0.0, float("inf"),
            "", "a", "é", "ascii", "日本", "🥒", "\\ud800", b"", b"abc", bytearray(b"abc"),
            (), (1,), [], {}, set(), frozenset(), {1, 2}, frozenset({"a", "b"}), own, in_itself, order,
            [[]] * 3, ["shared" * 3] * 3, {(1, 2): "key", None: [1.5]},
            cases.orders(cases.SlottedOrder, 3), cases.orders(cases.NamedOrder, 3), cases.request(),
            [datetime.timezone.utc, datetime.date(2020, 2, 29), datetime.timedelta(1, 2, 3), decimal.Decimal("1.50")],
            collections.OrderedDict(a=1) and [collections.OrderedDict], len, datetime.datetime.now,
        ]
        for graph in graphs:
            data = pickle.dumps(graph, 5)
            described = describe(data, floor)
            for _ in range(3):
                wrong = difference(pickle.loads(data), floor.make(described), sharing=True)
                assert wrong is None, (data, wrong)
        print(len(graphs), "graphs")
        """,
        tmp_path,
    )
    assert done.stdout.split()[1] == "graphs"


def test_the_floor_leaks_nothing_and_keeps_the_collector_as_it_was(tmp_path):
    run_inside(
        """
        import gc, pickle, sys
        import cases
        from floor.build import load_floor
        from floor.describe import describe

        floor = load_floor(FOLDER)
        described = describe(pickle.dumps([cases.request(), cases.orders(cases.Order, 100), {"x"}, 2**99], 5), floor)
        floor.make(described)
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(50):
            floor.make(described)
        gc.collect()
        assert abs(sys.getallocatedblocks() - before) < 50, sys.getallocatedblocks() - before
        assert gc.isenabled()
        gc.disable()
        floor.make(described)
        assert not gc.isenabled()
        """,
        tmp_path,
    )


def test_equality_sees_types_values_and_sharing(tmp_path):
    run_inside(
        """
        from equality import difference
        from cases import Order, NamedOrder, orders

        shared = []
        nan = float("nan")
        assert difference([1, "a", {1.5: (None,)}, {1, 2}, nan], [1, "a", {1.5: (None,)}, {1, 2}, nan]) is None
        assert difference(orders(Order, 3), orders(Order, 3), sharing=True) is None
        for a, b in [
            (1, True), (1, 1.0), ([1], (1,)), ({1: 2}, {1: 3}), ({1}, {True}), ("a", "b"), ([1, 2], [1]),
            (Order(1, "a", 0.5, 1, True), Order(1, "a", 0.5, 1, False)),
            (Order(1, "a", 0.5, 1, True), {"number": 1}), (NamedOrder(1, 2, 3, 4, 5), (1, 2, 3, 4, 5)),
        ]:
            assert difference(a, b), (a, b)
        assert difference([shared, shared], [[], []]) is None
        assert difference([shared, shared], [[], []], sharing=True)
        assert difference([[], []], [shared, shared], sharing=True)
        """,
        tmp_path,
    )


@pytest.mark.parametrize(
    "sabotage, complaint",
    [
        ("names['dumps'] = lambda obj, protocol, **k: pickle.dumps([obj, obj], protocol, **k)", "is wrong"),
        ("names['dumps'] = lambda obj, protocol, **k: pickle.dumps(obj, 4, **k)", "bytes"),
        ("names['loads'] = lambda data: [list(item) for item in pickle.loads(data)]", "is wrong"),
    ],
)
def test_nothing_is_timed_that_is_wrong(sabotage, complaint, tmp_path):
    done = run_inside(
        f"""
        import pickle, runpy
        import contestants
        make = contestants.OWN["achar.pickle"]

        def sabotaged():
            contestant = make()
            names = contestant.names
            {sabotage}
            return contestant

        contestants.OWN["achar.pickle"] = sabotaged
        sys.argv = ["bench/codec", "--quick", "--only", "shared strings", "--out", FOLDER + "/results.json"]
        runpy.run_path({str(SUITE)!r}, run_name="__main__")
        """,
        tmp_path,
        check=False,
    )
    assert done.returncode != 0
    assert "AssertionError: shared strings" in done.stderr and complaint in done.stderr
    assert not (tmp_path / "results.json").exists()

"""Results to a table, a verdict on the targets, and a picture."""

import math
import statistics

from contestants import BASELINE, FLOOR, SUBJECT

# How many times as fast as _pickle: the geometric mean, and the least in any case.
DUMPS_MEAN, DUMPS_LEAST = 2.5, 1.1
LOADS_MEAN, LOADS_LEAST = {(3, 10): 1.4, (3, 11): 1.4}, 1.0
LOADS_MEAN_LATER = 1.25
# How many times as long as the floor, at most.
LOADS_FLOORS = 1.2

COLORS = {
    SUBJECT: "#c1121f",
    "achar": "#f08a4b",
    "marshal": "#457b9d",
    "msgspec": "#2a9d8f",
    "orjson": "#8a5cb8",
    "pyfory": "#b08900",
    "larch": "#6c757d",
    FLOOR: "#000000",
}


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def ratios(results, direction, name):
    """[times as fast as _pickle] of the cases that 'name' takes part in."""
    return [case[direction][name]["ratio"] for case in results["cases"] if name in case.get(direction, {})]


def contestants_of(results, direction):
    """Names in the order of the run, the baseline left out."""
    names = [name for name in results["versions"] if name != BASELINE]
    return [name for name in names if ratios(results, direction, name)]


def shortfalls(direction, case):
    """The targets that achar.pickle misses in this case, as text with the quartiles; empty: none."""
    own = case[direction][SUBJECT]
    least = DUMPS_LEAST if direction == "dumps" else LOADS_LEAST
    missed = []
    if own["ratio"] < least:
        low, high = own["quartiles"]
        missed.append(f"{own['ratio']:.2f}× ({low:.2f} to {high:.2f}) < {least}×")
    if own.get("floors", 0) > LOADS_FLOORS:
        low, high = own["floors_quartiles"]
        missed.append(f"{own['floors']:.2f} floors ({low:.2f} to {high:.2f}) > {LOADS_FLOORS}")
    return missed


def targets(results):
    """[(what is wanted, whether it is met, what there is)] for achar.pickle."""
    version = tuple(map(int, results["python"].split(".")[:2]))
    found = []
    for direction, mean_wanted, least_wanted in (
        ("dumps", DUMPS_MEAN, DUMPS_LEAST),
        ("loads", LOADS_MEAN.get(version, LOADS_MEAN_LATER), LOADS_LEAST),
    ):
        cases = [case for case in results["cases"] if direction in case]
        if not cases:
            continue
        own = ratios(results, direction, SUBJECT)
        mean = geometric_mean(own)
        found.append((f"{direction}: geometric mean at least {mean_wanted}×", mean >= mean_wanted, f"{mean:.2f}×"))
        slow = [case["name"] for case in cases if case[direction][SUBJECT]["ratio"] < least_wanted]
        what = f"least {min(own):.2f}×" + (f"; below: {', '.join(slow)}" if slow else "")
        found.append((f"{direction}: no case below {least_wanted}×", not slow, what))
        if direction == "loads":
            floors = {case["name"]: case["loads"][SUBJECT]["floors"] for case in cases}
            above = [f"{name} ({value:.2f})" for name, value in floors.items() if value > LOADS_FLOORS]
            what = f"geometric mean {geometric_mean(floors.values()):.2f}, most {max(floors.values()):.2f}"
            what += f"; above: {', '.join(above)}" if above else ""
            found.append((f"loads: every case within {LOADS_FLOORS} floors", not above, what))
    return found


def verdict(results):
    lines = [f"{'met' if met else 'NOT MET':8} {what}: {there}" for what, met, there in targets(results)]
    return "\n".join(lines)


def progress_line(case, judged):
    parts = [f"{case['name']:20}"]
    for direction in ("dumps", "loads"):
        if direction not in case:
            parts.append(" " * (36 + 9 * judged))
            continue
        figures = case[direction]
        text = f"{direction} {figures[BASELINE]['seconds'] * 1e6:11,.2f} µs {figures[SUBJECT]['ratio']:6.2f}×"
        if "floors" in figures[SUBJECT]:
            text += f" {figures[SUBJECT]['floors']:5.2f} floors"
        if judged:
            text += "  NOT MET" if shortfalls(direction, case) else "  met    "
        parts.append(text)
    return "  ".join(parts).rstrip()


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def microseconds(seconds):
    value = seconds * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(results, direction):
    """Markdown: a row for each case, then the geometric means."""
    names = contestants_of(results, direction)
    header = ["case", f"`{BASELINE}` µs", *(f"`{name}`" if "achar" in name else name for name in names)]
    if direction == "loads":
        header.append(f"`{SUBJECT}` / floor")
    header.append("target")
    rows = []
    for case in results["cases"]:
        if direction not in case:
            continue
        figures = case[direction]
        row = [case["name"], microseconds(figures[BASELINE]["seconds"])]
        row += [number(figures[name]["ratio"]) if name in figures else "–" for name in names]
        if direction == "loads":
            row.append(number(figures[SUBJECT]["floors"]))
        missed = shortfalls(direction, case)
        row.append("**not met**: " + ", ".join(missed) if missed else "met")
        rows.append(row)
    last = ["**geometric mean**", ""]
    for name in names:
        own = ratios(results, direction, name)
        last.append(f"**{number(geometric_mean(own))}**" + ("" if len(own) == len(rows) else f" of {len(own)}"))
    if direction == "loads":
        floors = [case["loads"][SUBJECT]["floors"] for case in results["cases"] if "loads" in case]
        last.append(f"**{number(geometric_mean(floors))}**")
    rows.append([*last, ""])
    align = [":--", *["--:"] * (len(header) - 2), ":--"]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, align, *rows))


def versions_line(results):
    named = [f"{name} {version}" for name, version in results["versions"].items() if version]
    line = ", ".join(named)
    if results["absent"]:
        line += "; not here: " + ", ".join(f"{name} ({why})" for name, why in results["absent"].items())
    return line


def section(results, picture_name):
    lines = [f"## CPython {results['python']}", ""]
    if results["quick"]:
        lines += ["**A quick run on tiny data: these figures mean nothing.**", ""]
    lines += [
        f"{results['machine']}. CPython compiled {results['build']}. achar at {results['commit']}.",
        f"{versions_line(results)}.",
        f"{results['rounds']} rounds over {results['processes']} processes, {results['date']}.",
        "",
        f"![how many times as fast as _pickle, by case]({picture_name})",
        "",
        *(f"- {what}: {'met' if met else '**not met**'}; {there}" for what, met, there in targets(results)),
        "",
    ]
    if results["quick"]:
        lines = lines[: -1 - len(targets(results))]
    for direction in ("dumps", "loads"):
        if any(direction in case for case in results["cases"]):
            lines += [f"### {direction}, times as fast as `{BASELINE}`", "", table(results, direction), ""]
    return lines


INTRODUCTION = """\
# The codec, measured

<!-- made by `make bench`; edit bench/codec/report.py instead -->

`make bench` made this page: it runs `python bench/codec` with each interpreter and then
`python bench/codec report` on the results.

**How to read it.** The first column of figures is what CPython's own `_pickle` takes; all others say how
many times as fast as `_pickle` the contestant was *in the same run*. A dash: it cannot hold the data, that
is, it refuses it or gives back something that is not equal and of the same types. All picklers write
protocol 5, and before anything is timed the suite checks that `achar.pickle`'s bytes are `_pickle`'s and
that everyone gives back what they were given.

**The floor** of loads is a C extension that knows beforehand what the pickle says and only makes the
objects: same count, final sizes, by the cheapest calls of CPython's interface
([floor.c](../../bench/codec/floor/floor.c) says what is counted and why). The column
"`achar.pickle` / floor" is how many times as long achar takes; 1.0 would mean that reading the bytes is free.

**Method.** Each contestant has processes of its own for each case and direction, in which nothing else
has run; several, because where things come to lie in memory makes one faster than the next. In every
round each of them times one loop, of at least 20 ms of the thread's CPU time, in turning order; the ratio
is the median of the rounds' ratios, and where a target is missed their quartiles stand beside it. The time
to free what loads made is part of its loop, for the floor too. The garbage collector is enabled, as for
users; achar and the floor pause it inside a loads themselves. The last five cases are pyperformance's own
benchmark functions, unchanged.

"""


def page(all_results, picture_names):
    lines = [INTRODUCTION]
    for results, picture_name in zip(all_results, picture_names, strict=True):
        lines += section(results, picture_name)
    lines += ["## The cases", "", "| case | what | pickle's bytes |", "|:--|:--|--:|"]
    for case in all_results[0]["cases"]:
        nbytes = f"{case['nbytes'][BASELINE]:,}" if case["nbytes"] else ""
        lines.append(f"| {case['name']} | {case['what']} | {nbytes} |")
    lines += ["", "## The dashes", "", "| contestant | why it does not take part | in |", "|:--|:--|:--|"]
    reasons = {}
    for results in all_results:
        for case in results["cases"]:
            for name, why in case["refused"].items():
                reasons.setdefault((name, why), {})[case["name"]] = None
    for name, why in sorted(reasons, key=lambda pair: list(all_results[0]["versions"]).index(pair[0])):
        lines.append(f"| {name} | {why} | {', '.join(reasons[name, why])} |")
    return "\n".join(lines) + "\n"


def draw(results, path):
    """An SVG: a line for each case, a point for each contestant, on a log scale around _pickle's 1."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    matplotlib.rcParams["svg.hashsalt"] = "achar"  # equal results make equal files
    matplotlib.rcParams["font.family"] = "sans-serif"
    import matplotlib.pyplot as plot
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure, panels = plot.subplots(1, 2, figsize=(12, 0.3 * len(results["cases"]) + 1.6), sharex=False)
    for panel, direction in zip(panels, ("dumps", "loads"), strict=True):
        cases = [case for case in results["cases"] if direction in case]
        names = contestants_of(results, direction)
        places = range(len(cases))
        panel.set_yticks(places, [case["name"] for case in cases])
        panel.invert_yaxis()
        panel.axvline(1, color="#888888", linewidth=1)
        panel.hlines(places, 0.01, 1000, color="#eeeeee", linewidth=1, zorder=0)
        for name in sorted(names, key=(SUBJECT, "achar").__contains__):  # achar on top
            points = [
                (case[direction][name]["ratio"], place) for place, case in enumerate(cases) if name in case[direction]
            ]
            style = {"color": COLORS[name], "label": name}
            if name == SUBJECT:
                style.update(marker="o", s=48)
            elif name == FLOOR:
                style.update(marker="|", s=120, linewidth=2)
            elif name == "achar":
                style.update(marker="o", s=18)
            else:
                style.update(marker="x", s=24, linewidth=1.2)
            panel.scatter(*zip(*points, strict=True), **style)
        every = [figures["ratio"] for case in cases for figures in case[direction].values()]
        panel.set_xscale("log", base=2)
        panel.set_xlim(min(every) / 1.2, max(every) * 1.2)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(f"{direction}: times as fast as _pickle")
        for side in ("top", "right", "left"):
            panel.spines[side].set_visible(False)
        panel.tick_params(left=False)
    handles, labels = panels[1].get_legend_handles_labels()
    by_name = dict(zip(labels, handles, strict=True))
    shown = [name for name in results["versions"] if name in by_name]
    figure.legend([by_name[name] for name in shown], shown, loc="lower center", ncols=len(shown), frameon=False)
    figure.suptitle(f"CPython {results['python']}")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plot.close(figure)


def write(all_results, folder, pictures=True):
    """docs/benchmarks/codec.md and a picture for each interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    picture_names = []
    for results in all_results:
        minor = ".".join(results["python"].split(".")[:2])
        picture_names.append(f"codec-{minor}.svg")
        if pictures:
            draw(results, folder / picture_names[-1])
    page_path = folder / "codec.md"
    page_path.write_text(page(all_results, picture_names))
    print(f"{page_path} and {', '.join(picture_names)}")

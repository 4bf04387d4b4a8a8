"""docs/benchmarks/executor.md from the figures of bench/executor.py."""


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(result):
    names = list(result["median"])
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for case in result["cases"]:
        ours = result["median"]["achar"][case["key"]]
        cells = []
        for name in names:
            value = result["median"][name][case["key"]]
            ratio = ours / value if case["higher"] else value / ours
            cells.append(figure(value) + ("" if name == "achar" else f" ({ratio:.1f}×)"))
        lines.append(f"| {case['title']}, {case['unit']} | " + " | ".join(cells) + " |")
    return lines


def page(result):
    lines = [
        "# The executor, measured",
        "",
        "<!-- made by `bench/run`; edit bench/executor_page.py instead -->",
        "",
        "`python bench/executor.py` made this page: in each round each executor in turn, in an interpreter of its own;",
        f"figures are medians of {result['round_count']} rounds. CPython {result['python']}, "
        f"{result['workers']} workers, {result['processors']} processors.",
        "Absolute figures move with the machine; the ratios (in parentheses: how many times as good achar is) are what",
        "to look at. mp.Pool and ProcessPoolExecutor fork their workers, except for the first result.",
        "Each case is run before it is timed, the same for all: once, with large data up to four times, so that each",
        "worker has had them; not where it says that it is the first, nor where one run takes three seconds. Large",
        "data are not zeros. An echo gives back its argument unchanged: a numpy array is then not copied a second time",
        "by achar (docs/executor.md, Large data). Where another comes out, the time includes a look at each page.",
        *[f"Not here: {name}: {reason}" for name, reason in result["left_out"].items()],
        "",
        *table(result),
        "",
        "![how many times as good achar is as each of the others, by case](executor.svg)",
        "",
        "## Growth",
        "",
        "achar alone; each row's executor is warm and has an interpreter of its own. Few tasks at a time are measured",
        "as often as it takes to make 100,000, and the median counts. Memory is the client's resident memory while the",
        "tasks are queued.",
        "",
        "| | how many | µs each | bytes each |",
        "|---|---:|---:|---:|",
    ]
    for row in result["growth"]:
        nbytes = "" if row["nbytes"] is None else figure(row["nbytes"])
        lines.append(f"| {row['kind']} | {row['count']:,} | {row['us']:.2f} | {nbytes} |")
    lines += ["", "![time and memory of a task by how many are queued](executor-growth.svg)"]
    return "\n".join(lines) + "\n"

"""docs/benchmarks/executor.svg and executor-growth.svg from the figures of bench/executor.py (needs matplotlib)."""

import statistics


def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    matplotlib.rcParams["svg.hashsalt"] = "achar"  # equal results make equal files
    matplotlib.rcParams["font.family"] = "sans-serif"
    import matplotlib.pyplot

    return matplotlib.pyplot


def save(figure, path):
    figure.savefig(path, metadata={"Date": None})
    pyplot().close(figure)


def ratios(result, name, case):
    """How many times as good achar was as this peer, in each round that both have ended."""
    pairs = zip(result["rounds"]["achar"][case["key"]], result["rounds"][name][case["key"]])
    return [ours / theirs if case["higher"] else theirs / ours for ours, theirs in pairs]


def compared(result, path):
    """A line for each case; a peer's large mark is its median, the small ones are the rounds. Log scale, achar at 1."""
    plot = pyplot()
    from matplotlib.ticker import FuncFormatter, NullFormatter

    cases, names = result["cases"], [name for name in result["median"] if name != "achar"]
    figure, axis = plot.subplots(figsize=(10, 0.42 * len(cases) + 1.6))
    places = range(len(cases))
    axis.set_yticks(places, [case["title"] for case in cases])
    axis.invert_yaxis()
    axis.axvline(1, color="#888888", linewidth=1)
    every = []
    for number, name in enumerate(names):
        color = f"C{number}"
        for place, case in enumerate(cases):
            values = ratios(result, name, case)
            every += values
            middle = statistics.median(values)
            axis.scatter(values, [place] * len(values), color=color, s=6, alpha=0.5)
            axis.scatter([middle], [place], color=color, s=48, label=None if place else name)
    axis.hlines(places, min(every) / 2, max(every) * 2, color="#eeeeee", linewidth=1, zorder=0)
    axis.set_xscale("log")
    axis.set_xlim(min(*every, 1) / 1.3, max(every) * 1.3)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_title("how many times as good achar is")
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(left=False)
    figure.legend(loc="lower center", ncols=len(names), frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    save(figure, path)


def grown(result, path):
    """Time and memory of a queued task by how many there are; the band is 20% around the median of the times."""
    plot = pyplot()
    figure, (times, memory) = plot.subplots(1, 2, figsize=(10, 4))
    by_kind = {}
    for row in result["growth"]:
        by_kind.setdefault(row["kind"], []).append(row)
    for number, (kind, rows) in enumerate(by_kind.items()):
        counts = [row["count"] for row in rows]
        for row in rows:
            times.scatter([row["count"]] * len(row["us_rounds"]), row["us_rounds"], color=f"C{number}", s=6, alpha=0.5)
        times.plot(counts, [row["us"] for row in rows], marker="o", color=f"C{number}", label=kind)
        if len(rows) > 1:
            middle = statistics.median(row["us"] for row in rows)
            times.axhspan(middle / 1.2, middle * 1.2, color="#eeeeee", zorder=0)
    sized = [row for row in result["growth"] if row["nbytes"] is not None]
    memory.plot([row["count"] for row in sized], [row["nbytes"] for row in sized], marker="o")
    times.set_title("µs a task")
    times.legend(frameon=False)
    memory.set_title("bytes of the client's memory a queued task")
    for axis in (times, memory):
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("tasks")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    save(figure, path)


def draw(result, folder):
    compared(result, folder / "executor.svg")
    grown(result, folder / "executor-growth.svg")

"""Rounds: every contestant once in each, so that a slow minute of the machine is everybody's.

A contestant's figure is the median of its rounds; its ratio to another is the median of the rounds'
ratios, each of two measurements made within a second of one another.
"""

import statistics


def calibrate(timer, least_seconds):
    """The number of loops that take at least so long; 1 if a single one does."""
    loops = 1
    while True:
        seconds = timer(loops)
        if seconds >= least_seconds:
            return loops
        loops = max(loops + 1, min(10 * loops, int(1.2 * loops * least_seconds / max(seconds, 1e-9))))


def run_rounds(timers, rounds, least_seconds):
    """{name: [seconds for one loop, by round]} for timers {name: timer}."""
    loops = {name: calibrate(timer, least_seconds) for name, timer in timers.items()}
    seconds = {name: [] for name in timers}
    order = list(timers)
    for _ in range(rounds):
        for name in order:
            seconds[name].append(timers[name](loops[name]) / loops[name])
        order.append(order.pop(0))
    return seconds


def ratio(slower, faster):
    """(median, quartile, quartile) of slower / faster, round by round."""
    ratios = [a / b for a, b in zip(slower, faster, strict=True)]
    if len(ratios) < 2:
        return ratios[0], ratios[0], ratios[0]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, low, high

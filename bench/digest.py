"""achar.digest beside joblib.hash: microseconds for each, and how many times faster.

python bench/digest.py
"""

import timeit

import achar
import joblib
import numpy as np

OBJECTS = {
    "dict of 1,000 str to int": {f"key{i}": i for i in range(1000)},
    "list of 10,000 int": list(range(10_000)),
    "set of 1,000 str": {str(i) for i in range(1000)},
    "list of 1,000 dicts": [{"a": i, "b": [i, str(i)]} for i in range(1000)],
    "array of 1 MB": np.arange(131_072.0),
    "array of 10 MB": np.arange(1_310_720.0),
}


def microseconds(function, obj):
    timer = timeit.Timer(lambda: function(obj))
    count = max(1, int(0.02 / timer.timeit(1)))
    return timer.timeit(count) / count * 1e6


def main():
    print(f"{'':28}{'achar.digest':>14}{'joblib.hash':>14}{'ratio':>8}   (µs, median of 7 rounds in turns)")
    for name, obj in OBJECTS.items():
        rounds = [(microseconds(achar.digest, obj), microseconds(joblib.hash, obj)) for _ in range(7)]
        ratios = sorted(theirs / ours for ours, theirs in rounds)
        ours, theirs = (sorted(column)[3] for column in zip(*rounds))
        print(f"{name:28}{ours:14.1f}{theirs:14.1f}{ratios[3]:7.1f}x")


if __name__ == "__main__":
    main()

"""What runner.py starts, once for each contestant, case and direction: makes the data, then times
loops: a number of them comes in, the seconds that they took go out.

    python bench/codec/serve.py CONTESTANT CASE dumps|loads full|quick
"""

import gc
import sys

import performance
from cases import CASES
from contestants import CONTESTANTS


def make_timer(contestant, case_name, direction, quick):
    if case_name in performance.BENCHMARKS:
        return performance.timer(case_name, contestant)
    (case,) = [case for case in CASES if case.name == case_name]
    obj = case.build(quick)
    data, buffers = contestant.dump(obj, case.out_of_band)
    if direction == "dumps":
        return contestant.timer("dumps", obj=obj, buffers=buffers)
    return contestant.timer("loads", data=data, buffers=buffers)


def main():
    contestant_name, case_name, direction, size = sys.argv[1:]
    timer = make_timer(CONTESTANTS[contestant_name](), case_name, direction, size == "quick")
    for line in sys.stdin:
        gc.collect()
        print(timer(int(line)), flush=True)


main()

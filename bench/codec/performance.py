"""pyperformance's pickle benchmarks, as they are: its own functions time its own data.

They are taken from the installed package. Each calls dumps or loads of the module it is given, with
pickle's arguments; so who takes other arguments does not take part.
"""

import functools
import importlib.util
import types
from pathlib import Path

from contestants import PROTOCOL, clock

# name of the benchmark: (direction, its function, its data)
BENCHMARKS = {
    "pickle": ("dumps", "bench_pickle", ("DICT", "TUPLE", "DICT_GROUP")),
    "pickle_list": ("dumps", "bench_pickle_list", ("LIST",)),
    "pickle_dict": ("dumps", "bench_pickle_dict", ("MICRO_DICT",)),
    "unpickle": ("loads", "bench_unpickle", ("DICT", "TUPLE", "DICT_GROUP")),
    "unpickle_list": ("loads", "bench_unpickle_list", ("LIST",)),
}


@functools.cache
def find_benchmark():
    """The module bm_pickle; None where pyperformance is not installed."""
    package = importlib.util.find_spec("pyperformance")
    if package is None or importlib.util.find_spec("pyperf") is None:
        return None
    path = Path(package.origin).parent / "data-files" / "benchmarks" / "bm_pickle" / "run_benchmark.py"
    spec = importlib.util.spec_from_file_location("bm_pickle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.pyperf = types.SimpleNamespace(perf_counter=clock)  # the same clock for all cases
    return module


def objects(name):
    return [getattr(find_benchmark(), attribute) for attribute in BENCHMARKS[name][2]]


def timer(name, contestant):
    """Like Contestant.timer, by the benchmark's own function."""
    function = getattr(find_benchmark(), BENCHMARKS[name][1])
    module = types.SimpleNamespace(dumps=contestant.names["dumps"], loads=contestant.names["loads"])
    options = types.SimpleNamespace(protocol=PROTOCOL)
    return lambda loops: function(loops, module, options)

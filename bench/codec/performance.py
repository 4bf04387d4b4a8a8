"""pyperformance's pickle benchmarks, as they are: its own functions time its own data.

They are taken from the installed package. Each calls dumps or loads of the module it is given, with
pickle's arguments; so who takes other arguments does not take part.
"""

import importlib.util
import types
from pathlib import Path

from contestants import PROTOCOL
from timing import clock

# name of the benchmark: (its function, its data)
DUMPS = {
    "pickle": ("bench_pickle", ("DICT", "TUPLE", "DICT_GROUP")),
    "pickle_list": ("bench_pickle_list", ("LIST",)),
    "pickle_dict": ("bench_pickle_dict", ("MICRO_DICT",)),
}
LOADS = {
    "unpickle": ("bench_unpickle", ("DICT", "TUPLE", "DICT_GROUP")),
    "unpickle_list": ("bench_unpickle_list", ("LIST",)),
}


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


def objects(benchmark, names):
    return [getattr(benchmark, name) for name in names]


def timer(benchmark, function, contestant):
    """Like Contestant.timer, by the benchmark's own function; None if it cannot use the contestant."""
    if not (contestant.is_pickle or contestant.name == "floor"):
        return None
    module = types.SimpleNamespace(dumps=contestant.names["dumps"], loads=contestant.names["loads"])
    options = types.SimpleNamespace(protocol=PROTOCOL)
    return lambda loops: getattr(benchmark, function)(loops, module, options)

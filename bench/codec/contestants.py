"""Who takes part: how each dumps and loads, and on which data it can be compared.

'dumps' and 'loads' are statements, timed as they stand in a loop. The collector is as its users
have it: enabled, and paused only by those that pause it themselves.
"""

import dataclasses
import importlib
import itertools
import time
from pathlib import Path

PROTOCOL = 5

# The thread's CPU time, the kernel's part included: what else the machine does is not counted.
clock = time.thread_time


@dataclasses.dataclass
class Contestant:
    name: str
    dumps: str
    loads: str
    names: dict  # what the statements mean by dumps and loads
    version: str = ""
    is_pickle: bool = False  # the same functions as pickle's, buffers too
    buffered_dumps: str = "dumps(obj, 5, buffer_callback=[].append)"
    buffered_loads: str = "loads(data, buffers=buffers)"

    def statement(self, direction, out_of_band):
        return getattr(self, f"buffered_{direction}" if out_of_band else direction)

    def dump(self, obj, out_of_band):
        """(data, buffers), both as loads takes them."""
        if out_of_band:
            buffers = []
            return self.names["dumps"](obj, PROTOCOL, buffer_callback=buffers.append), buffers
        return eval(self.dumps, self.names, {"obj": obj}), None

    def load(self, data, buffers):
        statement = self.statement("loads", buffers is not None)
        return eval(statement, self.names, {"data": data, "buffers": buffers})

    def timer(self, direction, **names):
        """A function of a number of loops that says how many seconds they took."""
        statement = self.statement(direction, names.get("buffers") is not None)
        names = {**self.names, **names, "clock": clock, "repeat": itertools.repeat}
        source = (
            f"def timed(loops, {', '.join(f'{name}={name}' for name in names)}):\n"
            f"    start = clock()\n"
            f"    for _ in repeat(None, loops):\n"
            f"        {statement}\n"
            f"    return clock() - start\n"
        )
        exec(source, names)
        return names["timed"]


def pickle_like(name, module, version=""):
    names = {"dumps": module.dumps, "loads": module.loads}
    return Contestant(name, "dumps(obj, 5)", "loads(data)", names, version, is_pickle=True)


def plain(name, dumps, loads, version):
    return Contestant(name, "dumps(obj)", "loads(data)", {"dumps": dumps, "loads": loads}, version)


def make_standard():
    return pickle_like("_pickle", importlib.import_module("_pickle"))


def make_strict():
    return pickle_like("achar.pickle", importlib.import_module("achar.pickle"))


def make_superset():
    return pickle_like("achar", importlib.import_module("achar"))


def make_floor():
    """The floor of loads; its dumps is how the pickle is prepared, and is not timed."""
    from floor.build import load_floor
    from floor.describe import describe

    floor = load_floor(Path(__file__).resolve().parents[2] / "build" / "bench")
    pickle = importlib.import_module("_pickle")

    def dumps(obj, protocol, **options):
        return describe(pickle.dumps(obj, protocol, **options), floor)

    names = {"dumps": dumps, "loads": floor.make}
    return Contestant("floor", "dumps(obj, 5)", "loads(data)", names, buffered_loads="loads(data, buffers)")


def make_marshal():
    marshal = importlib.import_module("marshal")
    return plain("marshal", marshal.dumps, marshal.loads, f"version {marshal.version}")


def make_msgspec():
    msgspec = importlib.import_module("msgspec")
    return plain("msgspec", msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode, msgspec.__version__)


def make_orjson():
    orjson = importlib.import_module("orjson")
    return plain("orjson", orjson.dumps, orjson.loads, orjson.__version__)


def make_pyfory():
    pyfory = importlib.import_module("pyfory")
    # Python's own types, shared references as pickle has them, any class: what it offers in pickle's place.
    fory = pyfory.Fory(xlang=False, ref=True, strict=False)
    return plain("pyfory", fory.dumps, fory.loads, pyfory.__version__)


def make_larch():
    larch = importlib.import_module("larch.pickle")
    return plain("larch", larch.dumps, larch.loads, larch.__version__)


BASELINE, SUBJECT, FLOOR = "_pickle", "achar.pickle", "floor"
OWN = {BASELINE: make_standard, SUBJECT: make_strict, "achar": make_superset, FLOOR: make_floor}
PEERS = {
    "marshal": make_marshal,
    "msgspec": make_msgspec,
    "orjson": make_orjson,
    "pyfory": make_pyfory,
    "larch": make_larch,
}
CONTESTANTS = {**OWN, **PEERS}


def gather(peers=True):
    """(contestants, absent): a list, and {name: why it is not here} for peers that are not installed."""
    contestants = [make() for make in OWN.values()]
    absent = {}
    for name, make in PEERS.items() if peers else ():
        try:
            contestants.append(make())
        except ImportError as error:
            absent[name] = str(error)
    return contestants, absent

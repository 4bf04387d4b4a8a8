"""cloudpickle's names on achar: ``import achar.compat.cloudpickle as cloudpickle``.

What travels by name and what by value follows cloudpickle's rules. The bytes are achar's: they load
with ``pickle.loads`` where achar is installed, not where only cloudpickle is, and the other way round.
``docs/compat.md`` says what is here, and what differs.
"""

from . import cloudpickle
from .cloudpickle import *  # noqa: F403

__version__ = "3.1.2"  # of cloudpickle, as far as its names go

__all__ = [  # noqa: F405  # as cloudpickle has it
    "__version__",
    "Pickler",
    "CloudPickler",
    "dumps",
    "loads",
    "dump",
    "load",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]


def __getattr__(name):
    return getattr(cloudpickle, name)

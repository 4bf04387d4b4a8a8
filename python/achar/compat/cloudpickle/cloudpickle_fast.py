"""The names of ``cloudpickle.cloudpickle`` under the name of the module that once had them."""

from . import cloudpickle


def __getattr__(name):
    return getattr(cloudpickle, name)

"""What the saver's tests share: _pickle as the oracle, and both results in a form to compare."""

import io
import pickle
import re

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Chunks:
    """A file that remembers what each write() brought."""

    def __init__(self):
        self.chunks = []

    def write(self, data):
        self.chunks.append(bytes(data))
        return len(self.chunks[-1])


def outcome(function, *args, **kwargs):
    """The result, or the exception's class and its message without addresses."""
    try:
        return function(*args, **kwargs)
    except RecursionError:
        return "RecursionError"  # the message counts as the interpreter's own
    except Exception as error:
        return type(error), re.sub("0x[0-9a-f]+", "0x…", str(error))


def written(module, obj, protocol, **kwargs):
    """The chunks that module.dump() writes, or its exception."""
    file = Chunks()
    result = outcome(module.dump, obj, file, protocol, **kwargs)
    return result if result is not None else file.chunks


def pickled(pickler_class, objects, protocol, **kwargs):
    """What one Pickler writes for several objects, one after another."""
    file = io.BytesIO()
    pickler = pickler_class(file, protocol, **kwargs)
    results = [outcome(pickler.dump, obj) for obj in objects]
    return results, file.getvalue()

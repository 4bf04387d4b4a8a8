"""What parsl_run.py's tasks call."""


class Made:
    def __init__(self, n):
        self.n = n


def square(x):
    return Made(x) if x == 9 else x * x


def shape(items, options, log=None):
    return [items, options]


def fails(x):
    raise ValueError(x)

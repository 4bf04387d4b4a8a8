"""A Parsl task raises an exception of a class that only the worker has.

    python examples/parsl_exceptions.py parsl   with Parsl's own serializer
    python examples/parsl_exceptions.py achar   with achar's, by one line

The module `simulator` is in the worker's path and not in the client's. A task that ends well follows, to see
whether the executor still works. An answer is waited for 20 s, or as many as a second argument says.
"""

import os
import sys
import tempfile
import threading
import time
from concurrent.futures import TimeoutError as WaitedTooLong
from pathlib import Path

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

LIMIT_S = float(sys.argv[2]) if len(sys.argv) > 2 else 20
START_LIMIT_S = 90  # for the first: Parsl has a worker to start
SIMULATOR = """
class Diverged(ArithmeticError):
    def __init__(self, step, residual):
        super().__init__(f"diverged at step {step}, residual {residual:g}")

def run(step):
    raise Diverged(step, residual=1e9)
"""


@parsl.python_app
def simulate(step):
    import simulator

    return simulator.run(step)


@parsl.python_app
def double(x):
    return 2 * x


def show(name, future, limit_s=LIMIT_S):
    try:
        print(f"{name}: {future.result(timeout=limit_s)!r}")
    except WaitedTooLong:
        print(f"{name}: no answer within {limit_s:g} s")
    except Exception as error:
        print(f"{name}: {type(error).__module__}.{type(error).__name__}: {error}")
        if hasattr(error, "traceback"):
            lines = [line for line in error.traceback.splitlines() if line.strip(" ^~")]
            print("in the worker:", *lines[-3:], sep="\n  ")


def main():
    serializer = sys.argv[1] if len(sys.argv) > 1 else "achar"
    if serializer == "achar":
        import achar.engines.parsl

        achar.engines.parsl.register()

    # Parsl's result thread prints its traceback when it ends; the last line is enough here.
    threading.excepthook = lambda a: print(f"{a.thread.name} has ended: {a.exc_type.__name__}: {a.exc_value}")

    folder = Path(tempfile.mkdtemp())
    (folder / "simulator.py").write_text(SIMULATOR)
    executor = HighThroughputExecutor(
        label="local",
        address="127.0.0.1",
        encrypted=False,
        max_workers_per_node=1,
        provider=LocalProvider(init_blocks=1, max_blocks=1, worker_init=f'export PYTHONPATH="{folder}:$PYTHONPATH"'),
    )
    parsl.load(Config(executors=[executor], run_dir=str(folder / "runinfo"), strategy="none", usage_tracking=0))
    print(f"serializer: {serializer}")
    show("double(1)", double(1), START_LIMIT_S)
    show("simulate(7)", simulate(7))
    show("double(2)", double(2))
    sys.stdout.flush()
    # Parsl's own clean-up waits for its thread and its tasks; a hung one would keep this program for ever.
    executor.scale_in(1)
    executor.interchange_proc.terminate()
    time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()

"""parsl_run.py FOLDER: a run of Parsl with checkpoints there; what the tasks' functions are is in parsl_tasks.py."""

import sys

import parsl
import parsl_tasks
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor

config = dict(executors=[ThreadPoolExecutor(max_threads=1)], run_dir=sys.argv[1], initialize_logging=False)
try:
    from parsl.dataflow.memoization import BasicMemoizer

    config = Config(**config, memoizer=BasicMemoizer(checkpoint_mode="task_exit"))
except (ImportError, TypeError):
    config = Config(**config, app_cache=True, checkpoint_mode="task_exit")
parsl.load(config)
square = parsl.python_app(parsl_tasks.square, cache=True)
shape = parsl.python_app(parsl_tasks.shape, cache=True, ignore_for_cache=["log"])
fails = parsl.python_app(parsl_tasks.fails, cache=True)
futures = [square(n) for n in range(10)] + [square(x=3), shape([1, 2.5], {"b": 1, "a": None}, log="yes")]
futures.append(fails(1))
for future in futures:
    future.exception()
parsl.dfk().cleanup()

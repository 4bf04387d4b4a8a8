"""
The executors that bench/executor.py measures: how each is started, used and ended, as its users do it.

'slow' says how many times less is done where a rate is measured, so that a slow one takes about as long.
"""

import concurrent.futures
import multiprocessing
import os
import tempfile


class Achar:
    name = "achar"
    slow = 1

    def __init__(self, workers):
        import achar

        self.ex = achar.Executor(workers)

    def submit(self, fn, *args):
        return self.ex.submit(fn, *args)

    def result(self, future):
        return future.result()

    def map(self, fn, items):
        return list(self.ex.map(fn, items, chunksize=100))

    def share(self, data):
        return self.ex.put(data)

    def close(self):
        self.ex.shutdown()


class Pool:
    name = "multiprocessing.Pool"
    slow = 1

    def share(self, data):
        return data

    def __init__(self, workers):
        self.pool = multiprocessing.get_context("fork").Pool(workers)

    def submit(self, fn, *args):
        return self.pool.apply_async(fn, args)

    def result(self, handle):
        return handle.get()

    def map(self, fn, items):
        return self.pool.map(fn, items)  # its own chunking

    def close(self):
        self.pool.close()
        self.pool.join()


class ProcessPool(Achar):
    name = "ProcessPoolExecutor"

    def share(self, data):
        return data

    def __init__(self, workers):
        context = multiprocessing.get_context("fork")
        self.ex = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)


class Loky(ProcessPool):
    name = "loky"
    slow = 4

    def __init__(self, workers):
        import loky

        self.ex = loky.ProcessPoolExecutor(workers)


class Dask:
    """A LocalCluster, as Client() makes it."""

    name = "Dask"
    slow = 20

    def __init__(self, workers):
        import distributed

        self.client = distributed.Client(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
        )

    def submit(self, fn, *args):
        return self.client.submit(fn, *args, pure=False)

    def result(self, future):
        return future.result()

    def map(self, fn, items):
        return self.client.gather(self.client.map(fn, list(items), pure=False))

    def share(self, data):
        return self.client.scatter(data)

    def close(self):
        self.client.close()


class Ray:
    """As it starts on one machine: ray.init()."""

    name = "Ray"
    slow = 5

    def __init__(self, workers):
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            _temp_dir=self.folder.name,
        )
        self.ray = ray
        self.remote = {}

    def submit(self, fn, *args):
        if fn not in self.remote:
            self.remote[fn] = self.ray.remote(fn if hasattr(fn, "__code__") else lambda *args: fn(*args))
        return self.remote[fn].remote(*args)

    def result(self, reference):
        return self.ray.get(reference)

    def map(self, fn, items):
        return self.ray.get([self.submit(fn, item) for item in items])

    def share(self, data):
        return self.ray.put(data)

    def close(self):
        self.ray.shutdown()
        self.folder.cleanup()


class Htex:
    """Parsl's HighThroughputExecutor, with apps as a user writes them."""

    name = "Parsl HTEX"
    slow = 40

    def __init__(self, workers):
        import parsl
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # What submit() makes of a builtin is pickled by the name of this module.
        here = os.path.dirname(os.path.abspath(__file__))
        os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        executor = HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node=workers,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
        config = parsl.Config(executors=[executor], strategy="none", run_dir=self.folder.name, initialize_logging=False)
        self.kernel = parsl.load(config)
        self.parsl = parsl
        self.apps = {}

    def submit(self, fn, *args):
        if fn not in self.apps:
            self.apps[fn] = self.parsl.python_app(fn if hasattr(fn, "__code__") else lambda *args: fn(*args))
        return self.apps[fn](*args)

    def result(self, future):
        return future.result()

    def map(self, fn, items):
        return [future.result() for future in [self.submit(fn, item) for item in items]]

    def share(self, data):
        return data

    def close(self):
        self.kernel.cleanup()
        self.parsl.clear()
        self.folder.cleanup()


# From the constructor to the first result, workers started clean, in an interpreter that has imported it.
FIRST = {
    "achar": "import achar; s=time.perf_counter(); ex=achar.Executor({w}); ex.submit(int).result()",
    "multiprocessing.Pool": "import multiprocessing as m; s=time.perf_counter(); "
    "ex=m.get_context('spawn').Pool({w}); ex.apply(int)",
    "ProcessPoolExecutor": "import multiprocessing as m, concurrent.futures as c; s=time.perf_counter(); "
    "ex=c.ProcessPoolExecutor({w}, mp_context=m.get_context('spawn')); ex.submit(int).result()",
    "loky": "import loky; s=time.perf_counter(); ex=loky.ProcessPoolExecutor({w}); ex.submit(int).result()",
    "Dask": "import distributed as d; s=time.perf_counter(); ex=d.Client(n_workers={w}, threads_per_worker=1, "
    "dashboard_address=None); ex.submit(int).result()",
    "Ray": "import ray; s=time.perf_counter(); ray.init(address='local', num_cpus={w}, include_dashboard=False, "
    "log_to_driver=False, logging_level='error', _temp_dir=os.getcwd()); ray.get(ray.remote(lambda: 0).remote())",
    "Parsl HTEX": "import parsl, parsl.executors as e, parsl.providers as p; s=time.perf_counter(); "
    "parsl.load(parsl.Config(executors=[e.HighThroughputExecutor(address='127.0.0.1', max_workers_per_node={w}, "
    "provider=p.LocalProvider(init_blocks=1, max_blocks=1))], strategy='none', initialize_logging=False)); "
    "parsl.python_app(lambda: 0)().result()",
}

# In the order in which they are measured and shown.
PEERS = {peer.name: peer for peer in (Achar, Pool, ProcessPool, Loky, Dask, Ray, Htex)}

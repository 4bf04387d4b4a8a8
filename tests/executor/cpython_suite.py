"""CPython's own tests of concurrent.futures, with achar.Executor as ProcessPoolExecutor.

Run as a program on an interpreter that ships test.test_concurrent_futures (3.10 does, and 3.13).
achar.Future stands in for Future and achar.Executor for ProcessPoolExecutor before the tests are
imported; of the three start methods only spawn's classes are run, as achar has but one way. What is
excluded is named here, with the reason.
"""

import concurrent.futures
import concurrent.futures.process
import importlib
import pkgutil
import sys
import unittest

import achar

DEATH = "a fault stays with its task: it does not break the pool, and has an error of its own"
PRIVATE = "looks into private attributes of ProcessPoolExecutor or of its module"
START = "is about ProcessPoolExecutor's start methods"
IMPORTS = "its child process imports ProcessPoolExecutor; tests/executor/test_endings.py has the same"
LOCKS = "sends a multiprocessing lock, which only a child that multiprocessing started can receive"

EXCLUDED = {
    "test_killed_child": DEATH,
    "FailingInitializerTest.test_initializer": DEATH,
    "test_error_at_task_unpickle": DEATH,
    "test_exit_at_task_unpickle": DEATH,
    "test_crash_at_task_unpickle": DEATH,
    "test_crash_during_func_exec_on_worker": DEATH,
    "test_exit_during_func_exec_on_worker": DEATH,
    "test_crash_during_result_pickle_on_worker": DEATH,
    "test_exit_during_result_pickle_on_worker": DEATH,
    "test_error_during_result_unpickle_in_result_handler": DEATH,
    "test_exit_during_result_unpickle_in_result_handler": DEATH,
    "test_crash_big_data": DEATH,
    "test_shutdown_deadlock": DEATH,
    "test_cancel_futures": "demands that a task cannot be cancelled while its worker still starts",
    "test_traceback": PRIVATE,
    "test_saturation": PRIVATE,
    "test_idle_process_reuse_one": PRIVATE,
    "test_idle_process_reuse_multiple": PRIVATE,
    "test_max_tasks_per_child": PRIVATE,
    "test_max_tasks_early_shutdown": PRIVATE,
    "test_processes_terminate": PRIVATE,
    "test_context_manager_shutdown": PRIVATE,
    "test_del_shutdown": PRIVATE,
    "test_shutdown_no_wait": PRIVATE,
    "test_shutdown_deadlock_pickle": PRIVATE,
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": PRIVATE,
    "test_python_finalization_error": PRIVATE,
    "test_max_tasks_per_child_defaults_to_spawn_context": START,
    "test_interpreter_shutdown": IMPORTS,
    "test_submit_after_interpreter_shutdown": IMPORTS,
    "test_hang_gh83386": IMPORTS,
    "test_ressources_gced_in_workers": LOCKS,
}


def import_together(name, barrier):
    importlib.import_module(name)
    barrier.wait()


def prime(cls):
    """Its tests race the first task of a function of theirs against a sleep of 1.5 s. On a machine that is busy
    the import of their module takes longer; so every worker has made that before."""
    set_up = cls.setUp

    def set_up_and_import(self):
        set_up(self)
        barrier = achar.Barrier(self.worker_count)
        tasks = [self.executor.submit(import_together, cls.__module__, barrier) for _ in range(self.worker_count)]
        for task in tasks:
            task.result()

    cls.setUp = set_up_and_import


def classes_of_tests():
    package = importlib.import_module("test.test_concurrent_futures")
    modules = [package]
    for info in pkgutil.iter_modules(getattr(package, "__path__", [])):
        modules.append(importlib.import_module(f"{package.__name__}.{info.name}"))
    for module in modules:
        for name, value in sorted(vars(module).items()):
            if isinstance(value, type) and issubclass(value, unittest.TestCase):
                if value.__module__ == module.__name__ and ("Spawn" in name or name == "FutureTests"):
                    yield value


def main():
    # the names have to be achar's when the test modules look them up
    concurrent.futures._base.Future = concurrent.futures.Future = achar.Future
    concurrent.futures.process.ProcessPoolExecutor = achar.Executor
    concurrent.futures.ProcessPoolExecutor = achar.Executor
    suite, excluded = unittest.TestSuite(), 0
    for cls in classes_of_tests():
        if hasattr(cls, "test_first_completed"):
            prime(cls)
        for name in unittest.defaultTestLoader.getTestCaseNames(cls):
            short = cls.__name__.replace("ProcessPoolSpawn", "")
            if name in EXCLUDED or f"{short}.{name}" in EXCLUDED:
                excluded += 1
            else:
                suite.addTest(cls(name))
    result = unittest.TextTestRunner(verbosity=2 if "-v" in sys.argv else 1).run(suite)
    bad = len(result.failures) + len(result.errors)
    print(
        f"CPython {sys.version.split()[0]}: {result.testsRun - bad - len(result.skipped)} passed, "
        f"{bad} failed, {len(result.skipped)} skipped, {excluded} excluded by name"
    )
    return 1 if bad or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())

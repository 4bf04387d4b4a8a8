"""A plugin of pytest for `make stress`: hypothesis tries twenty times as many examples."""

from hypothesis import is_hypothesis_test, settings

STRESS_FACTOR = 20


def pytest_collection_modifyitems(items):
    for item in items:
        test = getattr(item, "obj", None)
        if test is not None and is_hypothesis_test(test):
            usual = test._hypothesis_internal_use_settings
            test._hypothesis_internal_use_settings = settings(usual, max_examples=usual.max_examples * STRESS_FACTOR)

"""How the tests are dealt out when pytest-xdist runs them in several processes, and what they leave to later ones."""

import gc
import signal
from pathlib import Path

import pytest

# In a shell's background job SIGINT is ignored, and so it would be by the scripts that get a Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests of these files share something that takes long to make, so one process runs them: the processes
# take one test each, or one group.
GROUPS = {
    "tests/package/test_library.py": "installed",
    "tests/package/test_manual.py": "installed",
    "tests/package/test_wheel.py": "wheel",
    "tests/demo/test_demo.py": "demo",
    "tests/bench/test_codec_suite.py": "bench",
    "tests/record/test_totals.py": "record",
    "tests/record/test_top.py": "top",
}


def pytest_configure(config):
    """Modules of tests are imported by their base names: a whole run could not import two of one name."""
    seen = {}
    for path in Path(__file__).parent.rglob("test_*.py"):
        if seen.setdefault(path.name, path) is not path:
            raise pytest.UsageError(f"{path} and {seen[path.name]} need different names")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        """The groups first, since the largest begin."""

        def _split_scope(self, nodeid):
            return GROUPS.get(nodeid.split("::")[0], nodeid)

    return GroupScheduling(config, log)


@pytest.fixture(autouse=True, scope="module")
def nothing_old_is_collected():
    """Tests that look for leaks call the collector thousands of times: it need not see the modules each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()

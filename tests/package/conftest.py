import pytest
from package_support import Installation


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The C part alone, installed under a prefix of its own."""
    return Installation(tmp_path_factory.mktemp("installed"))

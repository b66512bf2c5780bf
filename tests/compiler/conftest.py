"""What the tests of the compiler share: the demo zoo, fetched once for the whole run."""

import os
from pathlib import Path

import pytest

from compiler.fetch import fetch_demo, fetch_images
from targets.errors import ZooError


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace folder with the demo donors and photographs.

    DERYCC_TEST_HOME names one to keep between runs; without it they are fetched for this run.
    """
    chosen = os.environ.get("DERYCC_TEST_HOME")
    home = Path(chosen) if chosen else tmp_path_factory.mktemp("home")
    try:
        fetch_images(home)
        fetch_demo(home)
    except ZooError as error:
        pytest.skip(f"the demo weights cannot be fetched here: {error}")
    return home

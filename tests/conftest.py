"""Pytest plugins and Hypothesis settings for all tests, and what the processes of a session share."""

import os
import random
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from tests.progress import ProgressPlugin

pytest_plugins = ["tests.lab.fixtures"]

# Set before the pytest-xdist workers start: all of them must collect the same tests.
os.environ.setdefault("CHAOS_SEED", str(random.SystemRandom().randrange(10**6)))

# A starting session closes pytest's usual directory to other users. The embedded PostgreSQL of a session that runs
# beside it works there as another user.
_TEMPROOT = "PYTEST_DEBUG_TEMPROOT"
_created = tempfile.mkdtemp(prefix="t-") if _TEMPROOT not in os.environ else None
if _created:
    os.environ[_TEMPROOT] = _created

# How long an example takes, and its construction, depends on the load of the machine.
settings.register_profile("no time limits", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no time limits")


@pytest.hookimpl(trylast=True)  # after the terminal's own plugin has been registered
def pytest_configure(config: pytest.Config) -> None:
    """Show the progress where pytest-xdist runs the tests: on the controller."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if config.getoption("numprocesses", None) and terminal is not None:
        config.pluginmanager.register(ProgressPlugin(terminal))


def pytest_sessionfinish(exitstatus: int) -> None:
    """Remove the temporary directories of a successful session. Only the process that created them has their name."""
    if _created and exitstatus == 0:
        shutil.rmtree(_created)

"""Pytest plugins and Hypothesis settings for all tests, and the random seed that the processes of a session share."""

import os
import random

from hypothesis import settings

pytest_plugins = ["tests.lab.fixtures"]

# Set before the pytest-xdist workers start: all of them must collect the same tests.
os.environ.setdefault("CHAOS_SEED", str(random.SystemRandom().randrange(10**6)))

# The time of one example depends on the load of the machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

"""Pytest plugins for all tests, and the random seed that the processes of a test session share."""

import os
import random

pytest_plugins = ["tests.lab.fixtures"]

# Set before the pytest-xdist workers start: all of them must collect the same tests.
os.environ.setdefault("CHAOS_SEED", str(random.SystemRandom().randrange(10**6)))

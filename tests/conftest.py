"""Plugins that tests in every folder may use, and what all processes of one run of the tests must agree on."""

import os
import random

pytest_plugins = ["tests.lab.fixtures"]

# Drawn before the processes that share the tests are started: all have to find the same tests.
os.environ.setdefault("CHAOS_SEED", str(random.SystemRandom().randrange(10**6)))

"""Plugins that tests in every folder may use."""

pytest_plugins = ["tests.lab.fixtures"]

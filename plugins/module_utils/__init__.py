"""Shared code of the takeover's plugins. It runs on the controller, except for `programs`."""

"""Errors of the lab itself."""


class LabError(Exception):
    """The lab cannot do what was asked; the message is a sentence for a person."""

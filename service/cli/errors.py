"""Errors of the commands that the user can correct, with their exit statuses."""

from typing import ClassVar


class ClientError(Exception):
    """An error that the user can correct; the text is one sentence, often the service's error message.

    `exit_status` is that of the command: docs/operators.md, "Exit statuses".
    """

    exit_status: ClassVar[int] = 1


class InvalidUsage(ClientError):
    """The options or arguments of a command are invalid, or a file that they name cannot be read."""

    exit_status = 2


class ServiceUnreachable(ClientError):
    """The service did not send a valid response, or one with status 503: it cannot execute the request now."""

    exit_status = 3


class RequestRejected(ClientError):
    """The service has rejected a request, or does not have what it names."""

    exit_status = 4

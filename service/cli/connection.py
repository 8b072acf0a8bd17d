"""Options of the commands that call the service: its URL and the credentials."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate

import typer

from service.cli.client import Client
from service.cli.errors import InvalidUsage

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_PASSWORD_FILE = Path("data/admin-password")
SECRET_FILE = "OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE"  # noqa: S105 - a name; the plugins read it too
FORMER_SECRET_FILE = "OBPROXY_TAKEOVER_SECRET_FILE"  # noqa: S105 - a name

Url = Annotated[str, typer.Option(metavar="URL", envvar="OBPROXY_TAKEOVER_URL", help="URL of the service.")]
User = Annotated[str, typer.Option(metavar="NAME", envvar="OBPROXY_TAKEOVER_USER", help="User name.")]
PasswordFile = Annotated[
    Path,
    typer.Option(metavar="FILE", envvar="OBPROXY_TAKEOVER_PASSWORD_FILE", help="File that contains the password."),
]
AccessKey = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        envvar="OBPROXY_TAKEOVER_ACCESS_KEY",
        help="Access key that signs requests, instead of a password.",
    ),
]
SecretFile = Annotated[
    Path | None,
    typer.Option(envvar=SECRET_FILE, metavar="FILE", help="File that contains the secret of the access key."),
]


def connect(
    *,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
    access_key: AccessKey = None,
    secret_file: SecretFile = None,
) -> Client:
    """Return a client for these options. Raise InvalidUsage when they conflict or a file cannot be read."""
    if access_key is None:
        return Client(url, read_secret(password_file, "password"), user=user)
    if secret_file is None and FORMER_SECRET_FILE in os.environ:
        raise InvalidUsage(f"{FORMER_SECRET_FILE} is not read any more. Name the file in {SECRET_FILE}.")
    if secret_file is None:
        raise InvalidUsage("An access key needs a secret. Name the file that contains it: --secret-file.")
    return Client(url, read_secret(secret_file, "access key's secret"), access_key=access_key)


def read_secret(file: Path, what: str) -> str:
    """Return the text in `file`. Raise InvalidUsage when it cannot be read or is empty."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise InvalidUsage(f"The {what} cannot be read: {file} is not text.") from None
    except OSError as error:
        raise InvalidUsage(f"The {what} cannot be read: {error}") from error
    if not secret:
        raise InvalidUsage(f"The {what} cannot be read: {file} is empty.")
    return secret


def with_client[**Given](command: Callable[Concatenate[Client, Given], None]) -> Callable[..., None]:
    """Add the options of `connect` to a command, and call it with the client that they describe."""
    own = list(inspect.signature(command).parameters.values())[1:]
    shared = inspect.signature(connect).parameters.values()

    def run(**given: Any) -> None:
        with connect(**{parameter.name: given.pop(parameter.name) for parameter in shared}) as client:
            command(client, **given)  # type: ignore[call-arg]

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run

"""The options that every command of a caller has: where the service is, and who asks."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate

import typer

from service.cli.client import Client, Refused

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_PASSWORD_FILE = Path("data/admin-password")

Url = Annotated[str, typer.Option(envvar="OBPROXY_TAKEOVER_URL", help="Where the service is.")]
User = Annotated[str, typer.Option(envvar="OBPROXY_TAKEOVER_USER", help="Who asks.")]
PasswordFile = Annotated[
    Path, typer.Option(envvar="OBPROXY_TAKEOVER_PASSWORD_FILE", help="File with the user's password.")
]
AccessKey = Annotated[
    str | None,
    typer.Option(envvar="OBPROXY_TAKEOVER_ACCESS_KEY", help="Sign with this access key instead of a password."),
]
SecretFile = Annotated[
    Path | None, typer.Option(envvar="OBPROXY_TAKEOVER_SECRET_FILE", help="File with the access key's secret.")
]


def connect(
    *,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
    access_key: AccessKey = None,
    secret_file: SecretFile = None,
) -> Client:
    """A client as the options say; raises Refused when they do not fit or a file cannot be read."""
    if access_key is None:
        return Client(url, read_secret(password_file, "password"), user=user)
    if secret_file is None:
        raise Refused("An access key needs the file with its secret: --secret-file.")
    return Client(url, read_secret(secret_file, "access key's secret"), access_key=access_key)


def read_secret(file: Path, what: str) -> str:
    """Return the text in `file`. Raise Refused when it cannot be read or is empty."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise Refused(f"The {what} cannot be read: {file} is not text.") from None
    except OSError as error:
        raise Refused(f"The {what} cannot be read: {error}") from error
    if not secret:
        raise Refused(f"The {what} cannot be read: {file} is empty.")
    return secret


def calling[**Given](command: Callable[Concatenate[Client, Given], None]) -> Callable[..., None]:
    """A command that has these options, for one that wants a client."""
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

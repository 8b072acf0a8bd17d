"""The settings, read once from environment variables with the prefix TAKEOVER_."""

import base64
import difflib
import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, Field, FilePath, SecretStr, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.model.errors import SettingsInvalid
from service.model.fleet import MAX_PORT

PREFIX = "TAKEOVER_"
WEBHOOK_KEY_PREFIX = "whsec_"
RUNS_OWN = frozenset(
    (
        *("JOB_ID", "OBPROXY_TAKEOVER", "TMPDIR"),
        *("ANSIBLE_SSH_CONTROL_PATH_DIR", "ANSIBLE_LOCAL_TEMP", "AWX_ISOLATED_DATA_DIR"),
    )
)
"""Environment variables with a value of their own in each run."""

_SERVICE = Path(__file__).resolve().parents[1]
_SHIPPED = _SERVICE / "project" / "ansible_collections" / "obproxy" / "takeover"
PROJECT = _SHIPPED if _SHIPPED.is_dir() else _SERVICE.parent
"""The directory with playbooks, roles, plugins, inventory and ansible.cfg: the wheel's collection, or the checkout."""


def _with_certificate(key: Path | None, info: ValidationInfo) -> Path | None:
    if (key is None) != (info.data.get("tls_certificate") is None):
        raise ValueError("it and TAKEOVER_TLS_CERTIFICATE must be set together")
    return key


def _networks(text: str) -> str:
    for network in text.split(",") if text else ():
        ip_network(network.strip())
    return text


def _http_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        is_valid = not text or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:  # of the port, or of brackets
        is_valid = False
    if not is_valid:
        raise ValueError("it must be a URL with http or https and a host")
    return url


def _webhook_secret(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    text = secret.get_secret_value()
    if bool(text) != bool(info.data.get("notify_url", secret).get_secret_value()):
        raise ValueError("it and TAKEOVER_NOTIFY_URL must be set together")
    try:
        key = base64.b64decode(text.removeprefix(WEBHOOK_KEY_PREFIX), validate=True)
    except ValueError:
        key = b""
    if text and not (text.startswith(WEBHOOK_KEY_PREFIX) and 24 <= len(key) <= 64):
        raise ValueError(f"it must be {WEBHOOK_KEY_PREFIX} and the base64 of 24 to 64 bytes")
    return secret


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"there is no file or directory {path}")
    return path


def _variable_names(text: str) -> str:
    for name in _split(text):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is not the name of an environment variable")
        if name.startswith(PREFIX) or name in RUNS_OWN:
            raise ValueError(f"{name} is the service's own and is not passed on")
    return text


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


RunStart = Literal["forked", "plain"]
LogFormat = Literal["text", "json"]


MAX_INTERVAL = 366 * 24 * 3600.0  # seconds; PostgreSQL and the event loop reject much longer ones
RetentionDays = Annotated[int, Ge(0), Le(36_500)]
"""Days of a retention period, at most 100 years: PostgreSQL has no time before 4714 BC."""


class Settings(BaseSettings):
    """All settings with their defaults. Relative paths are relative to the working directory."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    database_url: SecretStr = SecretStr("")
    """libpq connection string of an external PostgreSQL; empty = an embedded one in data_dir."""

    data_dir: Path = Path("data")
    """Directory of the embedded database, the key and the administrator's first password; made with mode 0700."""

    inventory: Annotated[Path, AfterValidator(_existing)] = PROJECT / "inventory"
    """Ansible inventory: a file, a directory, or anything an inventory plugin reads."""

    vault_password_file: FilePath | None = None
    """Ansible Vault password file, or an executable that prints the password."""

    inventory_environment: Annotated[str, AfterValidator(_variable_names)] = ""
    """Names of environment variables, separated by commas, that are passed on to inventory plugins and runs."""

    host: str = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(MAX_PORT)] = 8080

    worker: bool = True
    """Whether `serve` also runs a worker; otherwise `worker` processes execute the takeovers."""

    worker_metrics_port: Annotated[int, Ge(0), Le(MAX_PORT)] = 0
    """Port at `host` where a `worker` process serves GET /metrics without authentication; 0 = off."""

    worker_concurrency: Annotated[int, Ge(0), Le(1000)] = 0
    """Maximum of task instances that one worker runs at the same time; 0 = chosen from processors and memory."""

    cluster_concurrency: Annotated[int, Ge(0)] = 0
    """Maximum of takeovers into one OBProxy cluster that run at the same time, over all workers; 0 = no limit."""

    run_start: RunStart = "forked"
    """Start of a run: forked from a process that has Ansible imported, or as a program (plain), which takes longer."""

    retention_days_logs: RetentionDays = 0
    """Days after which the logs of ended task instances are deleted; 0 = never."""

    retention_days_tasks: RetentionDays = 0
    """Days after which ended task instances are deleted; 0 = never."""

    retention_days_audit: RetentionDays = 0
    """Days after which audit records are deleted; 0 = never."""

    shutdown_grace: Annotated[float, Ge(0), Le(MAX_INTERVAL)] = 20.0
    """Seconds that the runs of a stopping worker may continue before they are ended and requeued."""

    server_check_interval: Annotated[float, Ge(0), Le(MAX_INTERVAL)] = 30.0
    """Seconds between two health checks of every managed OBProxy server; 0 = never."""

    server_check_timeout: Annotated[float, Gt(0), Le(MAX_INTERVAL)] = 3.0
    """Timeout of a health check, in seconds; each server is probed at most twice."""

    server_look_interval: Annotated[float, Ge(0), Le(MAX_INTERVAL)] = 6 * 3600.0
    """Seconds between two discoveries of an OBProxy server (playbooks/discover.yml on its host); 0 = never."""

    secret_key: SecretStr = SecretStr("")
    """Keys for secrets in the database (urlsafe base64 of 32 bytes each), separated by spaces.

    The first key encrypts, the others only decrypt. Empty = a key is generated in data_dir/secret-key.
    """

    body_limit: Annotated[int, Ge(1024)] = 1024 * 1024
    """Maximum size of a request body, in bytes."""

    hosts_limit: Annotated[int, Ge(1), Le(10_000)] = 1000
    """Maximum of hosts in one request, such as takeOver or discover."""

    tls_certificate: FilePath | None = None
    """PEM file with the certificate and its chain. With it and tls_key, the service serves HTTPS instead of HTTP."""

    tls_key: Annotated[FilePath | None, AfterValidator(_with_certificate), Field(validate_default=True)] = None
    """PEM file with the private key of the certificate, without a passphrase."""

    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    """Addresses or networks of proxies, separated by commas, whose X-Forwarded-For header is trusted."""

    session_hours: Annotated[int, Ge(1), Le(720)] = 12
    """Hours until a login to the pages expires."""

    rate_limit: Annotated[int, Ge(0)] = 5000
    """Maximum of requests per user and process within 10 seconds; 0 = no limit."""

    rate_limit_minute: Annotated[int, Ge(0)] = 20_000
    """Maximum within a minute."""

    rate_limit_hour: Annotated[int, Ge(0)] = 600_000
    """Maximum within an hour."""

    rate_limit_day: Annotated[int, Ge(0)] = 7_200_000
    """Maximum within a day."""

    notify_url: Annotated[SecretStr, AfterValidator(_http_url)] = SecretStr("")
    """URL that gets a webhook at the end of each task instance and request; empty = none."""

    notify_secret: Annotated[SecretStr, AfterValidator(_webhook_secret), Field(validate_default=True)] = SecretStr("")
    """Secret that signs the webhooks, by the Standard Webhooks scheme: whsec_ and the base64 of 24 to 64 bytes."""

    otel_endpoint: str = ""
    """URL of the OTLP collector for traces (http://host:4318); empty = no traces."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    log_format: LogFormat = "text"
    """Format of the log: lines of text, or one JSON object per line."""

    @property
    def inventory_environment_names(self) -> list[str]:
        """The names in `inventory_environment`."""
        return _split(self.inventory_environment)

    @property
    def trusted_proxy_networks(self) -> list[str]:
        """The networks in `trusted_proxies`."""
        return _split(self.trusted_proxies)

    @property
    def rate_limits(self) -> Mapping[int, int]:
        """The limits by window in seconds, without windows that have no limit (docs/reference/ocp-api.md 4.4)."""
        limits = {
            10: self.rate_limit,
            60: self.rate_limit_minute,
            3600: self.rate_limit_hour,
            86_400: self.rate_limit_day,
        }
        return {seconds: limit for seconds, limit in limits.items() if limit}


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raises SettingsInvalid, which names every unknown or invalid variable."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = [name for name in environment if name.startswith(PREFIX) and name not in known]
    problems = [f"{name} is not a setting{_suggest(name, known)}" for name in sorted(unknown)]
    try:
        settings = Settings()
    except ValidationError as error:
        problems += map(_describe, error.errors())
    if problems:
        raise SettingsInvalid(reason="; ".join(problems))
    return settings


def take() -> Settings:
    """Read the settings and remove the secret ones from the environment, which child processes inherit."""
    settings = load()
    for name, field in Settings.model_fields.items():
        if field.annotation is SecretStr:
            os.environ.pop(PREFIX + name.upper(), None)
    return settings


def _describe(error: ErrorDetails) -> str:
    """Return the setting, its rule and, unless it is secret, the value that was found."""
    name = str(error["loc"][0])
    rule = error["msg"].removeprefix("Value error, ")
    if error["input"] is None or Settings.model_fields[name].annotation is SecretStr:
        return f"{PREFIX}{name.upper()}: {rule}"
    return f"{PREFIX}{name.upper()}: {rule}. Found: {error['input']!r}"


def _suggest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""

"""The files of a run, and all that is secret in it: its child opens, renders and hides it, nobody else does."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import SecretStr

from service.inventory.reader import Cluster, Host, Unsafe
from service.outcome.masking import Hidden, masker
from service.outcome.redaction import Mask
from service.store.keyring import Sealed

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 - the output is YAML, every value goes through the filter yaml
    keep_trailing_newline=True,
    trim_blocks=True,
)
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # what YAML takes as escapes only


def _yaml(value: object) -> str:
    """`value` as YAML on one line; what is `Unsafe` or was encrypted as data, never a template: as in Ansible."""
    match value:
        case SecretStr():
            return _yaml(Unsafe(value.get_secret_value()))
        case Unsafe() | Hidden():
            return f"!unsafe {_yaml(str(value))}"
        case str():
            # Not with ASCII alone: YAML does not put the two halves of an escaped character together again.
            quoted = json.dumps(value, ensure_ascii=False)
            return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
        case Mapping():
            return "{" + ", ".join(f"{_yaml(str(key))}: {_yaml(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value)


_templates.filters["yaml"] = _yaml
# Read now: in the server that runs are forked from, where all of them find them.
_FILES = {
    "inventory/hosts.yml": _templates.get_template("inventory.yml.j2"),
    "env/extravars": _templates.get_template("vars.yml.j2"),
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """With which values, on what: what the inventory says, and what the request has said in secret."""

    host: Host
    cluster: Cluster
    sql_port: int
    allow_restart: bool | None = None  # what the request says; None = the cluster's word
    sealed: Sealed = field(default_factory=Sealed)


def write(directory: Path, given: Given) -> Mask:
    """Write inventory and vars of a run into its private directory (files 0600); what hides the secrets in them.

    Raises DecryptionFailed and OSError.
    """
    secrets = given.sealed.open()
    cluster = given.cluster.as_asked(given.allow_restart)
    values = {"host": given.host, "cluster": cluster, "sql_port": given.sql_port, "secrets": secrets}
    for target, template in _FILES.items():
        path = directory / target
        path.parent.mkdir(mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(template.render(values))
    opened = {name: Hidden(secret.get_secret_value()) for name, secret in secrets.items()}
    return masker([given.host.variables, given.cluster.variables, opened])

"""The files of a run, and all that is secret in it: its child opens, writes and hides it, nobody else does."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import SecretStr

from service.inventory.records import Cluster, Host
from service.model.tasks import ALLOW_RESTART
from service.outcome.masking import Mask, hiding
from service.store.keyring import Sealed

if TYPE_CHECKING:
    from service.inventory.ansible_inventory import Held

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 - the output is YAML, every value goes through the filter yaml
    keep_trailing_newline=True,
    trim_blocks=True,
)
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # what YAML takes as escapes only


def _yaml(value: object) -> str:
    """Return `value` as YAML on one line; text that a caller has given as data, never a template."""
    match value:
        case SecretStr():
            return _yaml(value.get_secret_value())
        case str():
            # Not with ASCII alone: YAML does not put the two halves of an escaped character together again.
            quoted = json.dumps(value, ensure_ascii=False)
            return "!unsafe " + _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(str(key))}: {_yaml(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value)


_templates.filters["yaml"] = _yaml
# Read now: in the server that runs are forked from, where all of them find it.
_VARIABLES = _templates.get_template("vars.yml.j2")


@dataclass(frozen=True, kw_only=True)
class Given:
    """With which values, on what: names in the inventory, and what the request says."""

    host: Host
    cluster: Cluster
    sql_port: int
    allow_restart: bool | None = None  # what the request says; None = the inventory's value counts
    sealed: Sealed = field(default_factory=Sealed)
    variables: Mapping[str, object] = field(default_factory=dict)  # of the playbook that is run, if it needs any


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a run's `ansible-playbook` is given, beside its extra variables; `mask` hides all secrets of the run."""

    sources: list[str]
    limit: str
    mask: Mask


def write(directory: Path, given: Given, held: "Held") -> Files:
    """Write the files of a run into its private directory (files 0600), and make `held` the inventory of the run.

    Raises DecryptionFailed, OSError and AnsibleError.
    """
    from service.inventory import membership, service_view
    from service.inventory.ansible_inventory import fits_on_command_line, limit

    host, cluster = given.host, given.cluster
    sources = [str(held.source)]
    if not host.is_in(cluster):
        text = membership.source(host.name, cluster.group, held.clusters)
        sources.append(str(_write(directory / "inventory" / "member.yml", text)))
        held.add_source(Path(sources[-1]))
    secrets = given.sealed.open()
    variables, known = service_view.of_run(held, host.name)
    extra = {
        **({} if "obproxy_cluster_name" in variables else {"obproxy_cluster_name": cluster.name}),
        **({} if given.allow_restart is None else {ALLOW_RESTART: given.allow_restart}),
        **given.variables,
        **secrets,
        "obproxy_cluster_id": cluster.id,
        "obproxy_sql_port": given.sql_port,
    }
    _write(directory / "env" / "extravars", _VARIABLES.render(variables=extra))
    pattern = limit(host.name)
    if not fits_on_command_line(pattern):
        pattern = f"@{_write(directory / 'limit', pattern)}"
    opened = {secret.get_secret_value() for secret in secrets.values()}
    return Files(sources=sources, limit=pattern, mask=hiding(known | opened))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return path

"""Writes the files of a run into its private directory. Only the run's child decrypts the secrets of a request."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import SecretStr

from service.model.tasks import ALLOW_RESTART
from service.outcome.masking import Mask, hiding
from service.runs.spec import RunInputs

if TYPE_CHECKING:
    from service.inventory.ansible_inventory import LoadedInventory

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 - the output is YAML, and every value passes the filter `yaml`
    keep_trailing_newline=True,
    trim_blocks=True,
)
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # YAML accepts these only as escapes


def _yaml(value: object) -> str:
    """Return `value` as YAML on one line. Text is marked `!unsafe`, so that Ansible never templates it."""
    match value:
        case SecretStr():
            return _yaml(value.get_secret_value())
        case str():
            # Not ASCII only: YAML does not combine the two escapes of a surrogate pair.
            quoted = json.dumps(value, ensure_ascii=False)
            return "!unsafe " + _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(str(key))}: {_yaml(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value)


_templates.filters["yaml"] = _yaml
# Compiled at import, in the fork server, once for all runs.
_VARIABLES = _templates.get_template("vars.yml.j2")


@dataclass(frozen=True, kw_only=True)
class Files:
    """Arguments of `ansible-playbook` (inventory sources, `--limit`), and the mask of all secrets of the run."""

    sources: list[str]
    limit: str
    mask: Mask


def write(directory: Path, inputs: RunInputs, loaded: "LoadedInventory") -> Files:
    """Write the files of a run into its private directory (files 0600), and add the requested membership to `loaded`.

    Raises DecryptionFailed, OSError and AnsibleError.
    """
    from service.inventory import membership, service_view
    from service.inventory.ansible_inventory import fits_on_command_line, limit_pattern

    host, cluster = inputs.host, inputs.cluster
    sources = [str(loaded.source)]
    if cluster is not None and not host.is_in(cluster):
        text = membership.inventory_source(host.name, cluster.group, loaded.clusters)
        sources.append(str(_write(directory / "inventory" / "member.yml", text)))
        loaded.add_source(Path(sources[-1]))
    secrets = inputs.encrypted_secrets.decrypt()
    variables, known = service_view.variables_and_secrets(loaded, host.name)
    named = {} if cluster is None or "obproxy_cluster_name" in variables else {"obproxy_cluster_name": cluster.name}
    extra = {
        **named,
        **({} if inputs.allow_restart is None else {ALLOW_RESTART: inputs.allow_restart}),
        **inputs.variables,
        **secrets,
        **({} if cluster is None else {"obproxy_cluster_id": cluster.id}),
        "obproxy_sql_port": inputs.sql_port,
    }
    _write(directory / "env" / "extravars", _VARIABLES.render(variables=extra))
    pattern = limit_pattern(host.name)
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

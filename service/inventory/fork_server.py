"""Imports Ansible in the fork server. Only multiprocessing's fork server imports this module."""

from service.inventory import environment, preload
from service.model.settings import PROJECT

preload.load(
    environment.common(),
    actions=sorted((PROJECT / "plugins" / "action").glob("*.py")),
    others=[PROJECT / "ansible.cfg", *sorted((PROJECT / "plugins" / "module_utils").rglob("*.py"))],
    project=PROJECT,
)

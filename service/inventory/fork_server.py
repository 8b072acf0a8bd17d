"""Imports Ansible in the server that readers of the inventory are forked from; nothing else imports this module."""

from service.inventory import environment, preload
from service.model.settings import PROJECT

preload.load(
    environment.fixed(),
    actions=sorted((PROJECT / "plugins" / "action").glob("*.py")),
    others=[PROJECT / "ansible.cfg", *sorted((PROJECT / "plugins" / "module_utils").rglob("*.py"))],
)

"""What the server that runs are forked from imports ahead; nobody else imports this."""

from service.model.settings import PROJECT
from service.runs import environment, preload

preload.load(
    environment.fixed(),
    actions=sorted((PROJECT / "plugins" / "action").glob("*.py")),
    others=[PROJECT / "ansible.cfg", *sorted((PROJECT / "plugins" / "module_utils").rglob("*.py"))],
)

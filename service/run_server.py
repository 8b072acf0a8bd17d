"""What the server that runs are forked from imports ahead; nobody else imports this."""

from service import forked, run_environment
from service.settings import PROJECT

forked.load(
    run_environment.fixed(),
    actions=sorted((PROJECT / "playbooks" / "action_plugins").glob("*.py")),
    others=[PROJECT / "ansible.cfg", *sorted((PROJECT / "playbooks" / "module_utils").rglob("*.py"))],
)

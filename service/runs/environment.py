"""The environment of a run: nothing of the service's own but what is named here."""

import os
import sys
from pathlib import Path

from service.model.settings import PROJECT

PASSED_ON = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TZ")  # all that a run may see of this process's environment


def fixed() -> dict[str, str]:
    """What is the same for every run of this service."""
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.defpath, "/usr/local/bin")),
        "LANG": "C.UTF-8",
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",  # that of a run is rendered; others would be tried first
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off unless it is set
        "ANSIBLE_NOCOLOR": "True",
    }


def of_run(directory: Path, ident: str, token: int) -> dict[str, str]:
    """What is a run's own: its private directory, its ident, and the token that only its own events carry."""
    return {
        "JOB_ID": str(token),
        "OBPROXY_TAKEOVER": ident,  # what the run starts on the host carries it on (playbooks/remains.yml)
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
        "TMPDIR": str(directory),  # whatever a run leaves in its temporary directory goes with it
        **mark(directory),
    }


def mark(directory: Path) -> dict[str, str]:
    """The environment of every program that a run starts carries this, in whatever session, below whatever parent."""
    return {"ANSIBLE_LOCAL_TEMP": str(directory / "tmp")}

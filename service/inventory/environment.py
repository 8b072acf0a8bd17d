"""Environment variables of Ansible when it reads the inventory and when it runs a playbook.

Only the variables named here are passed on from the service's own environment.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from service.model.settings import PROJECT

PASSED_ON = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TZ")  # from this process's environment
CALLBACK_DIRECTORY = Path(__file__).parents[1] / "runs" / "callback"  # ansible-runner loads awx_display.py from it


def common() -> dict[str, str]:
    """Return the variables that are the same for every inventory and every run."""
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.defpath, "/usr/local/bin")),
        "LANG": "C.UTF-8",
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "AWX_LIB_DIRECTORY": str(CALLBACK_DIRECTORY),
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off unless it is set
        "ANSIBLE_NOCOLOR": "True",
    }


def selected(names: Iterable[str]) -> dict[str, str]:
    """Return the variables with these names from this process's environment; missing ones are left out."""
    return {name: os.environ[name] for name in names if name in os.environ}


def for_inventory(vault_password_file: Path | None, passed_on: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the settings add for one inventory: vault password file and `passed_on`."""
    vault = {"ANSIBLE_VAULT_PASSWORD_FILE": str(vault_password_file.absolute())} if vault_password_file else {}
    return {**vault, **passed_on}

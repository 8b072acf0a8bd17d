"""The environment in which Ansible reads the inventory and plays; of the service's own only what is named here."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from service.model.settings import PROJECT

PASSED_ON = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TZ")  # of this process's environment, always
CALLBACK = Path(__file__).parents[1] / "runs" / "callback"  # where ansible-runner finds the callback of a run


def fixed() -> dict[str, str]:
    """Return the variables that are the same for every inventory and every run."""
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.defpath, "/usr/local/bin")),
        "LANG": "C.UTF-8",
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "AWX_LIB_DIRECTORY": str(CALLBACK),
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off unless it is set
        "ANSIBLE_NOCOLOR": "True",
    }


def named(names: Iterable[str]) -> dict[str, str]:
    """Return the variables of this process's environment that have these names."""
    return {name: os.environ[name] for name in names if name in os.environ}


def of_inventory(vault_password_file: Path | None, passed_on: Mapping[str, str]) -> dict[str, str]:
    """Return what the settings add for one inventory: the vault password file, and the variables passed on."""
    vault = {"ANSIBLE_VAULT_PASSWORD_FILE": str(vault_password_file.absolute())} if vault_password_file else {}
    return {**vault, **passed_on}

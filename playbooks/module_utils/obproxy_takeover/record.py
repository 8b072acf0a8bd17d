"""The record of the state before a takeover, from which a rollback restores (pure).

Passwords that the takeover replaces are in it only where the run knew them, encrypted by Ansible Vault with the
cluster's root@proxysys password: whoever may roll back has that one in the inventory anyway, the host does not. They
leave the record when the takeover has finished (facts/obproxy.md 11.3).
"""

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret

from .values import is_synced, text_of

PROXYRO = "observer_sys_password"
SYS = "obproxy_sys_password"
Record = dict[str, Any]


def record(facts: Mapping[str, Any], wished: Mapping[str, object], sealed: str | None) -> Record:
    """What a rollback needs to know, of the fact `obproxy`, the parameters that the cluster wishes, and `seal`."""
    process = facts["process"]
    return {
        "running": facts["running"],
        "version": facts["version"],
        "home": process["home"] if process else None,
        "supervised": facts["supervised"],
        "packages": facts["packages"],
        "login": facts["login"],
        "local_fact": facts["local_fact"],
        "absent_directories": facts["absent_directories"],
        "parameters": facts["parameters"],
        "wished": {name: text_of(value) for name, value in wished.items() if is_synced(name)},
        "passwords_as_wished": facts["passwords_as_wished"],
        "passwords": sealed,
    }


def seal(passwords: Mapping[str, str], key: str | None) -> str | None:
    """Passwords by parameter name as text that tells nobody without the key; None when there are none, or no key."""
    if not passwords or not key:
        return None
    sealed: bytes = VaultLib().encrypt(json.dumps(dict(passwords)), secret=VaultSecret(key.encode()))
    return sealed.decode()


def unsealed(of: Mapping[str, Any] | None, key: str | None) -> dict[str, str]:
    """The passwords in a record; none when there are none, or when the key is another one by now."""
    sealed = (of or {}).get("passwords")
    if not sealed or not key:
        return {}
    try:
        text = VaultLib([("default", VaultSecret(key.encode()))]).decrypt(str(sealed).encode())
    except AnsibleError:
        return {}
    return {str(name): str(password) for name, password in json.loads(text).items()}

"""Builds and reads the record of the state before a takeover, from which a rollback restores (pure).

The record contains a replaced password only if the run knew it. It is encrypted by Ansible Vault with the cluster's
root@proxysys password, which is in the inventory of a rollback but not on the host. The passwords are removed when the
takeover has finished (docs/reference/obproxy.md 11.3).

The record on a host outlives a version of the takeover, so its keys (`wished`, `later`, `passwords_as_wished`) stay.
"""

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret

from .parameter_values import is_synced, text_of, why_not_settable

PROXYRO = "observer_sys_password"
SYS = "obproxy_sys_password"
_PASSWORD_VARIABLES = {PROXYRO: "obproxy_current_proxyro_password", SYS: "obproxy_current_sys_password"}
Record = dict[str, Any]


# Hash of the password after a start without one (docs/reference/obproxy.md 4.3).
BUILT_IN = {PROXYRO: "ee0e5138c912aed80b683c05303684be347ce81d"}


def is_built_in(name: str, stored: str | None) -> bool:
    """Return whether a stored password is OBProxy's built-in one."""
    return stored is not None and BUILT_IN.get(name) == stored


def is_complete(of: Mapping[str, Any]) -> bool:
    """Return whether a record has its parameters, which a discovery reads only on request."""
    return "parameters" in of and "wished" in of


def with_desired(of: Record, desired: Mapping[str, object]) -> Record:
    """Return the record with the parameters that a later run of the same takeover sets.

    Only values that are not in it yet are added: an OBProxy is synchronised for years, and the file must stay small.
    """
    known = {(name, value) for values in desired_values(of) for name, value in values.items()}
    new = {name: value for name, value in _texts(desired).items() if (name, value) not in known}
    return of | {"later": [*of.get("later", []), new]} if new else of


def desired_values(of: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return the parameters that the runs of a takeover may have set, the first run's first."""
    return [of.get("wished", {}), *of.get("later", [])]


def _texts(desired: Mapping[str, object]) -> dict[str, object]:
    return {name: text_of(value) for name, value in desired.items() if is_synced(name)}


def build_record(facts: Mapping[str, Any], desired: Mapping[str, object], encrypted: str | None) -> Record:
    """Return the record of the fact `obproxy`, the desired parameters and the encrypted passwords."""
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
        "wished": _texts(desired),
        "passwords_as_wished": facts["passwords_as_desired"],
        "built_in_passwords": facts["built_in_passwords"],
        "passwords": encrypted,
    }


def encrypt_passwords(passwords: Mapping[str, str], key: str | None) -> str | None:
    """Return passwords by parameter name as encrypted text, None without passwords or without a key."""
    if not passwords or not key:
        return None
    encrypted: bytes = VaultLib().encrypt(json.dumps(dict(passwords)), secret=VaultSecret(key.encode()))
    return encrypted.decode()


def decrypt_passwords(of: Mapping[str, Any] | None, key: str | None) -> dict[str, str]:
    """Return the passwords in a record, none when the record has none or the key has changed."""
    encrypted = (of or {}).get("passwords")
    if not encrypted or not key:
        return {}
    try:
        text = VaultLib([("default", VaultSecret(key.encode()))]).decrypt(str(encrypted).encode())
    except AnsibleError:
        return {}
    return {str(name): str(password) for name, password in json.loads(text).items()}


def former_passwords(
    recorded: Mapping[str, Any], as_desired: Mapping[str, bool], given: Mapping[str, str | None], key: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the known former passwords in the order in which they are set, and messages about the others by name.

    OBProxy stores a hash, which SQL cannot set (docs/reference/obproxy.md 11.3). A password that is neither in
    `recorded`, decrypted by `key`, nor in `given` is lost. `as_desired`: which passwords are the cluster's now.
    """
    known = decrypt_passwords(recorded, key)
    known |= {SYS: ""} if recorded["login"] == "empty" else {}
    known |= {name: password for name, password in given.items() if password is not None}
    before = recorded.get("passwords_as_wished", {})
    replaced = [name for name in (PROXYRO, SYS) if as_desired.get(name) and not before.get(name)]
    built_in = recorded.get("built_in_passwords", [])
    lost = {
        name: "it was OBProxy's built-in password, which only a start without a stored password sets"
        if name in built_in
        else f"it is unknown (OBProxy stores only a hash); set {_PASSWORD_VARIABLES[name]}"
        for name in replaced
        if name not in known
    }
    lost |= {
        name: f"the former password {why}"
        for name in replaced
        if name in known and (why := why_not_settable(known[name]))
    }
    return {name: known[name] for name in replaced if name not in lost}, {
        name: f"{name} is not restored: {why}" for name, why in lost.items()
    }

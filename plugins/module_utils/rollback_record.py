"""The record of the state before a takeover, from which a rollback restores (pure).

Passwords that the takeover replaces are in it only where the run knew them, encrypted by Ansible Vault with the
cluster's root@proxysys password: whoever may roll back has that one in the inventory anyway, the host does not. They
leave the record when the takeover has finished (docs/reference/obproxy.md 11.3).
"""

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret

from .parameter_values import is_synced, text_of, why_not_settable

PROXYRO = "observer_sys_password"
SYS = "obproxy_sys_password"
_TELLERS = {PROXYRO: "obproxy_current_proxyro_password", SYS: "obproxy_current_sys_password"}
Record = dict[str, Any]


# What a start that was told no password has, by its hash (docs/reference/obproxy.md 4.3).
BUILT_IN = {PROXYRO: "ee0e5138c912aed80b683c05303684be347ce81d"}


def is_built_in(name: str, stored: str | None) -> bool:
    """Return whether a stored password is the one that OBProxy is built with."""
    return stored is not None and BUILT_IN.get(name) == stored


def is_whole(of: Mapping[str, Any]) -> bool:
    """Return whether a record has its parameters, of which a discovery tells only on request."""
    return "parameters" in of and "wished" in of


def with_wishes(of: Record, wished: Mapping[str, object]) -> Record:
    """Return a record that also knows what a later run of the same takeover sets; the same one when it does already."""
    texts = _texts(wished)
    return of if texts in wishes(of) else of | {"later": [*of.get("later", []), texts]}


def wishes(of: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return all that the runs of a takeover may have set, the first run's first."""
    return [of.get("wished", {}), *of.get("later", [])]


def _texts(wished: Mapping[str, object]) -> dict[str, object]:
    return {name: text_of(value) for name, value in wished.items() if is_synced(name)}


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
        "wished": _texts(wished),
        "passwords_as_wished": facts["passwords_as_wished"],
        "built_in_passwords": facts["built_in_passwords"],
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


def former_passwords(
    recorded: Mapping[str, Any], as_wished: Mapping[str, bool], given: Mapping[str, str | None], key: str | None
) -> tuple[dict[str, str], list[str]]:
    """The passwords that a takeover has replaced and somebody knows, in the order to set them; and sentences about
    those that stay.

    OBProxy shows a hash, and a hash cannot be set by SQL (docs/reference/obproxy.md 11.3): what neither `recorded`
    holds, opened by `key`, nor `given` says, is lost. `as_wished`: which passwords are the cluster's now.
    """
    known = unsealed(recorded, key)
    known |= {SYS: ""} if recorded["login"] == "empty" else {}
    known |= {name: password for name, password in given.items() if password is not None}
    before = recorded.get("passwords_as_wished", {})
    replaced = [name for name in (PROXYRO, SYS) if as_wished.get(name, False) and not before.get(name, False)]
    built_in = recorded.get("built_in_passwords", [])
    lost = {
        name: "it was the one that OBProxy is built with, which only a start without a stored one sets"
        if name in built_in
        else f"nobody knows what it was (OBProxy keeps only a hash); {_TELLERS[name]} can tell"
        for name in replaced
        if name not in known
    }
    lost |= {name: f"what it was {why}" for name in replaced if (why := why_not_settable(known.get(name, "")))}
    return {name: known[name] for name in replaced if name not in lost}, [
        f"{name} stays as it is: {why}" for name, why in lost.items()
    ]

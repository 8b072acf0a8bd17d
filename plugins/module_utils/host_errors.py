"""Turns errors of SSH, sudo, PAM or the shell into failed rules with a fix (pure)."""

import re
from collections.abc import Mapping
from typing import Any

from .programs.shown_text import last_lines
from .rules import FailedRule, Unreachable

_ROOT = "The login user becomes root"
_VALID = "The login user's account on the host is valid"
_RENEW = (
    "as root on the host: chage -l {user} shows what has expired; passwd {user} or chage -d $(date +%F) {user} renews "
    "the password, chage -E -1 {user} the account"
)
_USUAL = "allow it without a password in the host's sudoers, or give the password: ansible_become_password"
# Patterns in sudo's message with the fix; the first match counts.
_SUDO = (
    (
        "must have a tty",
        "sudo requires a terminal, and Ansible has none: as root on the host, "
        "echo 'Defaults:{user} !requiretty' >/etc/sudoers.d/zz_ansible_{user} (the last matching line counts)",
    ),
    ("password is expired|account or password|account validation failure|account has expired", _RENEW),
    (
        "syntax error|parse error|no valid sudoers|world writable",
        "correct the host's sudoers; visudo -c shows the invalid line",
    ),
    ("not found", "install sudo on the host, or log in as root: ansible_user"),
    ("not in the sudoers|not allowed", "allow it in the host's sudoers: {user} ALL=(ALL) NOPASSWD: ALL"),
)
_ACCOUNT = re.compile(r"(password|account) has expired|password change required|account is currently not", re.I)


def connection_failure(found: str, user: str) -> Unreachable:
    """Return the failed rule for a connection that cannot be established."""
    if _ACCOUNT.search(found):
        return Unreachable(_VALID, found, _RENEW.format(user=user))
    return Unreachable(
        "The host is reachable over SSH",
        found,
        "check ansible_host, the key, known_hosts and the network: ansible -m ping HOST",
    )


def become_failure(found: str, user: str) -> FailedRule:
    """Return the failed rule for a denied sudo, with the fix for its cause."""
    fix = next((fix for words, fix in _SUDO if re.search(words, found, re.IGNORECASE)), _USUAL)
    return FailedRule(_ROOT, found, fix.format(user=user))


def program_failure(python: str, user: str, ended: Mapping[str, Any]) -> FailedRule:
    """Return the failed rule for a host program that ended without a result."""
    output = last_lines(ended["stderr"] or ended["stdout"]) or f"exit status {ended['rc']} without output"
    if _ACCOUNT.search(output):
        return FailedRule(_VALID, output, _RENEW.format(user=user))
    if "sudo" in output or "password is required" in output.lower():
        return become_failure(output, user)
    if ended["rc"] in (126, 127):
        return FailedRule(
            "The host has Python 3.6 or newer", f"{python}: {output}", "install it, or set ansible_python_interpreter"
        )
    if ended["rc"] == 142:
        return FailedRule(
            "The program on the host ends in time", "its time limit ended it", "check the load of the host"
        )
    return FailedRule("The program on the host prints a result", output, "remove the cause of this error on the host")

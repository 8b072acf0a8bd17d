"""Why a program on the host has not answered, by the words of sudo, PAM or the shell, and what to do (pure)."""

import re
from collections.abc import Mapping
from typing import Any

from .rules import FailedRule, Unreachable

_ROOT = "The login user becomes root"
_VALID = "The login user's account on the host is valid"
_RENEW = (
    "as root on the host: chage -l {user} shows what has expired; passwd {user} or chage -d $(date +%F) {user} renews "
    "the password, chage -E -1 {user} the account"
)
_USUAL = "allow it without a password in the host's sudoers, or give the password: ansible_become_password"
# The first that matches sudo's words tells the cause.
_SUDO = (
    (
        "must have a tty",
        "sudo wants a terminal, which Ansible has none of: as root on the host, "
        "echo 'Defaults:{user} !requiretty' >/etc/sudoers.d/zz_ansible_{user} (of several the last counts)",
    ),
    ("password is expired|account or password|account validation failure|account has expired", _RENEW),
    ("syntax error|parse error|no valid sudoers|world writable", "mend the host's sudoers: visudo -c names the line"),
    ("not found", "install sudo on the host, or log in as root: ansible_user"),
    ("not in the sudoers|not allowed", "allow it in the host's sudoers: {user} ALL=(ALL) NOPASSWD: ALL"),
)
_ACCOUNT = re.compile(r"(password|account) has expired|password change required|account is currently not", re.I)


def why_not_reached(found: str, user: str) -> Unreachable:
    """Return the rule that a connection breaks which does not come about."""
    if _ACCOUNT.search(found):
        return Unreachable(_VALID, found, _RENEW.format(user=user))
    return Unreachable(
        "The host is reachable over SSH",
        found,
        "check ansible_host, the key, known_hosts and the network: ansible -m ping HOST",
    )


def why_not_root(found: str, user: str) -> FailedRule:
    """Return the rule that a denied sudo fails, with the fix for its cause."""
    fix = next((fix for words, fix in _SUDO if re.search(words, found, re.IGNORECASE)), _USUAL)
    return FailedRule(_ROOT, found, fix.format(user=user))


def why_no_answer(python: str, user: str, ended: Mapping[str, Any]) -> FailedRule:
    """Return the rule that a program without an answer breaks."""
    said = (ended["stderr"] or ended["stdout"]).strip()[-500:] or f"exit status {ended['rc']} without a word"
    if _ACCOUNT.search(said):
        return FailedRule(_VALID, said, _RENEW.format(user=user))
    if "sudo" in said or "password is required" in said.lower():
        return why_not_root(said, user)
    if ended["rc"] in (126, 127):
        return FailedRule(
            "The host has Python 3.6 or newer", f"{python}: {said}", "install it, or set ansible_python_interpreter"
        )
    if ended["rc"] == 142:
        return FailedRule(
            "The host answers in time", "the time limit ended the program there", "look at the host's load"
        )
    return FailedRule("The program on the host ends with an answer", said, "look at what it said")

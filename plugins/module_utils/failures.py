"""Why a program on the host has not answered, by the words of sudo, PAM or the shell, and what to do (pure)."""

import re
from collections.abc import Mapping
from typing import Any

from .rules import Broken

_ROOT = "The login user becomes root"
_USUAL = "allow it without a password in the host's sudoers, or give the password: ansible_become_password"
# The first that matches sudo's words tells the cause.
_SUDO = (
    (
        "must have a tty",
        "sudo wants a terminal, which Ansible has none of: as root on the host, echo 'Defaults:USER !requiretty' > "
        "/etc/sudoers.d/ansible_USER, with the login user for USER",
    ),
    (
        "password is expired|account or password|account validation failure|account has expired",
        "renew the login user's account on the host as root: chage -l USER shows what has expired, passwd USER or "
        "chage -d $(date +%F) USER renews the password, chage -E -1 USER the account",
    ),
    ("syntax error|parse error|no valid sudoers|world writable", "mend the host's sudoers: visudo -c names the line"),
    ("not found", "install sudo on the host, or log in as root: ansible_user"),
    ("not in the sudoers|not allowed", "allow it in the host's sudoers: USER ALL=(ALL) NOPASSWD: ALL"),
)
_ACCOUNT = re.compile(r"(password|account) has expired|password change required|account is currently not", re.I)


def why_not_root(found: str) -> Broken:
    """Return the rule that a refused sudo breaks, with the remedy for its cause."""
    remedy = next((remedy for words, remedy in _SUDO if re.search(words, found, re.IGNORECASE)), _USUAL)
    return Broken(_ROOT, found, remedy)


def why_no_answer(python: str, ended: Mapping[str, Any]) -> Broken:
    """Return the rule that a program without an answer breaks."""
    said = (ended["stderr"] or ended["stdout"]).strip()[-500:] or f"exit status {ended['rc']} without a word"
    if _ACCOUNT.search(said):
        return Broken(
            "The login user's account on the host is valid",
            said,
            "as root on the host: chage -l USER shows what has expired; passwd USER or chage -d $(date +%F) USER "
            "renews the password, chage -E -1 USER the account",
        )
    if "sudo" in said or "password is required" in said.lower():
        return why_not_root(said)
    if ended["rc"] in (126, 127):
        return Broken(
            "The host has Python 3.6 or newer", f"{python}: {said}", "install it, or set ansible_python_interpreter"
        )
    if ended["rc"] == 142:
        return Broken("The host answers in time", "the time limit ended the program there", "look at the host's load")
    return Broken("The program on the host ends with an answer", said, "look at what it said")

"""Errors of SSH, sudo and host programs as failed rules, each with a fix for its cause."""

from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.host_errors import (
    become_failure,
    connection_failure,
    program_failure,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule, Unreachable

RENEW = (
    "as root on the host: chage -l ops shows what has expired; passwd ops or chage -d $(date +%F) ops renews the "
    "password, chage -E -1 ops the account"
)
TERMINAL = (
    "sudo requires a terminal, and Ansible has none: as root on the host, echo 'Defaults:ops !requiretty' "
    ">/etc/sudoers.d/zz_ansible_ops (the last matching line counts)"
)
SUDOERS = "correct the host's sudoers; visudo -c shows the invalid line"
NOT_ALLOWED = "allow it in the host's sudoers: ops ALL=(ALL) NOPASSWD: ALL"
NO_PASSWORD = "allow it without a password in the host's sudoers, or give the password: ansible_become_password"
ACCOUNT = "The login user's account on the host is valid"


@pytest.mark.parametrize(
    ("found", "fix"),
    [
        ("sudo: sorry, you must have a tty to run sudo", TERMINAL),
        ("Sudo: Account or password is expired", RENEW),
        ("sudo: a password is expired", RENEW),
        ("sudo: Account validation failure, is your account locked?", RENEW),
        ("sudo: your account has expired", RENEW),
        (">>> /etc/sudoers: syntax error near line 1", SUDOERS),
        ("sudo: parse error in /etc/sudoers", SUDOERS),
        ("sudo: no valid sudoers sources found, quitting", SUDOERS),
        ("sudo: /etc/sudoers is world writable", SUDOERS),
        ("/bin/sh: sudo: not found", "install sudo on the host, or log in as root: ansible_user"),
        ("ops is not in the sudoers file", NOT_ALLOWED),
        ("Sorry, user ops is not allowed to execute", NOT_ALLOWED),
        ("sudo: a password is required", NO_PASSWORD),
    ],
)
def test_a_denied_sudo_has_a_fix_for_its_cause(found: str, fix: str) -> None:
    failed = become_failure(found, "ops")
    assert failed.as_data() == {"rule": "The login user becomes root", "found": found, "fix": fix}


@pytest.mark.parametrize(
    "found",
    [
        "Your password has expired.",
        "Your account has expired; please contact",
        "Password change required but no TTY available.",
        "This account is currently not available.",
    ],
)
def test_an_expired_account_is_named(found: str) -> None:
    failed = connection_failure(found, "ops")
    assert isinstance(failed, Unreachable)
    assert failed.as_data() == {"rule": ACCOUNT, "found": found, "fix": RENEW}
    ended = {"rc": 1, "stderr": found, "stdout": ""}
    assert program_failure("python3", "ops", ended).as_data() == {"rule": ACCOUNT, "found": found, "fix": RENEW}


def test_another_error_of_the_connection_names_what_to_check() -> None:
    failed = connection_failure("Connection refused", "ops")
    assert isinstance(failed, Unreachable)
    assert failed.as_data() == {
        "rule": "The host is reachable over SSH",
        "found": "Connection refused",
        "fix": "check ansible_host, the key, known_hosts and the network: ansible -m ping HOST",
    }


PYTHON = "The host has Python 3.6 or newer"
RESULT = "The program on the host prints a result"
REMOVE = "remove the cause of this error on the host"


@pytest.mark.parametrize(
    ("ended", "rule", "found", "fix"),
    [
        ({"rc": 1, "stderr": "sudo: a password is required"}, None, "sudo: a password is required", NO_PASSWORD),
        ({"rc": 1, "stderr": "sudo: unable to resolve host"}, None, "sudo: unable to resolve host", NO_PASSWORD),
        ({"rc": 1, "stdout": "A Password is required"}, None, "A Password is required", NO_PASSWORD),
        ({"rc": 126, "stderr": " no\n"}, PYTHON, "py: no", "install it, or set ansible_python_interpreter"),
        ({"rc": 127}, PYTHON, "py: exit status 127 without output", "install it, or set ansible_python_interpreter"),
        (
            {"rc": 142, "stdout": "x"},
            "The program on the host ends in time",
            "its time limit ended it",
            "check the load of the host",
        ),
        ({"rc": 1, "stdout": "out", "stderr": "err"}, RESULT, "err", REMOVE),
        ({"rc": 1, "stdout": f"my s3cret {'x' * 492}\nend"}, RESULT, "end", REMOVE),
    ],
)
def test_a_program_without_a_result_has_a_reason(ended: dict[str, Any], rule: str | None, found: str, fix: str) -> None:
    failed = program_failure("py", "ops", {"stdout": "", "stderr": ""} | ended)
    assert type(failed) is FailedRule
    assert failed.as_data() == {"rule": rule or "The login user becomes root", "found": found, "fix": fix}

"""Audit records of commands that an administrator runs on the machine of the service."""

import getpass
import os
import socket

from service.model.audit import AuditCall


def audit_call(command: str) -> AuditCall:
    """Return the audit record of a command. Its user is `os:` and the account of the operating system.

    Names of users of the service contain no colon.
    """
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # the uid has no name, as in a container
        account = str(os.getuid())
    return AuditCall(
        user_name=f"os:{account}", client=socket.gethostname(), method="COMMAND", path=command, status=200, trace_id=""
    )

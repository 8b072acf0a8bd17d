"""Commands that an administrator runs on the machine of the service, as the audit has them."""

import getpass
import os
import socket

from service.model.audit import AuditCall


def local_call(command: str) -> AuditCall:
    """Return the record of a command: the account of the operating system is its user, after `os:`.

    No user of the service has a colon in its name.
    """
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        account = str(os.getuid())
    return AuditCall(
        user_name=f"os:{account}", client=socket.gethostname(), method="COMMAND", path=command, status=200, trace_id=""
    )

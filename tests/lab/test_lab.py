"""The lab itself."""

import os
import subprocess

from . import Lab
from .fixtures import StartHost


def test_a_host_accepts_a_login_whatever_the_umask_is(lab: Lab, lab_host: StartHost) -> None:
    before = os.umask(0o077)
    try:
        host = lab_host("absent")
    finally:
        os.umask(before)
    assert subprocess.run(lab.ssh_command(host, "true"), stdin=subprocess.DEVNULL).returncode == 0

"""Remedies for the situations of a host: each applies the fix of the takeover's message on the host."""

import re
import shlex
from collections.abc import Callable

from . import situations
from .host import LabHost
from .inventory import SYS_PASSWORD
from .states import cluster_for


def command(pattern: str, user: str = "root") -> Callable[[LabHost, str], None]:
    """Return a remedy: execute what the first group of a pattern finds in the message."""

    def execute(host: LabHost, message: str) -> None:
        found = re.search(pattern, message)
        assert found, message
        host.run(found[1] if user == "root" else f"runuser -u {user} -- bash -c {shlex.quote(found[1])}")

    return execute


def start_again(host: LabHost, message: str) -> None:
    """Stop it, make its home and start it there with the parameters that it had."""
    command("then as root: (kill -15 .*?); then as admin")(host, message)
    found = re.search(r"then as admin in it: (.* -o) with", message)
    assert found, message
    password = f"$(printf %s '{SYS_PASSWORD}' | sha1sum | cut -d' ' -f1)"
    url = cluster_for(host.version).config_server_url
    options = f"obproxy_sys_password={password},work_thread_num=8,obproxy_config_server_url={url}"
    host.run(f'cd /data/obproxy && runuser -u admin -- {found[1]} "{options}" >/dev/null 2>&1')


def start_as_admin(host: LabHost, message: str) -> None:
    """Stop what root has started and start it as admin."""
    command(r"As root: (.*?)\. Then as admin")(host, message)
    command(r"Then as admin: (.*?)\. Its stored", user="admin")(host, message)


def restore_packages(host: LabHost, message: str) -> None:
    """Rebuild the package database or, when that fails, restore it from the backup."""
    assert "rpm --rebuilddb" in message and "move /var/lib/rpm away" in message
    host.run(
        "rpm --rebuilddb >/dev/null 2>&1 && rpm -qa | grep -q obproxy && exit 0\n"
        "mv /var/lib/rpm /var/lib/rpm-broken && cp -a /root/backup /var/lib/rpm && rpm -qa >/dev/null"
    )


def make_room(host: LabHost, message: str) -> None:
    """Remove files of the file system that the message names."""
    assert "remove files there" in message
    host.run("rm /var/lib/obproxy-takeover/filler-*")


def mend_profile(host: LabHost, message: str) -> None:
    """Put the test that the message shows before what replaces the shell."""
    assert "[ -t 0 ] &&" in message
    host.run(r"sed -i 's/^exec bash/[ -t 0 ] \&\& exec bash/' /home/admin/.profile")


def start_on_the_host(host: LabHost, message: str) -> None:
    """End the container and start an OBProxy on the host."""
    assert "stop the container and start an OBProxy on the host itself" in message
    situations.by_hand(host)

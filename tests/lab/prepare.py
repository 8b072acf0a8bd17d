"""Makes sure that podman and the lab's images are there: installs what is missing, prints its steps."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import image
from .errors import LabError
from .podman import as_root, command

# The program that shows whether a Debian package is there. Without iptables, netavark cannot make a network.
PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "iptables": "iptables",
    "newuidmap": "uidmap",
    "debootstrap": "debootstrap",
    "ssh-keygen": "openssh-client",
    "chromium-headless-shell": "chromium-headless-shell",
    "prometheus": "prometheus",
    "jq": "jq",
    "openssl": "openssl",
    "fc-list": "fontconfig",
}
HELPERS = {"netavark": "netavark", "aardvark-dns": "aardvark-dns"}
FONT = "fonts-wqy-microhei"  # a small one (5 MB) for the Chinese pages, where there is none: else they are boxes
_DIRECTORY = Path("/var/tmp")  # the same for all sessions, whatever their TMPDIR is
_HELPER_FOLDERS = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/libexec/podman")
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def prepare() -> None:
    """Prepare the lab; do nothing, quickly, when everything is there. Raise LabError with one sentence."""
    lock = _DIRECTORY / f"obproxy-lab-prepare-{os.getuid()}.lock"
    with lock.open("w") as file:
        # Two at a time would install and build the same things twice; the second waits and finds them.
        fcntl.flock(file, fcntl.LOCK_EX)
        _install_missing()
        _check_podman()
        if not image.is_built():
            _print_step("Building the lab's images; this takes a minute or two the first time")
            image.build(_step)
            _print_step("The lab's images are ready")


def _install_missing() -> None:
    packages = _missing_packages()
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise LabError(f"These packages are missing and there is no apt-get to install them: {', '.join(packages)}.")
    _step("Refreshing apt's package lists", as_root("apt-get", "update", "-q"))
    install = as_root(
        "apt-get", "install", "-q", "-y", "--no-install-recommends", *packages,
        environment={"DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    _step(f"Installing {' '.join(packages)}", install)


def _missing_packages() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"
    needed = {program: package for program, package in PROGRAMS.items() if program != "debootstrap"}
    if not os.environ.get("LAB_BASE_IMAGE"):
        needed["debootstrap"] = PROGRAMS["debootstrap"]
    missing = [package for program, package in needed.items() if not shutil.which(program, path=path)]
    folders = os.pathsep.join(_HELPER_FOLDERS)
    missing += [package for program, package in HELPERS.items() if not shutil.which(program, path=folders)]
    return missing if _can_write_chinese() else [*missing, FONT]


def _can_write_chinese() -> bool:
    """Return whether a browser here has a font for it; machines with other package names may lack one."""
    if not shutil.which("apt-get"):
        return True
    if not (fc_list := shutil.which("fc-list")):
        return False
    return bool(subprocess.run([fc_list, ":lang=zh-cn", "family"], capture_output=True, check=False).stdout.strip())


def _check_podman() -> None:
    try:
        done = subprocess.run(
            command("info", "--format", "{{.Host.OCIRuntime.Name}}"), capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"No usable podman: {error}.") from error
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise LabError(f"No usable podman on this machine: {why}")


def _step(sentence: str, command_line: list[str]) -> None:
    """Run one command and print how long it took; a failure names the file with its output."""
    _print_step(sentence)
    started = time.monotonic()
    log = _DIRECTORY / f"obproxy-lab-prepare-{os.getuid()}.log"
    with log.open("ab") as output:
        done = subprocess.run(command_line, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        raise LabError(f"{sentence}: failed. The last lines of {log}:\n  " + "\n  ".join(last))
    _print_step(f"  done in {time.monotonic() - started:.0f} s")


def _print_step(sentence: str) -> None:
    sys.stderr.write(f"==> {sentence}\n")
    sys.stderr.flush()

"""The images of the lab's hosts: built when what goes into them has changed, found again by its hash otherwise."""

import hashlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import LabError
from .podman import as_root, command, succeeds

SOURCES = Path(__file__).parent
NAME = "localhost/obproxy-lab"
# Targets of the Containerfile: a host without an OBProxy, and one per version.
TARGETS = ("absent", "obproxy-1.7.4.0", "obproxy-1.9.1.1", "obproxy-4.3.1.0")
SUITE = "bookworm"

Step = Callable[[str, list[str]], None]


def tag(target: str) -> str:
    """Return the image of a target made from the sources as they are now."""
    return f"{NAME}:{_fingerprint()}-{target}"


def is_built() -> bool:
    # The last target is the last one that is built.
    return succeeds("image", "exists", tag(TARGETS[-1]))


def build(step: Step) -> None:
    """Build all targets; step(sentence, command line) runs one command. Raise LabError."""
    base = os.environ.get("LAB_BASE_IMAGE") or debian(step, SUITE)
    for target in TARGETS:
        arguments = ["--quiet", "--network", "host", "--ignorefile", "/dev/null", "--build-arg", f"BASE={base}"]
        arguments += ["--target", target, "--tag", tag(target), "--file", str(SOURCES / "image" / "Containerfile")]
        step(f"Building the image {target}", command("build", *arguments, str(SOURCES)))


def debian(step: Step, suite: str, *packages: str) -> str:
    """Build a minimal Debian with `packages`, by debootstrap from the mirror that apt uses; return its image's name."""
    name = f"{NAME}-base:{'-'.join([suite, *packages])}"
    if succeeds("image", "exists", name):
        return name
    mirror, proxy = _mirror(), _apt_proxy()
    environment = {"http_proxy": proxy} if proxy else {}
    with tempfile.TemporaryDirectory(prefix="obproxy-lab-", ignore_cleanup_errors=True) as directory:
        root = f"{directory}/root"
        options = ["--variant=minbase", *([f"--include={','.join(packages)}"] if packages else [])]
        making = as_root("debootstrap", *options, suite, root, mirror, environment=environment)
        step("Making a minimal Debian with debootstrap (about half a minute)", making)
        imported = f"tar -C {shlex.quote(root)} --exclude='./var/cache/apt/archives/*.deb' -c . | "
        imported += shlex.join(command("import", "--quiet", "-", name))
        step("Importing it as the base image", as_root("bash", "-o", "pipefail", "-c", imported))
        step("Removing the temporary copy", as_root("rm", "-rf", "--one-file-system", root))
    return name


def _mirror() -> str:
    """Return the address from which apt of this machine gets Debian; raise LabError."""
    arguments = ["--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian"]
    found = subprocess.run(["apt-get", "indextargets", *arguments], capture_output=True, text=True, check=False)
    addresses = found.stdout.split()
    if not addresses:
        raise LabError("apt knows no Debian mirror here; name a Debian 12 image in LAB_BASE_IMAGE instead.")
    return addresses[0]


def _apt_proxy() -> str:
    found = subprocess.run(
        ["apt-config", "shell", "PROXY", "Acquire::http::Proxy"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip().removeprefix("PROXY=").strip("'\"")


def _fingerprint() -> str:
    digest = hashlib.sha256(os.environ.get("LAB_BASE_IMAGE", "").encode())
    for path in _inputs():
        digest.update(f"{path.relative_to(SOURCES)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _inputs() -> Iterator[Path]:
    for folder in ("image", "simulator"):
        for path in sorted((SOURCES / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.name != "containers.conf":
                yield path

"""Parses and compares OBProxy versions: VERSION-BUILD such as "4.3.1.0-1" (docs/reference/obproxy.md 1.1)."""

import re

# A build number is the release up to its first dot: "1919579" of "1919579.el7".
_VERSION = re.compile(r"(?<![\d.])(\d{1,9}(?:\.\d{1,9}){1,4})-(\d{1,20})(?!\d)")
_NEVRA = re.compile(r"^(?P<name>.+)-(?P<version>[^-]+)-(?P<release>[^-]+)\.(?P<arch>[^.]+)$")


def version_in(text: str) -> str | None:
    """Return the first VERSION-BUILD in a text: a file name, a package name, SHOW PROXYINFO BINARY."""
    found = _VERSION.search(text)
    return f"{found[1]}-{found[2]}" if found else None


def version_of_package(nevra: str) -> str | None:
    """Return VERSION-BUILD of "obproxy-1.9.1.1-1919579.el7.x86_64"; None for an incomplete package name."""
    parts = _NEVRA.match(nevra)
    return version_in(f"{parts['version']}-{parts['release']}") if parts else None


def name_of_package(nevra: str) -> str | None:
    """Return the package name without version, release and architecture."""
    parts = _NEVRA.match(nevra)
    return parts["name"] if parts else None


def numbers(version: str) -> tuple[int, ...]:
    """Return "4.3.1.0-1" as (4, 3, 1, 0), without the build."""
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()


PROXYRO_SINCE = "3.2.0"  # before it the password was a constant (docs/reference/obproxy.md 4.3)


def has_settable_proxyro(version: str | None) -> bool:
    """Return whether proxyro's password can be set in this version."""
    return version is not None and not is_older(version, PROXYRO_SINCE)


def is_older(version: str, than: str) -> bool:
    """Return whether `version` is older than `than`; missing parts count as zero, builds are ignored."""
    left, right = numbers(version), numbers(than)
    return left + (0,) * len(right) < right

"""File systems of their own, small enough that tests fill them: on this machine, and on a host."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ..host import LabHost
from ..podman import as_root

_FILLER = "filler"


class Disk:
    """A tmpfs at the new directory `path` of this machine, which every user may write to; `size` is in MiB."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True)
        options = f"size={self._size}m,mode=1777"
        subprocess.run(as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)), check=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(as_root("umount", "--lazy", str(self.path)), check=True)

    def fill(self) -> None:
        """Leave no byte free. Others may write meanwhile."""
        with (self.path / _FILLER).open("wb") as file, suppress(OSError):
            while free := os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize:
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)

    def clear(self) -> None:
        (self.path / _FILLER).unlink(missing_ok=True)


class HostDisk:
    """A tmpfs in place of the directory `path` of a host, with its content; `size` is in MiB."""

    def __init__(self, host: LabHost, path: str, size: int) -> None:
        self._host = host
        self._path = path
        copy = f"mount -t tmpfs -o size={size}m,mode=755 tmpfs /mnt && cp -a {path}/. /mnt"
        host.run_from_outside(f"{copy} && mount --bind /mnt {path} && umount /mnt")

    def fill(self) -> None:
        """Leave no byte free. Others may write meanwhile."""
        free = f"$(df --output=avail -B1 {self._path} | tail -n 1)"
        self._host.run(f"fallocate -l {free} {self._path}/{_FILLER} || true")

    def clear(self) -> None:
        self._host.run(f"rm -f {self._path}/{_FILLER}")

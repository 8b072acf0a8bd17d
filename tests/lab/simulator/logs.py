"""The log files below log/ of an OBProxy's home (docs/reference/obproxy.md 2.3, 2.4)."""

import os
import time
from pathlib import Path

from .release import Release

_NAMES = ("xflush", "digest", "error", "slow", "diagnosis", "stat", "limit", "pool", "pool_stat", "trace")


class Log:
    def __init__(self, directory: Path, release: Release) -> None:
        """Open the log files. Raise OSError when they cannot be made."""
        self._directory = directory
        self._release = release
        for name in _NAMES:
            (directory / f"obproxy_{name}.log").touch()
        self.line("INFO", "obproxy starts")

    def line(self, level: str, text: str) -> None:
        self._append("obproxy.log", f"{level} {text}")

    def started(self) -> None:
        self.line("INFO", "obproxy start up successful")
        self._reboot("reboot success")

    def start_failed(self, why: str) -> None:
        self.line("EDIAG", f"obproxy start up failed: {why}")
        self._reboot("reboot failed")

    def _reboot(self, result: str) -> None:
        if self._release.writes_reboot_line:
            who = f"pid: {os.getpid()}, ppid: {os.getppid()}"
            version = f"version: {self._release.version}-{self._release.build}"
            self._append("obproxy_diagnosis.log", f"[REBOOT] {version}, {who}, result: {result}")

    def _append(self, name: str, text: str) -> None:
        try:
            with (self._directory / name).open("a", encoding="utf-8") as file:
                file.write(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}] {text}\n")
        except OSError:
            # A full disk does not stop the proxy.
            return

"""One host of a lab."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.waiting import until

from .podman import as_root, podman, run_inside
from .states import DEFAULT_VERSION, STATES, home_of

_OWNER = re.compile(r'\("obproxy",pid=(\d+),')
_PID = re.compile(r"^ *(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class HostSpec:
    """Specification of a host. cluster: its inventory group; "" = the one that fits the version, None = none."""

    name: str
    host_id: int
    state: str = "running"
    version: str = DEFAULT_VERSION
    sql_port: int = 2883
    cluster: str | None = ""


@dataclass(frozen=True, kw_only=True)
class LabHost:
    """A started host; address is its IPv4 address, reachable from this machine."""

    name: str
    address: str
    host_id: int
    sql_port: int
    state: str
    version: str
    cluster: str | None
    container: str
    directory: Path
    removed: Callable[["LabHost"], None]

    @property
    def container_id(self) -> Path:
        """The file into which podman writes the id of the container."""
        return self.directory / "container-id"

    @property
    def home(self) -> str:
        """The OBProxy's home on the host."""
        return home_of(STATES[self.state], self.version)

    def run(self, command: str) -> str:
        """Run a shell command as root on the host and return its output. Raise LabError if it fails."""
        return run_inside(self.container_id.read_text(encoding="utf-8"), command)

    def run_from_outside(self, command: str) -> None:
        """Run a shell command on the host as the machine's root, who may mount where the host's own may not."""
        pid = podman("inspect", "--format", "{{.State.Pid}}", self.container).strip()
        subprocess.run(as_root("nsenter", "-t", pid, "-m", "-p", "-n", "-u", "-i", "sh", "-c", command), check=True)

    def proxy_pid(self) -> int | None:
        """Return the pid of the newest obproxy that listens at the SQL port, as seen on the host; None = none does."""
        text = self.run(f"ss -Hltnp 'sport = :{self.sql_port}'; ps -C obproxy -o pid= --sort=-start_time || true")
        holders = {int(pid) for pid in _OWNER.findall(text)}
        newest_first = (int(pid) for pid in _PID.findall(text))
        return next((pid for pid in newest_first if pid in holders), None)

    def wait_for_another_pid(self, old: int | None) -> int:
        """Return the pid at the SQL port once it is not `old`."""
        return until(lambda: pid if (pid := self.proxy_pid()) != old else None, "no other OBProxy was started")

    def simulate(self, **switches: object) -> None:
        """Set switches of the simulated OBProxy (see simulator/simulation.py); the others go to their defaults."""
        text = json.dumps({"observer": True} | switches)
        self.run(f"cat > /etc/obproxy-simulation.json <<'END'\n{text}\nEND")

    def pause(self) -> None:
        """Freezes every process of the host; connections stay open and get no answer."""
        podman("pause", self.container)

    def resume(self) -> None:
        podman("unpause", self.container)

    def remove(self) -> None:
        """Remove the host at once; a second call does nothing."""
        podman("rm", "--force", "--ignore", "--time", "0", self.container)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.removed(self)


def save(host: LabHost, host_key: str) -> None:
    """Write the data with which another process finds the host."""
    values = {key: value for key, value in asdict(host).items() if key not in ("directory", "removed")}
    (host.directory / "host.json").write_text(json.dumps(values | {"host_key": host_key}), encoding="utf-8")


def load(directory: Path, removed: Callable[[LabHost], None]) -> tuple[LabHost, str]:
    """Return the host that save() wrote, and its host key."""
    values = json.loads((directory / "host.json").read_text(encoding="utf-8"))
    host_key = values.pop("host_key")
    return LabHost(**values, directory=directory, removed=removed), host_key

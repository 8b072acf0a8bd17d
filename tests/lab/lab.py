"""A lab: a directory, a network of its own, and the hosts on it."""

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import image, inventory, states
from .errors import LabError
from .host import HostSpec, LabHost, load, save
from .podman import podman, succeeds
from .prepare import prepare

LABEL = "obproxy-lab"
DIRECTORY_LABEL = "obproxy-lab-directory"
_FIRST_ADDRESS = 10
_START_DEADLINE = 60.0  # seconds until a host must answer
_PATIENCE = 2.0  # seconds without an answer before podman is asked whether the host still runs
_AT_A_TIME = 4


class Lab:
    """Several labs, of one checkout or of many, live side by side: all names derive from the directory.

    Another process that opens the same directory sees the same hosts.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.key = hashlib.sha256(str(self.directory).encode()).hexdigest()[:10]
        self.network = f"{LABEL}-{self.key}"
        self._hosts_directory = self.directory / "hosts"
        self._private_key = self.directory / "ssh-key"
        self._known_hosts = self.directory / "known_hosts"

    @property
    def inventory(self) -> Path:
        """The directory with hosts.yml, to be given to Ansible."""
        return self.directory / "inventory"

    @property
    def hosts(self) -> dict[str, LabHost]:
        return {host.name: host for host, _ in self._started_hosts()}

    @staticmethod
    def prepare() -> None:
        """Check that podman and the images are there. Raise LabError."""
        prepare()

    def start(
        self,
        name: str,
        *,
        host_id: int,
        state: str = "running",
        version: str = states.DEFAULT_VERSION,
        sql_port: int = 2883,
        cluster: str | None = "",
    ) -> LabHost:
        """Start one host and wait until it is in its state. Raise LabError."""
        return self.start_many([HostSpec(name, host_id, state, version, sql_port, cluster)])[0]

    def start_many(self, specs: Iterable[HostSpec]) -> list[LabHost]:
        """Start hosts side by side. Raise LabError; then no host is left."""
        hosts: list[LabHost] = []
        try:
            with self._lock():
                self._ensure_ground()
                for spec in specs:
                    hosts.append(self._register(spec))
                self._write_inventory()
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                list(pool.map(self._launch, hosts))
            for host in hosts:
                _wait_until_ready(host)
        except BaseException:
            for host in hosts:
                host.remove()
            raise
        return hosts

    def ssh_command(self, host: LabHost, *command: str) -> list[str]:
        """Return the ssh command line of Ansible's connection."""
        options = [
            "-i",
            str(self._private_key),
            "-o",
            f"UserKnownHostsFile={self._known_hosts}",
            "-o",
            "LogLevel=ERROR",
        ]
        return ["ssh", *options, f"ops@{host.address}", *command]

    def close(self) -> None:
        """Remove everything that belongs to this lab, leftovers of crashed processes and the directory included."""
        # On a machine without podman there is nothing to remove.
        with contextlib.suppress(FileNotFoundError):
            containers = podman("ps", "--all", "--quiet", "--filter", f"label={LABEL}={self.key}").split()
            if containers:
                podman("rm", "--force", "--ignore", "--time", "0", *containers)
            if succeeds("network", "exists", self.network):
                podman("network", "rm", "--force", self.network)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _labels(self) -> list[str]:
        return ["--label", f"{LABEL}={self.key}", "--label", f"{DIRECTORY_LABEL}={self.directory}"]

    def _ensure_ground(self) -> None:
        """Make the SSH key and the network."""
        if not self._private_key.exists():
            _make_key(self._private_key)
        if not (self.directory / "network.json").exists():
            # No name service: it would be one more process, and hosts are known by address.
            if not succeeds("network", "exists", self.network):
                podman("network", "create", "--disable-dns", *self._labels, self.network)
            found = json.loads(podman("network", "inspect", self.network))[0]
            (self.directory / "network.json").write_text(json.dumps(found["subnets"][0]), encoding="utf-8")

    def _register(self, spec: HostSpec) -> LabHost:
        """Give the host its name, address and keys before it exists. Raise LabError."""
        if spec.state not in states.STATES:
            raise LabError(f"No state {spec.state}; there are {', '.join(states.STATES)}.")
        directory = self._hosts_directory / spec.name
        if directory.exists():
            raise LabError(f"There is a host {spec.name} already.")
        address = self._free_address()
        state = states.STATES[spec.state]
        version = state.version or spec.version
        directory.mkdir(parents=True)
        host = LabHost(
            name=spec.name,
            address=address,
            host_id=spec.host_id,
            sql_port=spec.sql_port,
            state=spec.state,
            version=version,
            cluster=states.cluster_for(version).name if spec.cluster == "" else spec.cluster,
            container=f"{self.network}-{spec.name}",
            directory=directory,
            removed=lambda _host: self._removed(),
        )
        _make_key(directory / "ssh_host_ed25519_key")
        shutil.copy(self._private_key.with_suffix(".pub"), directory / "authorized_keys")
        (directory / "state.sh").write_text(states.script(state, version, spec.sql_port), encoding="utf-8")
        if not state.has_ssh:
            (directory / "no-sshd").touch()
        directory.chmod(0o755)  # its sshd reads the keys as the login user, whatever the umask is here
        (directory / "authorized_keys").chmod(0o644)
        save(host, " ".join((directory / "ssh_host_ed25519_key.pub").read_text(encoding="utf-8").split()[:2]))
        return host

    def _launch(self, host: LabHost) -> None:
        state = states.STATES[host.state]
        target = f"obproxy-{host.version.partition('-')[0]}" if state.installed else "absent"
        more = [argument.format(home=host.home) for argument in state.arguments]
        more += ["--systemd=always"] if state.has_systemd else []
        first = "/lib/systemd/systemd" if state.has_systemd else "/usr/local/sbin/lab-boot"
        # SYS_PTRACE: root on a real host may read /proc/PID/exe of other users' processes.
        podman(
            "run", "--detach", "--name", host.container, "--cidfile", str(host.container_id),
            "--hostname", host.name, *self._labels,
            "--network", self.network, "--ip", host.address, "--mac-address", _mac(host.address),
            "--cap-add", "SYS_PTRACE",
            "--volume", f"{host.directory}:/lab:ro", "--log-driver", "k8s-file", *more,
            image.tag(target), first,
        )  # fmt: skip

    def _free_address(self) -> str:
        subnet = ipaddress.ip_network(json.loads((self.directory / "network.json").read_text())["subnet"])
        taken = {host.address for host, _ in self._started_hosts()}
        for offset in range(_FIRST_ADDRESS, subnet.num_addresses - 1):
            if (address := str(subnet[offset])) not in taken:
                return address
        raise LabError(f"The network {subnet} is full.")

    def _started_hosts(self) -> list[tuple[LabHost, str]]:
        files = sorted(self._hosts_directory.glob("*/host.json"))
        return [load(file.parent, lambda _host: self._removed()) for file in files]

    def _removed(self) -> None:
        with self._lock():
            self._write_inventory()

    def _write_inventory(self) -> None:
        entries = [
            inventory.Entry(
                name=host.name, address=host.address, host_id=host.host_id, cluster=host.cluster, host_key=host_key
            )
            for host, host_key in self._started_hosts()
        ]
        inventory.write(self.inventory, entries, self._private_key, self._known_hosts)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One process at a time changes the lab's directory."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _mac(address: str) -> str:
    """Return a MAC address that belongs to an IPv4 address.

    This machine remembers the MAC address of a removed host, and would not reach a new one at its IP address for up to
    40 seconds.
    """
    return ":".join(f"{byte:02x}" for byte in b"\x02\x00" + ipaddress.IPv4Address(address).packed)


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)], check=True)


def _wait_until_ready(host: LabHost) -> None:
    state = states.STATES[host.state]
    deadline = time.monotonic() + _START_DEADLINE
    look_at = time.monotonic() + _PATIENCE
    for port, wanted in ((22, state.has_ssh), (host.sql_port, state.listens)):
        while wanted and not _sends_handshake(host.address, port):
            now = time.monotonic()
            if now > look_at and (now > deadline or not _is_running(host)):
                raise LabError(f"{host.name}: nothing answers at port {port}.\n{podman('logs', host.container)}")
            look_at = now + _PATIENCE if now > look_at else look_at
            time.sleep(0.02)


def _is_running(host: LabHost) -> bool:
    return podman("inspect", "--format", "{{.State.Running}}", host.container).strip() == "true"


def _sends_handshake(address: str, port: int) -> bool:
    """Return whether a server sends a handshake there; both sshd and an OBProxy send first."""
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            return bool(connection.recv(64))
    except OSError:
        return False

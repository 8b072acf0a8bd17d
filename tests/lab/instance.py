"""A simulated OBProxy as a process of this machine, without a container: quick to start, on ports of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import until

from .simulator.wire import sha1_hex

_RUN = (
    "import sys; sys.path.insert(0, {folder!r}); from simulator.main import main; "
    "from simulator.release import Release; "
    "sys.exit(main(sys.argv, Release(version={version!r}, build={build!r})))"
)
_DEADLINE = 60.0
RS_LIST = "127.0.0.1:2881"  # nothing listens there


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class Instance:
    """One home directory and the ports of the proxy in it; start it as often as you like.

    As a context manager it ends whatever runs in that home.
    """

    def __init__(self, home: Path, *, version: str = "4.3.1.0", build: str = "1.el7", observer: bool = False) -> None:
        self.home = home
        self.sql_port, self.metrics_port, self.rpc_port = free_ports(3)
        self._code = _RUN.format(folder=str(Path(__file__).parent), version=version, build=build)
        self._rpc_arguments = () if int(version.split(".")[0]) < 4 else ("-s", str(self.rpc_port))
        self.switches = home / "simulation.json"
        home.mkdir(parents=True, exist_ok=True)
        self.switches.write_text('{"observer": true}' if observer else "{}", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def launch(self, *arguments: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run bin/obproxy with exactly these arguments, under a command if given; return when the launcher ends."""
        command_line = [*under, *self._command_line(arguments)]
        return subprocess.run(
            command_line, cwd=self.home, env=self._environment(), capture_output=True, text=True,
            timeout=_DEADLINE, check=False,
        )  # fmt: skip

    def foreground(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it with -N."""
        return subprocess.Popen(
            self._command_line(("-N", *arguments)), cwd=self.home, env=self._environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def first_start(self, *, password: str | None = None, name: str = "testapp", more: str = "") -> None:
        """Start it for the first time with an rs list, and a password if given; wait until it listens."""
        options = [] if password is None else [f"obproxy_sys_password={sha1_hex(password)}"]
        self.launch(*self.port_arguments, *self.route_arguments(name), "-o", ",".join(filter(None, [*options, more])))
        self.wait_until_listening()

    @property
    def port_arguments(self) -> tuple[str, ...]:
        return ("-p", str(self.sql_port), "-l", str(self.metrics_port), *self._rpc_arguments)

    @staticmethod
    def route_arguments(name: str = "testapp") -> tuple[str, ...]:
        return ("-r", RS_LIST, "-c", "test", "-n", name)

    def pids(self) -> list[int]:
        """Return the processes of the simulator that have this home."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                is_simulator = self._code.encode() in (entry / "cmdline").read_bytes()
                if is_simulator and (entry / "cwd").readlink() == self.home:
                    found.append(int(entry.name))
        return found

    def listens(self, port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    def wait_until_listening(self, port: int | None = None) -> None:
        deadline = time.monotonic() + _DEADLINE
        while not self.listens(port or self.sql_port):
            assert time.monotonic() < deadline, f"does not listen: {self.log()}"
            time.sleep(0.01)

    def wait_until_gone(self) -> None:
        until(lambda: not self.pids(), "the process still runs")

    def wait_for_log(self, name: str, text: str) -> None:
        deadline = time.monotonic() + _DEADLINE
        while text not in self.log(name):
            assert time.monotonic() < deadline, f"{text} is not in {name}: {self.log(name)}"
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait_until_gone()

    def log(self, name: str = "obproxy.log") -> str:
        path = self.home / "log" / name
        return path.read_text(encoding="utf-8") if path.exists() else "(no log)"

    def _command_line(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", self._code, *arguments]

    def _environment(self) -> dict[str, str]:
        return {"OBPROXY_SIMULATION": str(self.switches), "PATH": os.environ["PATH"]}

"""Clocks that tests step: of the processes of a part of the service, and of the programs that Ansible runs on a host.

The library of image/stepped_clock.c adds an offset to the wall clock of a process that loads it.
"""

import subprocess
import sys
from pathlib import Path

from .. import image
from ..errors import LabError
from ..host import LabHost
from ..podman import podman

INTERPRETER = "/usr/local/bin/stepped-python3"
_LIBRARY = Path("/usr/local/lib/stepped_clock.so")  # in the image of the hosts
_OFFSET_ON_HOST = "/run/clock-offset"
_SCRIPT = f"""echo 0 > {_OFFSET_ON_HOST}
cat > {INTERPRETER} <<'END'
#!/bin/sh
export LD_PRELOAD={_LIBRARY} STEPPED_CLOCK={_OFFSET_ON_HOST}
exec /usr/bin/python3 "$@"
END
chmod 755 {INTERPRETER}"""


class PartClock:
    """The clock of one part of the service, which starts with `environment`."""

    def __init__(self, library: Path, offset: Path) -> None:
        self._offset = offset
        self.environment = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(offset)}
        self.step(0)

    def step(self, seconds: int) -> None:
        """Set the clock to the machine's time and `seconds`."""
        self._offset.write_text(str(seconds))


class HostClock:
    """The clock of the programs that Ansible runs on a host whose interpreter is INTERPRETER."""

    def __init__(self, host: LabHost) -> None:
        self._host = host
        host.run(_SCRIPT)

    def step(self, seconds: int) -> None:
        """Set the clock to the machine's time and `seconds`."""
        self._host.run(f"echo {seconds} > {_OFFSET_ON_HOST}")


class Clocks:
    """Makes clocks of parts of the service; their files are in the new directory `directory`."""

    def __init__(self, directory: Path) -> None:
        """Raise LabError if the library of the hosts' image does not work on this machine."""
        directory.mkdir()
        self._directory = directory
        podman(
            "run", "--rm", "--volume", f"{directory}:/copy", image.tag(image.TARGETS[0]), "cp", str(_LIBRARY), "/copy/"
        )
        self._check()

    def of_part(self, name: str) -> PartClock:
        return PartClock(self._directory / _LIBRARY.name, self._directory / f"{name}.offset")

    def _check(self) -> None:
        clock, code = self.of_part("check"), "import datetime; print(datetime.date.today().year)"
        clock.step(-(10**9))  # about 31 years
        done = subprocess.run(
            [sys.executable, "-c", code], env=clock.environment, capture_output=True, text=True, check=False
        )
        if not done.stdout.startswith("199"):
            raise LabError(f"{_LIBRARY.name} of the lab's image does not step a clock here: {done.stdout}{done.stderr}")

"""Holding a run where one wants it: at the beginning of a role, or in the middle of a program on the host.

The service is not involved. The lab's inventory gets a connection variable, which Ansible evaluates before each Ansible
task with the role's name. It also gets an interpreter that waits as long as a file exists.
"""

from pathlib import Path

from ..host import LabHost

_INTERPRETER = "/usr/local/bin/held-python3"
_HELD = "/run/held"

_SCRIPT = f"""cat > {_INTERPRETER} <<'END'
#!/bin/sh
while [ -e {_HELD} ]; do sleep 0.2; done
exec /usr/bin/python3 "$@"
END
chmod 755 {_INTERPRETER}"""

# The last file of an inventory directory wins.
_INVENTORY = """all:
  vars:
    ansible_python_interpreter: {interpreter}
    ansible_ssh_extra_args: >-
      {{{{ lookup('ansible.builtin.pipe', 'while [ -e {directory}/' ~ inventory_hostname ~ '.' ~
      (role_name | default('none')) ~ ' ]; do sleep 0.2; done') }}}}
"""


class Holds:
    """The places where runs of hosts are held."""

    def __init__(self, directory: Path, lab_inventory: Path) -> None:
        self._directory = directory / "holds"
        self._directory.mkdir(parents=True)
        self.inventory = directory / "inventory"
        """The lab's inventory with those variables; follows the lab's."""
        self.inventory.mkdir()
        (self.inventory / "hosts.yml").symlink_to(lab_inventory / "hosts.yml")
        text = _INVENTORY.format(interpreter=_INTERPRETER, directory=self._directory)
        (self.inventory / "zz-holds.yml").write_text(text, encoding="utf-8")

    def prepare(self, host: LabHost) -> None:
        """Prepare a host before its first run."""
        host.run(_SCRIPT)

    def at(self, host: LabHost, role: str) -> None:
        """Stop the run of this host, on this machine, at the beginning of `role`."""
        (self._directory / f"{host.name}.{role}").touch()

    def in_program(self, host: LabHost) -> None:
        """Stop the next program that runs on the host."""
        host.run(f"touch {_HELD}")

    def release_role(self, host: LabHost, role: str) -> None:
        (self._directory / f"{host.name}.{role}").unlink(missing_ok=True)

    def release(self, host: LabHost) -> None:
        """Everything of this host goes on."""
        for place in self._directory.glob(f"{host.name}.*"):
            place.unlink(missing_ok=True)
        host.run(f"rm -f {_HELD}")

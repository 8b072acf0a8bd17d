"""Identifies the supervisor of an OBProxy from the result of `programs.supervision` (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OBPROXYD, OBD, SYSTEMD = "obproxyd.sh", "obd", "systemd"
SUPERVISORD, CRON, KEEPER, CONTAINER, NONE = "supervisord", "cron", "keeper", "container", "none"
# Processes that only run a command as another user or in another session.
_CARRIERS = frozenset({"runuser", "su", "sudo", "setsid", "nohup", "env"})
_CRONS = frozenset({"cron", "crond", "cronie", "anacron"})


@dataclass(frozen=True, kw_only=True)
class Supervisor:
    """Restarts an OBProxy that has exited.

    kind    one of the constants above
    description  for messages
    unit    of systemd
    """

    kind: str
    description: str
    unit: str = ""

    @property
    def restarts_itself(self) -> bool:
        """Return whether only the supervisor may start the OBProxy: it would start a second one otherwise."""
        return self.kind in (OBD, SYSTEMD)

    @property
    def may_be_restarted(self) -> bool:
        """Return whether a takeover can restart an OBProxy under this supervisor."""
        return self.kind in (NONE, OBPROXYD, OBD, SYSTEMD)


def supervisor_of(found: Mapping[str, Any]) -> Supervisor:
    """Return the supervisor: a container, a unit, a watchdog or a parent, in this order."""
    if found["engine"]:
        return Supervisor(kind=CONTAINER, description=f"a container ({found['engine']})")
    parents = found["parents"]
    if unit := _from_unit(found["unit"], found["pid"], parents):
        return unit
    for kind in (OBD, OBPROXYD):
        if pids := [str(one["pid"]) for one in found["watchdogs"] if one["kind"] == kind]:
            owner = "the deployer's watchdog" if kind == OBD else "its watchdog"
            return Supervisor(kind=kind, description=f"{owner} {OBPROXYD} with pid {', '.join(pids)}")
    keeper = _from_parents(parents)
    if keeper.kind == NONE and (jobs := found.get("jobs")):
        return Supervisor(kind=CRON, description=f"a job in {jobs[0]['file']} ({jobs[0]['line']})")
    return keeper


def _from_unit(unit: Mapping[str, Any] | None, pid: int, parents: Sequence[Mapping[str, Any]]) -> Supervisor | None:
    """Return the supervisor of a control group.

    A daemon stays in the control group of the process that started it, such as the agent or sshd. Only a unit for the
    OBProxy restarts it.
    """
    if unit is None:
        return None
    name = unit["name"]
    if name.removesuffix(".service") in _CRONS:
        return Supervisor(kind=CRON, description=f"a job of {name}")
    if unit["main_pid"] == pid or "obproxy" in unit["starts"]:
        return Supervisor(kind=SYSTEMD, description=f"the systemd unit {name}", unit=name)
    is_main = unit["main_pid"] in {parent["pid"] for parent in parents}
    return _from_parents(parents) if is_main else None


def _from_parents(parents: Sequence[Mapping[str, Any]]) -> Supervisor:
    """Return the supervisor among the parent processes; pid 1 adopts every daemon and does not count."""
    keeper = next((parent for parent in parents if parent["comm"] not in _CARRIERS), None)
    if keeper is None:
        return Supervisor(kind=NONE, description="nothing")
    description = f"{keeper['comm']} with pid {keeper['pid']}" + (
        f" ({keeper['program']})" if keeper["program"] else ""
    )
    kind = SUPERVISORD if keeper["comm"] == SUPERVISORD else CRON if keeper["comm"] in _CRONS else KEEPER
    return Supervisor(kind=kind, description=description)

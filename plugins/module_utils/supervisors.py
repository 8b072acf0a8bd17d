"""What keeps an OBProxy alive, judged from what `programs.supervision` read on its host (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OBPROXYD, OBD, SYSTEMD = "obproxyd.sh", "obd", "systemd"
SUPERVISORD, CRON, KEEPER, CONTAINER, NONE = "supervisord", "cron", "keeper", "container", "none"
# Processes that only carry a command over to another user or session.
_CARRIERS = frozenset({"runuser", "su", "sudo", "setsid", "nohup", "env"})
_CRONS = frozenset({"cron", "crond", "cronie", "anacron"})


@dataclass(frozen=True, kw_only=True)
class Supervisor:
    """Keeps an OBProxy alive.

    kind    one of the constants above
    told    it in words, for messages
    unit    of systemd
    """

    kind: str
    told: str
    unit: str = ""

    @property
    def restarts_itself(self) -> bool:
        """Return whether a restart is its business: it would start one beside anybody else's."""
        return self.kind in (OBD, SYSTEMD)

    @property
    def may_be_restarted(self) -> bool:
        """Return whether a takeover can restart an OBProxy under this supervisor, and leave both in order."""
        return self.kind in (NONE, OBPROXYD, OBD, SYSTEMD)


def supervisor_of(found: Mapping[str, Any]) -> Supervisor:
    """Return the supervisor: a container, a unit, a watchdog or a parent, in this order."""
    if found["engine"]:
        return Supervisor(kind=CONTAINER, told=f"a container ({found['engine']})")
    parents = found["parents"]
    if unit := _unit(found["unit"], found["pid"], parents):
        return unit
    for kind in (OBD, OBPROXYD):
        if pids := [str(one["pid"]) for one in found["watchdogs"] if one["kind"] == kind]:
            whose = "the deployer's watchdog" if kind == OBD else "its watchdog"
            return Supervisor(kind=kind, told=f"{whose} {OBPROXYD} with pid {', '.join(pids)}")
    keeper = _keeper(parents)
    if keeper.kind == NONE and (jobs := found.get("jobs")):
        return Supervisor(kind=CRON, told=f"a job in {jobs[0]['file']} ({jobs[0]['line']})")
    return keeper


def _unit(unit: Mapping[str, Any] | None, pid: int, parents: Sequence[Mapping[str, Any]]) -> Supervisor | None:
    """Return the supervisor that a control group tells. A daemon stays in the group of whatever has started it, such
    as the agent's or sshd's: only a unit that is made for the OBProxy restarts it."""
    if unit is None:
        return None
    name = unit["name"]
    if name.removesuffix(".service") in _CRONS:
        return Supervisor(kind=CRON, told=f"a job of {name}")
    if unit["main_pid"] == pid or "obproxy" in unit["starts"]:
        return Supervisor(kind=SYSTEMD, told=f"the systemd unit {name}", unit=name)
    is_main = unit["main_pid"] in {parent["pid"] for parent in parents}
    return _keeper(parents) if is_main else None


def _keeper(parents: Sequence[Mapping[str, Any]]) -> Supervisor:
    """Return the supervisor that the chain of parents tells; the first process of a host adopts every daemon."""
    keeper = next((parent for parent in parents if parent["comm"] not in _CARRIERS), None)
    if keeper is None:
        return Supervisor(kind=NONE, told="nothing")
    told = f"{keeper['comm']} with pid {keeper['pid']}" + (f" ({keeper['program']})" if keeper["program"] else "")
    kind = SUPERVISORD if keeper["comm"] == SUPERVISORD else CRON if keeper["comm"] in _CRONS else KEEPER
    return Supervisor(kind=kind, told=told)

"""Action plugin obproxy_record: keeps the state before a takeover on the host, for a rollback."""

import json
from pathlib import Path
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import (
    PROXYRO,
    SYS,
    Record,
    is_whole,
    record,
    seal,
    with_wishes,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_record import DOCUMENTATION


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        facts, state = self.facts, arguments["state"]
        if state == "absent":
            return self._remove(facts)
        if state == "finished":
            return self._finish(facts)
        if facts["recorded"] is not None:
            return self._keep(facts["recorded"], arguments["wished"])
        taken = record(facts, arguments["wished"], self._sealed(facts))
        result = self.converge(
            "The state before the takeover can be recorded on the host", [self._file(taken, replace=False)]
        )
        if taken["passwords"]:
            result["ansible_facts"] = {"obproxy": facts | {"recorded": taken}}
        return result

    def _sealed(self, facts: dict[str, Any]) -> str | None:
        """The former passwords, as far as this run knows them and they are about to be replaced."""
        secrets, known = self.secrets(), {}
        if facts["login"] == "given" and not facts["passwords_as_wished"].get(SYS, False):
            known[SYS] = secrets["obproxy_current_sys_password"] or ""
        if facts["proxyro_as_given"] and not facts["passwords_as_wished"].get(PROXYRO, False):
            known[PROXYRO] = secrets["obproxy_current_proxyro_password"] or ""
        return seal(known, secrets["obproxy_sys_password"])

    def _file(self, content: Record, *, replace: bool) -> dict[str, Any]:
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        path = self.own_file("before")
        return {"path": path, "text": text, "mode": "0600", "directory_mode": "0700", "replace": replace}

    def _finish(self, facts: dict[str, Any]) -> Result:
        """Forget the former passwords, and remove the temporary files that a killed run has left behind."""
        known, leftovers = facts["recorded"] or {}, facts["leftovers"]
        files: list[dict[str, Any]] = [{"path": path, "text": None} for path in leftovers]
        if known.get("passwords"):
            files.append(self._file(self._whole(known) | {"passwords": None}, replace=True))
        if not files:
            return {"changed": False, "msg": "nothing is left to clean up"}
        done = ["forgot the former passwords"] if known.get("passwords") else []
        done += [f"removed {', '.join(leftovers)}"] if leftovers else []
        return self.converge("What the takeover leaves on the host can be cleaned up", files) | {"msg": "; ".join(done)}

    def _keep(self, known: Record, wished: dict[str, Any]) -> Result:
        """Keep the record of an earlier run, to which a rollback goes back; note what this run sets besides."""
        result: Result = {
            "changed": False,
            "msg": "the record of an earlier run is there; a rollback goes back to that",
        }
        if with_wishes(known, wished) != known:
            whole = with_wishes(self._whole(known), wished)
            result |= self.converge("The record can be kept on the host", [self._file(whole, replace=True)])
            result["ansible_facts"] = {"obproxy": self.facts | {"recorded": whole}}
        return result

    def _whole(self, known: Record) -> Record:
        """Return the record with its parameters, which a discovery leaves out unless it is asked for them."""
        if is_whole(known):
            return known
        recorded: Record = self.rediscover(record=True)["ansible_facts"]["obproxy"]["recorded"] or {}
        if not is_whole(recorded):
            raise FailedRule(
                "The record of the state before the takeover is complete",
                f"{self.own_file('before')} has no parameters",
                "remove the file when no rollback is wanted any more, then run it again",
            )
        return recorded

    def _remove(self, facts: dict[str, Any]) -> Result:
        """All that the takeover kept on the host, and the directories of root's that were made for it."""
        paths = [self.own_file(name) for name in ("pending", "done", "before")]
        above = (facts["recorded"] or {}).get("absent_directories", [])
        made = [path for path in above if facts["asked"]["fact_file"].startswith(f"{path}/")]
        prune = [*made, *(path for path in above if paths[0].startswith(f"{path}/")), str(Path(paths[0]).parent)]
        files = [{"path": path, "text": None} for path in paths]
        return self.converge("What the takeover kept on the host can be removed", files, prune=sorted(set(prune)))

"""Action plugin obproxy_record: stores the state before a takeover on the host, for a rollback."""

from pathlib import Path
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import Result
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import is_managed
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.converge import BACKUP
from ansible_collections.obproxy.takeover.plugins.module_utils.recording import RecordingAction
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import (
    PROXYRO,
    SYS,
    Record,
    build_record,
    encrypt_passwords,
    is_complete,
    with_desired,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_record import DOCUMENTATION


class ActionModule(RecordingAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        facts, state = self.facts, arguments["state"]
        if state == "absent":
            return self._remove(facts, self._record_files())
        if state == "released":
            # The record last: it names the directories to remove, which a retry needs to know.
            return self._remove(facts, [*self._note_files(facts, arguments["managed_by"]), *self._record_files()])
        if state == "finished":
            return self._finish(facts)
        if facts["recorded"] is not None:
            return self._keep(facts["recorded"], arguments["desired"])
        taken = build_record(facts, arguments["desired"], self._encrypted_passwords(facts))
        result = self.converge(
            "The state before the takeover can be recorded on the host", [self.record_file(taken, replace=False)]
        )
        if taken["passwords"]:
            result["ansible_facts"] = {"obproxy": facts | {"recorded": taken}}
        return result

    def _encrypted_passwords(self, facts: dict[str, Any]) -> str | None:
        """Return the encrypted former passwords that this run knows and will replace."""
        secrets, known = self.secrets(), {}
        if facts["login"] == "given" and not facts["passwords_as_desired"].get(SYS, False):
            known[SYS] = secrets["obproxy_current_sys_password"] or ""
        if facts["proxyro_as_given"] and not facts["passwords_as_desired"].get(PROXYRO, False):
            known[PROXYRO] = secrets["obproxy_current_proxyro_password"] or ""
        return encrypt_passwords(known, secrets["obproxy_sys_password"])

    def _finish(self, facts: dict[str, Any]) -> Result:
        """Remove the former passwords from the record, and the temporary files of killed runs."""
        known, leftovers = facts["recorded"] or {}, facts["leftovers"]
        files: list[dict[str, Any]] = [{"path": path, "text": None} for path in leftovers]
        if known.get("passwords"):
            files.append(self.record_file(self._complete(known) | {"passwords": None}, replace=True))
        if not files:
            return {"changed": False, "msg": "nothing to clean up"}
        done = ["removed the former passwords"] if known.get("passwords") else []
        done += [f"removed {', '.join(leftovers)}"] if leftovers else []
        return self.converge("The takeover's files on the host can be cleaned up", files) | {"msg": "; ".join(done)}

    def _keep(self, known: Record, desired: dict[str, Any]) -> Result:
        """Keep the record of an earlier run, and add the parameters that this run sets."""
        result: Result = {
            "changed": False,
            "msg": "the record of an earlier run exists; a rollback restores that state",
        }
        if with_desired(known, desired) != known:
            whole, stored = self.store_desired(self._complete(known), desired)
            result |= stored
            result["ansible_facts"] = {"obproxy": self.facts | {"recorded": whole}}
        return result

    def _complete(self, known: Record) -> Record:
        """Return the record with its parameters; raise FailedRule when it has none."""
        recorded = self.whole_record(known)
        if not is_complete(recorded):
            raise FailedRule(
                "The record of the state before the takeover is complete",
                f"{self.state_file('before')} has no parameters",
                "remove the file if no rollback is needed, then run the takeover again",
            )
        return recorded

    def _record_files(self) -> list[str]:
        return [self.state_file(name) for name in ("pending", "done", "before")]

    def _note_files(self, facts: dict[str, Any], managed_by: str) -> list[str]:
        """Return the note of who manages the OBProxy and the copy of a former one, and what a killed run has left."""
        path = facts["discovery_arguments"]["fact_file"]
        is_ours = facts["local_fact"] is None or is_managed(facts, managed_by)
        return [*facts["leftovers"], *([path, path + BACKUP] if is_ours else [])]

    def _remove(self, facts: dict[str, Any], paths: list[str]) -> Result:
        """Remove the takeover's files on the host, and the directories that it created for them."""
        above = (facts["recorded"] or {}).get("absent_directories", [])
        made = [path for path in above if facts["discovery_arguments"]["fact_file"].startswith(f"{path}/")]
        own = self.state_file("before")
        prune = [*made, *(path for path in above if own.startswith(f"{path}/")), str(Path(own).parent)]
        files = [{"path": path, "text": None} for path in paths]
        return self.converge("The takeover's files on the host can be removed", files, prune=sorted(set(prune)))

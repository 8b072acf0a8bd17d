"""Action plugin obproxy_passwords: sets the passwords of proxyro and root@proxysys."""

from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.changes import not_restored, password_change
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import password_drift
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import stage_one
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import why_not_settable
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import PROXYRO, SYS, former_passwords
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Session, SqlError
from ansible_collections.obproxy.takeover.plugins.module_utils.tunnel import Tunnels
from ansible_collections.obproxy.takeover.plugins.module_utils.versions import PROXYRO_SINCE, has_settable_proxyro
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_passwords import DOCUMENTATION


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        return self.result_before_start() or self._act(arguments)

    def _act(self, arguments: dict[str, Any]) -> Result:
        wanted, notes = self._passwords_to_set(arguments["target"])
        for name, password in wanted.items():
            if why := why_not_settable(password):
                raise FailedRule(
                    "The desired passwords can be set by ALTER PROXYCONFIG",
                    f"the one for {name} {why}",
                    "choose a password without quotes and backslashes",
                )
        if self.is_check_mode:
            self.changes += map(password_change, wanted)
        elif wanted:
            with self.tunnels() as tunnels:
                self._set(tunnels, wanted)
        names = "".join(f"{name}\n" for name in wanted)
        done = f"set: {', '.join(wanted)}" if wanted else f"no password had to be set to the {arguments['target']} one"
        return {
            "changed": bool(wanted),
            "msg": "; ".join([done, *notes]),
            "stays": notes if arguments["target"] == "former" else [],
            **({} if self.is_check_mode else {"obproxy_server": {"password_drift": self._drift(wanted, arguments)}}),
            "diff": {
                "before": names.replace("\n", ": another password\n"),
                "after": names.replace("\n", f": {arguments['target']}\n"),
            },
        }

    def _drift(self, wanted: dict[str, str], arguments: dict[str, Any]) -> list[str]:
        """Return the passwords that differ from the cluster's after `wanted` have been set."""
        differ = set(password_drift(self.facts))
        return sorted(differ - wanted.keys() if arguments["target"] == "desired" else differ | wanted.keys())

    def _passwords_to_set(self, target: str) -> tuple[dict[str, str], list[str]]:
        """Return the plain-text passwords to set by parameter name, root@proxysys last, and messages."""
        if target == "former":
            return self._former_passwords()
        secrets, facts = self.secrets(), self.facts
        as_desired, notes, wanted = facts["passwords_as_desired"], [], {}
        if secrets["obproxy_proxyro_password"] is not None and not as_desired.get(PROXYRO, False):
            if not has_settable_proxyro(facts["version"]):
                notes.append(f"proxyro's password is not set: OBProxy is older than {PROXYRO_SINCE}")
            else:
                wanted[PROXYRO] = secrets["obproxy_proxyro_password"]
        if secrets["obproxy_sys_password"] is not None and not as_desired.get(SYS, False):
            wanted[SYS] = secrets["obproxy_sys_password"]
        return wanted, notes

    def _former_passwords(self) -> tuple[dict[str, str], list[str]]:
        secrets, facts = self.secrets(), self.facts
        given = {SYS: secrets["obproxy_current_sys_password"], PROXYRO: secrets["obproxy_current_proxyro_password"]}
        former, lost = former_passwords(
            facts["recorded"], facts["passwords_as_desired"], given, secrets["obproxy_sys_password"]
        )
        self.changes += [not_restored(name, "") for name in lost]
        return former, list(lost.values())

    def _set(self, tunnels: Tunnels, wanted: dict[str, str]) -> None:
        _, former, session = self.admin_session(tunnels)
        with session:
            try:
                self.require_same_process(session)
                if PROXYRO in wanted:
                    session.alter(PROXYRO, wanted[PROXYRO])
                    self.changes.append(password_change(PROXYRO))
                    if session.parameter(PROXYRO) != stage_one(wanted[PROXYRO]):
                        raise SqlError(0, "the stored value is not the sha1 of the new password")
                if SYS in wanted:
                    session.alter(SYS, wanted[SYS])
                    self.changes.append(password_change(SYS))
            except SqlError as error:
                raise FailedRule(
                    "OBProxy accepts the desired passwords",
                    str(error),
                    "read OBProxy's log; a full disk is a common cause",
                ) from error
            if SYS in wanted:
                self._verify_login(tunnels, session, wanted[SYS], former)

    def _verify_login(self, tunnels: Tunnels, session: Session, password: str, former: str) -> None:
        """Log in with the new password; if that fails, restore the former one through the open session."""
        try:
            with self.log_in(tunnels, self.sql_endpoint(), [("new", password)])[2] as new_session:
                self.require_same_process(new_session)
        except SqlError as error:
            try:
                session.alter(SYS, former)
                self.changes.remove(password_change(SYS))
                outcome = "the former password was restored"
            except (SqlError, ValueError) as second:
                outcome = f"the former password could not be restored: {second}"
            raise FailedRule(
                "root@proxysys can log in with its new password",
                f"{error}; {outcome}",
                "read OBProxy's log; another run may have set another password at the same time",
            ) from error

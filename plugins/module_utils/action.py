"""Base class of the takeover's action plugins: host programs, SQL through SSH, error messages, secrets.

An Ansible module takes 0.2 s on the host to unpack itself; a program on standard input takes a tenth of that
(docs/reference/ansible-costs.md). Such a program gets its arguments as data only (`host_programs.program_text`).
"""

import json
import os
import shlex
from typing import Any, ClassVar

from ansible import constants
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from . import addresses
from .changes import Change, file_change, parameter_change
from .findings import findings, is_requested
from .host_errors import become_failure, connection_failure, program_failure
from .host_programs import NoResult, parse_result, program_text
from .masking import Hidden, masked, masker
from .nested import nested_action
from .parameter_values import Difference
from .rollback_record import SYS, decrypt_passwords
from .rules import FailedRule, Unreachable, fix_for_root
from .sql import Denied, Session, SqlError, apply_parameters, log_in, other_process
from .tunnel import TunnelError, Tunnels

Result = dict[str, Any]
_MARK = "OBPROXY_TAKEOVER"
NO_LOGIN = ("denied", "unreachable", "untried")  # values of the fact `login` without a valid password
# Variables with secrets. They are read here and never passed as task arguments, which callbacks may record.
SECRETS = (
    *("obproxy_current_sys_password", "obproxy_current_proxyro_password"),
    *("obproxy_sys_password", "obproxy_proxyro_password"),
)


class HostAction(ActionBase):  # type: ignore[misc] # Ansible is untyped
    """Runs programs on the host and SQL statements in its OBProxy."""

    TRANSFERS_FILES = False
    OPTIONS: ClassVar[dict[str, Any]] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Validate the arguments by `OPTIONS`, call `act`, and report a failed rule without secrets."""
        super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        self.changes: list[Change] = []  # what `act` has changed so far, also if it fails, or would change
        _, arguments = self.validate_argument_spec(self.OPTIONS)
        try:
            result = self.act(arguments)
        except FailedRule as failed:
            return self._failure(failed)
        except SqlError as error:
            return self._failure(
                FailedRule(
                    "OBProxy answers every statement of root@proxysys",
                    str(error),
                    "read OBProxy's log/obproxy.log, then retry",
                )
            )
        return result | self._masked({"changes": self.changes}) if self.changes else result

    def _failure(self, failed: FailedRule) -> Result:
        """Return the result of a failed rule. If the playbook wants all findings, the run continues after it."""
        hidden = self._masked({"failed_rules": [failed.as_data()], "changes": self.changes})
        (rule,) = hidden["failed_rules"]
        shown = FailedRule(**rule)
        if isinstance(failed, Unreachable):
            return hidden | {"unreachable": True, "msg": str(shown)}
        if self.is_check_mode and is_requested(self.task_vars, self._templar):
            return findings(self.facts, [shown]) | {"changes": hidden["changes"]}
        return hidden | {"failed": True, "msg": str(shown)}

    def _masked(self, result: Result) -> Result:
        secrets = {name: Hidden(secret) for name, secret in self.secrets().items() if secret}
        return dict(masked(result, masker([secrets])))

    def act(self, arguments: dict[str, Any]) -> Result:
        """Return the plugin's result, or raise FailedRule."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, Any]:
        """Return the fact `obproxy` of this run's discovery."""
        found = self.task_vars.get("ansible_facts", {}).get("obproxy")
        if found is None:
            raise FailedRule(
                "The host was discovered in this run",
                "there is no fact obproxy",
                "run playbooks/takeover.yml, or import playbooks/tasks/discover.yml before the role",
            )
        return dict(found)

    def state_file(self, name: str) -> str:
        """Return the path of one of the takeover's own files on the host: before, pending, done."""
        facts = self.facts
        return f"{facts['discovery_arguments']['state_directory']}/{name}-{facts['sql_port']}.json"

    def obproxy_user(self) -> Result:
        """Return the acting user of a program in directories of the OBProxy's user.

        It is the user of the discovered process, else the inventory's; never a file's owner, which a user can change.
        """
        process = self.facts["process"]
        known = {key: process[key] for key in ("pid", "started")} if process else None
        return {"as_user": self.facts["discovery_arguments"]["user"], "process": known}

    def write_progress(self, **what: Any) -> None:
        """Write a step to the progress file before it runs. A rollback undoes only these steps."""
        done = json.dumps(self.facts["done"] | what, sort_keys=True) + "\n"
        file = {"path": self.state_file("done"), "text": done, "mode": "0600", "directory_mode": "0700"}
        self._write_files("The progress of the takeover can be written on the host", [file])

    @property
    def is_check_mode(self) -> bool:
        """Return whether the run is in check mode, in which the plugin must change nothing."""
        return bool(self._task.check_mode)

    def result_before_start(self) -> Result | None:
        """Return the check-mode result of work that needs a running OBProxy; None when it runs.

        Without a login, its parameters are unknown, and an earlier role has reported the reason. Raises FailedRule when
        it does not run outside check mode.
        """
        if self.facts["running"]:
            return self.result_without_login()
        if self.is_check_mode:
            return {"changed": True, "msg": "the OBProxy does not run yet; this step would follow its start"}
        raise FailedRule(
            "The OBProxy runs",
            f"nothing listens on port {self.facts['sql_port']}",
            "start it, or also run the roles before this one",
        )

    def result_without_login(self) -> Result | None:
        """Return the check-mode result of work that needs a login; None with a login, or outside check mode.

        Raises FailedRule unless an earlier Ansible task has reported findings, such as the denied login.
        """
        if not self.is_check_mode or self.facts["login"] not in NO_LOGIN:
            return None
        if self.facts.get("findings"):
            return {"changed": False, "msg": "Not checked: root@proxysys cannot log in.", "unchecked": True}
        raise _login_failure(f"login: {self.facts['login']} ({self.facts['login_error'] or 'no error'})")

    def rediscover(self, *, record: bool = False) -> Result:
        """Run the discovery again after an installation or a start; with `record`, read the complete record.

        Raises FailedRule when it fails, in check mode too.
        """
        arguments = self.facts["discovery_arguments"] | ({"record": True} if record else {})
        action = nested_action(self, "obproxy.takeover.obproxy_discover", arguments)
        result = dict(action.run(task_vars=self.task_vars))
        for failed in [*result.get("failed_rules", []), *result.get("findings", [])]:
            raise (Unreachable if result.get("unreachable") else FailedRule)(**failed)
        # This run may have changed the host, so the difference to the last discovery is not someone else's.
        server = result["obproxy_server"]
        return result | {"obproxy_server": server and server | {"is_rediscovered": True}}

    def secrets(self) -> dict[str, str | None]:
        """Return the values of the secret variables, None for an unset one."""
        return {name: self._secret(name) for name in SECRETS}

    def _secret(self, name: str) -> str | None:
        value = self._templar.template(self.task_vars.get(name))
        return None if value is None else str(value)

    def python(self) -> str:
        """Return the host's Python interpreter, of the inventory or of Ansible's configuration."""
        chosen = self.task_vars.get("ansible_python_interpreter") or constants.config.get_config_value(
            "INTERPRETER_PYTHON", variables=self.task_vars
        )
        chosen = str(self._templar.template(chosen))
        return "/usr/bin/python3" if chosen.startswith("auto") else chosen

    def execute(self, command: str, in_data: bytes | None = None) -> Result:
        """Run a shell command as the become user.

        Its environment contains the run's identifier, by which playbooks/leftovers.yml finds orphaned processes.
        """
        mark = os.environ.get(_MARK)
        marked = f"{_MARK}={shlex.quote(mark)} {command}" if mark else command
        return dict(self._low_level_execute_command(marked, in_data=in_data))

    def _login_user(self) -> str:
        return str(self._play_context.remote_user or "USER")

    def run_program(self, name: str, arguments: dict[str, Any]) -> Result:
        """Run a host program as the become user and return its result."""
        try:
            ended = self.execute(f"{self.python()} -IS -", program_text(name, arguments))
        except AnsibleConnectionFailure as failure:
            raise connection_failure(str(failure.message).strip(), self._login_user()) from None
        except AnsibleError as failure:  # "Missing sudo password": the become plugin does not wait for a prompt
            raise become_failure(str(failure.message), self._login_user()) from None
        try:
            return parse_result(ended["stdout"])
        except NoResult:
            raise program_failure(self.python(), self._login_user(), ended) from None

    def tunnels(self) -> Tunnels:
        """Return tunnels to the host's own addresses; a context manager."""
        transport = self._connection.transport
        if transport == "local":
            return Tunnels(None, "localhost", self.python())
        if transport != "ssh":
            raise FailedRule(
                "The OBProxy's admin SQL is reached through SSH, or directly on this machine",
                f"the connection plugin is {transport}",
                "set ansible_connection to ssh or local for this host",
            )

        def ssh(*arguments: str) -> list[bytes]:
            program_text = self._connection.get_option("ssh_executable")
            return list(self._connection._build_command(program_text, "ssh", *arguments))

        return Tunnels(ssh, self._connection.get_option("host"), self.python())

    def log_in(
        self, tunnels: Tunnels, place: tuple[str, int], login_candidates: list[tuple[str, str]]
    ) -> tuple[str, str, Session]:
        """Log in at an address and port of the host; use the relay when sshd rejects forwarding.

        Raises Denied and SqlError.
        """
        try:
            return log_in(lambda: tunnels.channel(*place), login_candidates)
        except TunnelError as error:
            raise SqlError(2003, str(error)) from error
        except Denied:
            raise
        except SqlError as error:
            if tunnels.use_relay():
                return self.log_in(tunnels, place, login_candidates)
            raise SqlError(error.code, tunnels.ssh_error() or error.text) from error

    def login_candidates(self, record: Result | None) -> list[tuple[str, str]]:
        """Return the passwords to try for root@proxysys in order: given, the cluster's, the recorded one, empty.

        See docs/reference/obproxy.md 4.3.
        """
        secrets = self.secrets()
        given, cluster = secrets["obproxy_current_sys_password"], secrets["obproxy_sys_password"]
        recorded = decrypt_passwords(record, cluster).get(SYS)
        named = [("given", given), ("cluster", cluster), ("recorded", recorded), ("empty", "")]
        return [(name, password) for name, password in named if password is not None]

    def sql_endpoint(self) -> tuple[str, int]:
        """Return the address and port at which the discovered OBProxy listens; raises FailedRule when there is none."""
        facts = self.facts
        if facts["sql_address"] is None:
            raise FailedRule(
                "Only the OBProxy listens at the address of its admin SQL",
                str(facts["login_error"]),
                "stop the other process, or bind the OBProxy to an address of its own (local_bound_ip)",
            )
        return str(facts["sql_address"]), int(facts["sql_port"])

    def admin_session(self, tunnels: Tunnels) -> tuple[str, str, Session]:
        """Return a session with the first password that works; raise FailedRule when none works."""
        place = self.sql_endpoint()
        try:
            return self.log_in(tunnels, place, self.login_candidates(self.facts["recorded"]))
        except SqlError as error:
            raise _login_failure(f"OBProxy at {addresses.format_address(*place)} answers: {error}") from error

    def require_same_process(self, session: Session) -> None:
        """Require that a session belongs to the discovered OBProxy; raise FailedRule or SqlError."""
        facts = self.facts
        if found := other_process(session, facts["process"], facts["binary"]):
            raise FailedRule(
                "The OBProxy at the port is still the one that was discovered",
                found,
                "it was restarted during the run: check its supervisor, then retry",
            )

    def set_parameters(self, todo: list[Difference], pending: list[str]) -> dict[str, str]:
        """Set parameters by SQL, all or none, and return their stored values; raise FailedRule.

        SHOW PROXYCONFIG shows a value that waits for a restart as if it were applied. A file therefore lists `pending`;
        it is written first, because the run may be killed at any moment.
        """
        former = self.facts["pending_restart"]
        self._write_pending(pending, former)
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                try:
                    self.require_same_process(session)
                    return apply_parameters(session, todo)
                except FailedRule:
                    self._write_pending(former, pending)
                    raise
                except SqlError as error:
                    remaining = getattr(error, "remaining", ())
                    self.changes += map(parameter_change, remaining)
                    names = {one.name for one in remaining}
                    waits = {*former} - names | {*pending} & names
                    self._write_pending(sorted(waits), pending)
                    raise FailedRule(
                        "OBProxy accepts every desired parameter",
                        str(error),
                        "correct the cause, then retry: some values set before it were not restored"
                        if remaining
                        else "correct the value in the cluster's obproxy_parameters; the values set before it were "
                        "restored",
                    ) from error

    def remove_pending(self, names: list[str]) -> None:
        """Remove parameters from those that wait for a restart, because their former values are set again."""
        pending = self.facts["pending_restart"]
        self._write_pending([name for name in pending if name not in names], [*pending, *names])

    def _write_pending(self, pending: list[str], former: list[str]) -> None:
        if pending == former:
            return
        note = {"started": self.facts["process"]["started"], "parameters": pending}
        text = json.dumps(note) + "\n" if pending else None
        file = {"path": self.state_file("pending"), "text": text, "mode": "0600", "directory_mode": "0700"}
        self._write_files("The parameters that wait for a restart can be written on the host", [file])

    def converge(self, rule: str, files: list[dict[str, Any]], **options: Any) -> Result:
        """Write or remove files on the host (`programs.converge`); the result has `changed` and `diff`."""
        changed = self._write_files(rule, files, **options)
        wanted, state_directory = (
            {file["path"]: file for file in files},
            self.facts["discovery_arguments"]["state_directory"],
        )
        changes = [file_change(one, wanted.get(one["path"]), state_directory) for one in changed]
        self.changes += changes
        diffs = [
            {
                "before_header": change["name"],
                "after_header": change["name"],
                "before": change["before"] or "",
                "after": change["after"] or "",
            }
            for change in changes
        ]
        return {"changed": bool(diffs)} | ({"diff": diffs} if self._task.diff else {})

    def _write_files(self, rule: str, files: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
        """Write or remove files on the host; return what changed. Notes of the takeover itself are not reported."""
        wanted: Result = {"check": self.is_check_mode, "as_user": None, "commands": [], "process": None, "seconds": 60}
        wanted["prune"] = []
        usual = {"mode": "0644", "replace": True, "directory_mode": "0755", "keep": False, "signature": ""}
        answer = self.run_program("converge", wanted | options | {"files": [usual | file for file in files]})
        if answer.get("problem"):
            otherwise = answer.get("half_done") or "remove the cause, then retry; all files have their former content"
            raise FailedRule(rule, answer["problem"], fix_for_root(answer["problem"], otherwise, self.facts["host"]))
        return list(answer["changed"])


def _login_failure(found: str) -> FailedRule:
    return FailedRule(
        "root@proxysys can log in with the given, the cluster's or the empty password",
        found,
        "take the OBProxy over again with its current password; a direct run takes obproxy_current_sys_password",
    )

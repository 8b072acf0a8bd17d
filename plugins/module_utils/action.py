"""The common ground of the takeover's action plugins: a program on the host, SQL through ssh, messages, secrets.

An Ansible module would cost 0.2 s on the host for unpacking itself; a program on standard input costs a tenth
(docs/reference/ansible-costs.md). Such a program sees its arguments as data only (`remote.program`).
"""

import json
import os
import shlex
from typing import Any, ClassVar

from ansible import constants
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from . import addresses
from .host_errors import why_no_answer, why_not_reached, why_not_root
from .host_programs import NoResult, parse_result, program_text
from .masking import Hidden, masked, masker
from .parameter_values import Difference
from .rollback_record import SYS, unsealed
from .rules import FailedRule, Unreachable, fix_for_root
from .sql import Denied, Session, SqlError, apply, log_in, why_another
from .tunnel import TunnelError, Tunnels

Result = dict[str, Any]
_MARK = "OBPROXY_TAKEOVER"
# The variables with secrets are read here and never passed as task arguments, which callbacks may record.
SECRETS = (
    *("obproxy_current_sys_password", "obproxy_current_proxyro_password"),
    *("obproxy_sys_password", "obproxy_proxyro_password"),
)


class HostAction(ActionBase):  # type: ignore[misc] # Ansible is untyped
    """An action that runs light programs on the host and speaks SQL with its OBProxy."""

    TRANSFERS_FILES = False
    OPTIONS: ClassVar[dict[str, Any]] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Validate the arguments by `OPTIONS` and let `act` do the work; a message never carries a secret."""
        super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        _, arguments = self.validate_argument_spec(self.OPTIONS)
        try:
            return self.act(arguments)
        except FailedRule as failed:
            ending = "unreachable" if isinstance(failed, Unreachable) else "failed"
            result = {ending: True, "msg": str(failed), "failed_rules": [failed.as_data()]}
            secrets = {name: Hidden(secret) for name, secret in self.secrets().items() if secret}
            return dict(masked(result, masker([secrets])))

    def act(self, arguments: dict[str, Any]) -> Result:
        """The plugin's work: returns its result or raises FailedRule."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, Any]:
        """The fact `obproxy` of this run's discovery."""
        found = self.task_vars.get("ansible_facts", {}).get("obproxy")
        if found is None:
            raise FailedRule(
                "The host was discovered in this run",
                "there is no fact obproxy",
                "run playbooks/takeover.yml, or import playbooks/tasks/discover.yml before the role",
            )
        return dict(found)

    def own_file(self, name: str) -> str:
        """The path of one of the takeover's own files on the host: before, pending, done."""
        facts = self.facts
        return f"{facts['asked']['state_directory']}/{name}-{facts['sql_port']}.json"

    def obproxy_user(self) -> Result:
        """Who a program acts as below directories of the OBProxy's user: the discovered process's user, else the
        inventory's; never the owner of a file, which that user can choose."""
        process = self.facts["process"]
        known = {key: process[key] for key in ("pid", "started")} if process else None
        return {"as_user": self.facts["asked"]["user"], "process": known}

    def note_done(self, **what: Any) -> None:
        """Write down, before it is done, what a rollback may undo: only what this takeover has done itself."""
        done = json.dumps(self.facts["done"] | what, sort_keys=True) + "\n"
        file = {"path": self.own_file("done"), "text": done, "mode": "0600", "directory_mode": "0700"}
        self.converge("The host keeps a note of what the takeover does", [file])

    @property
    def checking(self) -> bool:
        """Check mode: Ansible leaves it to an action plugin to change nothing."""
        return bool(self._task.check_mode)

    def not_yet(self) -> Result | None:
        """The result of a check-mode run for work that has to wait until the OBProxy has been started; None when it
        runs. Raises FailedRule when it neither runs nor is being checked."""
        if self.facts["running"]:
            return None
        if self.checking:
            return {"changed": True, "msg": "the OBProxy does not run yet; this would follow its start"}
        raise FailedRule(
            "The OBProxy runs",
            f"nothing listens on port {self.facts['sql_port']}",
            "start it, or run the roles before this one too",
        )

    def rediscover(self, *, record: bool = False) -> Result:
        """Look at the host again after an install or a start, by the action that the play began with; `record` asks for
        the whole record."""
        task = self._task.copy()
        task.args = self.facts["asked"] | ({"record": True} if record else {})
        action = self._shared_loader_obj.action_loader.get(
            "obproxy.takeover.obproxy_discover",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return dict(action.run(task_vars=self.task_vars))

    def secrets(self) -> dict[str, str | None]:
        """The secret variables' values, None for one that is not given."""
        return {name: self._secret(name) for name in SECRETS}

    def _secret(self, name: str) -> str | None:
        value = self._templar.template(self.task_vars.get(name))
        return None if value is None else str(value)

    def python(self) -> str:
        """The host's interpreter: the inventory's, or the configuration's when it names one."""
        chosen = self.task_vars.get("ansible_python_interpreter") or constants.config.get_config_value(
            "INTERPRETER_PYTHON", variables=self.task_vars
        )
        chosen = str(self._templar.template(chosen))
        return "/usr/bin/python3" if chosen.startswith("auto") else chosen

    def execute(self, command: str, in_data: bytes | None = None) -> Result:
        """Run a shell command as the become user; its environment carries the run's mark, by which
        playbooks/remains.yml finds what an ended run has left on the host."""
        mark = os.environ.get(_MARK)
        marked = f"{_MARK}={shlex.quote(mark)} {command}" if mark else command
        return dict(self._low_level_execute_command(marked, in_data=in_data))

    def _login_user(self) -> str:
        return str(self._play_context.remote_user or "USER")

    def on_host(self, name: str, arguments: dict[str, Any]) -> Result:
        """Run one of the host programs as the become user and return its answer."""
        try:
            ended = self.execute(f"{self.python()} -IS -", program_text(name, arguments))
        except AnsibleConnectionFailure as failure:
            raise why_not_reached(str(failure.message).strip(), self._login_user()) from None
        except AnsibleError as failure:  # "Missing sudo password": the plugin waits for no prompt
            raise why_not_root(str(failure.message), self._login_user()) from None
        try:
            return parse_result(ended["stdout"])
        except NoResult:
            raise why_no_answer(self.python(), self._login_user(), ended) from None

    def tunnels(self) -> Tunnels:
        """Channels to the host's loopback; a context manager."""
        transport = self._connection.transport
        if transport == "local":
            return Tunnels(None, "localhost", self.python())
        if transport != "ssh":
            raise FailedRule(
                "The OBProxy's admin SQL is reached through ssh, or directly on this machine",
                f"the connection plugin is {transport}",
                "use ansible_connection ssh or local for this host",
            )

        def ssh(*arguments: str) -> list[bytes]:
            program_text = self._connection.get_option("ssh_executable")
            return list(self._connection._build_command(program_text, "ssh", *arguments))

        return Tunnels(ssh, self._connection.get_option("host"), self.python())

    def log_in(
        self, tunnels: Tunnels, place: tuple[str, int], candidates: list[tuple[str, str]]
    ) -> tuple[str, str, Session]:
        """`sql.log_in` at an address and port of the host, by the relay when forwarding is refused.

        Raises Denied and SqlError.
        """
        try:
            return log_in(lambda: tunnels.channel(*place), candidates)
        except TunnelError as error:
            raise SqlError(2003, str(error)) from error
        except Denied:
            raise
        except SqlError as error:
            if tunnels.fall_back():
                return self.log_in(tunnels, place, candidates)
            raise SqlError(error.code, tunnels.said() or str(error)) from error

    def candidates(self, record: Result | None) -> list[tuple[str, str]]:
        """The passwords to try for root@proxysys, in order: given, the cluster's, the recorded one, empty
        (docs/reference/obproxy.md 4.3)."""
        secrets = self.secrets()
        given, cluster = secrets["obproxy_current_sys_password"], secrets["obproxy_sys_password"]
        recorded = unsealed(record, cluster).get(SYS)
        named = [("given", given), ("cluster", cluster), ("recorded", recorded), ("empty", "")]
        return [(name, password) for name, password in named if password is not None]

    def sql_place(self) -> tuple[str, int]:
        """Return the address and port at which the discovered OBProxy listens; raises FailedRule when there is none."""
        facts = self.facts
        if facts["sql_address"] is None:
            raise FailedRule(
                "The OBProxy alone listens at the address that its admin SQL is reached at",
                str(facts["login_error"]),
                "stop the other process, or bind the OBProxy to an address of its own (local_bound_ip)",
            )
        return str(facts["sql_address"]), int(facts["sql_port"])

    def admin_session(self, tunnels: Tunnels) -> tuple[str, str, Session]:
        """A session with whichever password works; raises FailedRule when none does."""
        place = self.sql_place()
        try:
            return self.log_in(tunnels, place, self.candidates(self.facts["recorded"]))
        except SqlError as error:
            raise FailedRule(
                "root@proxysys can log in with the given, the cluster's or the empty password",
                f"OBProxy at {addresses.told(*place)} answered: {error}",
                "give the password it has now: proxysysPasswd in the request, obproxy_current_sys_password on a "
                "direct run",
            ) from error

    def require_same_process(self, session: Session) -> None:
        """Require that a session's other end is the discovered OBProxy; raises FailedRule, and SqlError."""
        facts = self.facts
        if found := why_another(session, facts["process"], facts["binary"]):
            raise FailedRule(
                "The OBProxy at the port is still the one that was discovered",
                found,
                "something has started it again meanwhile: look at what keeps it alive, then run it again",
            )

    def set_parameters(self, todo: list[Difference], pending: list[str]) -> dict[str, str]:
        """Set parameters by SQL, all or none, and return them as OBProxy spells them; raises FailedRule.

        A value that waits for a restart looks applied in SHOW PROXYCONFIG, so a file keeps `pending` in mind: written
        before, since the run may be ended at any moment.
        """
        former = self.facts["pending_restart"]
        self._remember(pending, former)
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                try:
                    self.require_same_process(session)
                    return apply(session, todo)
                except FailedRule:
                    self._remember(former, pending)
                    raise
                except SqlError as error:
                    self._remember(former, pending)
                    raise FailedRule(
                        "OBProxy accepts every wished parameter",
                        str(error),
                        "correct the value in the cluster's obproxy_parameters; the values set before it were put back",
                    ) from error

    def forget_pending(self, names: list[str]) -> None:
        """Take parameters out of those that wait for a restart: their former values are set again."""
        pending = self.facts["pending_restart"]
        self._remember([name for name in pending if name not in names], [*pending, *names])

    def _remember(self, pending: list[str], former: list[str]) -> None:
        if pending == former:
            return
        note = {"started": self.facts["process"]["started"], "parameters": pending}
        text = json.dumps(note) + "\n" if pending else None
        file = {"path": self.own_file("pending"), "text": text, "mode": "0600", "directory_mode": "0700"}
        self.converge("The host remembers which parameters wait for a restart", [file])

    def converge(self, rule: str, files: list[dict[str, Any]], **options: Any) -> Result:
        """Bring files on the host to wanted texts (`programs.converge`); the result tells `changed` and `diff`."""
        wanted: Result = {"check": self.checking, "as_user": None, "commands": [], "process": None, "seconds": 60}
        wanted["prune"] = []
        usual = {"mode": "0644", "replace": True, "directory_mode": "0755", "keep": False, "signature": ""}
        answer = self.on_host("converge", wanted | options | {"files": [usual | file for file in files]})
        if answer.get("problem"):
            otherwise = answer.get("half_done") or "see what was found; nothing was left half done, so run it again"
            raise FailedRule(rule, answer["problem"], fix_for_root(answer["problem"], otherwise, self.facts["host"]))
        diffs = [
            {
                "before_header": change["path"],
                "after_header": change["path"],
                "before": change["before"] or "",
                "after": change["after"] or "",
            }
            for change in answer["changed"]
        ]
        return {"changed": bool(diffs)} | ({"diff": diffs} if self._task.diff else {})

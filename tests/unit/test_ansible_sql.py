"""Sets parameters one by one and restores them at the first error; logs in with several passwords."""

import socket
from collections.abc import Callable
from typing import Any, cast

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils import sql
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import Difference
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import (
    Denied,
    PartlySet,
    Session,
    SqlError,
    apply_parameters,
    log_in,
)


class _Proxy:
    """Replaces a session: stores values, rejects some names, loses some values and rounds some up."""

    def __init__(self, refuses: str = "", forgets: str = "", rounds: str = "", stops_after: int = 99) -> None:
        self.values = {"a": "1", "b": "1", "c": "1"}
        self.refuses, self.forgets, self.rounds, self.left = refuses, forgets, rounds, stops_after
        self.log: list[str] = []

    def alter(self, name: str, value: str) -> None:
        self.left -= 1
        if name == self.refuses or self.left < 0:
            raise SqlError(4147, "Invalid config")
        self.log.append(f"{name}={value}")
        if name != self.forgets:
            self.values[name] = "8" if name == self.rounds and value == "2" else value

    def parameter(self, name: str) -> str | None:
        return self.values.get(name)


def _apply(proxy: _Proxy) -> dict[str, str]:
    wanted = [Difference(name=name, before="1", after="2", needs_restart=False) for name in "abc"]
    return apply_parameters(cast(Session, proxy), wanted)


def test_all_are_set_and_read_back() -> None:
    proxy = _Proxy()
    assert _apply(proxy) == {"a": "2", "b": "2", "c": "2"}
    assert proxy.values == {"a": "2", "b": "2", "c": "2"}


def test_a_rejected_value_restores_the_others() -> None:
    proxy = _Proxy(refuses="c")
    with pytest.raises(SqlError, match=r"c = '2' was rejected: Invalid config \(code 4147\)$"):
        _apply(proxy)
    assert proxy.values == {"a": "1", "b": "1", "c": "1"}
    assert proxy.log == ["a=2", "b=2", "b=1", "a=1"]


@pytest.mark.parametrize(("code", "lost"), [(1999, False), (2000, True), (2999, True), (3000, False)])
def test_only_a_lost_connection_restores_the_value_that_was_being_set(
    code: int, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, usual = _Proxy(), _Proxy.alter

    def alter(self: _Proxy, name: str, value: str) -> None:
        if (name, value) == ("b", "2"):
            raise SqlError(code, "lost")
        usual(self, name, value)

    monkeypatch.setattr(_Proxy, "alter", alter)
    with pytest.raises(PartlySet):
        _apply(proxy)
    assert proxy.log == ["a=2", *(["b=1"] if lost else []), "a=1"]


def test_a_value_that_does_not_read_back_is_rejected() -> None:
    proxy = _Proxy(forgets="b")
    with pytest.raises(SqlError, match="it reads back as '1'"):
        _apply(proxy)
    assert proxy.values == {"a": "1", "b": "1", "c": "1"}


def test_a_value_that_reads_back_differently_is_restored_too() -> None:
    proxy = _Proxy(rounds="b")
    with pytest.raises(SqlError, match="it reads back as '8'"):
        _apply(proxy)
    assert proxy.values == {"a": "1", "b": "1", "c": "1"}


def test_a_parameter_that_cannot_be_read_back_is_rejected() -> None:
    proxy = _Proxy()
    del proxy.values["a"]
    proxy.forgets = "a"
    with pytest.raises(PartlySet, match=r"^a = '2' was rejected: it reads back as None") as raised:
        _apply(proxy)
    assert raised.value.code == 0


def test_the_error_keeps_the_code_of_obproxy() -> None:
    with pytest.raises(PartlySet) as raised:
        _apply(_Proxy(refuses="a"))
    assert (raised.value.code, raised.value.remaining) == (4147, [])


def test_unrestored_values_are_named() -> None:
    proxy = _Proxy(refuses="c", stops_after=3)  # a, b and the rejected c; then nothing more
    with pytest.raises(PartlySet, match=r"^c = '2' was rejected: Invalid config; not restored: b, a ") as raised:
        _apply(proxy)
    assert [one.name for one in raised.value.remaining] == ["b", "a"]


def test_a_value_that_cannot_be_sent_is_rejected_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def alter(self: _Proxy, name: str, value: str) -> None:
        raise ValueError(f"the value of {name} has a line break")

    monkeypatch.setattr(_Proxy, "alter", alter)
    with pytest.raises(PartlySet, match=r"^a = '2' was rejected: the value of a has a line break ") as raised:
        _apply(_Proxy())
    assert raised.value.code == 0


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    """Return a session without a connection: a test gives `rows`."""
    monkeypatch.setattr(Session, "rows", lambda _self, _statement: [])
    return Session.__new__(Session)


def _returning(rows: list[dict[str, object]], *statements: str) -> Any:
    def answer(_self: Session, statement: str) -> list[dict[str, object]]:
        assert statement in statements
        return rows

    return answer


def test_a_parameter_is_not_confused_with_others_that_match_its_pattern(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, object]] = [
        {"name": "syslogXlevel", "value": "WARN"},
        {"name": "syslog_level", "value": "INFO"},
        {"name": "syslog_level_max", "value": "ERROR"},
        {"name": "empty", "value": None},
    ]
    names = ("syslog_level", "syslog_leve", "empty")
    patterns = [f"SHOW PROXYCONFIG LIKE '{name}%'" for name in names]
    monkeypatch.setattr(Session, "rows", _returning(rows, *patterns))

    assert [session.parameter(name) for name in names] == ["INFO", None, ""]


@pytest.mark.parametrize(("code", "none"), [(4018, True), (4016, False), (2013, False)])
def test_only_a_missing_entry_means_that_no_cluster_was_reached(
    session: Session, monkeypatch: pytest.MonkeyPatch, code: int, none: bool
) -> None:
    def fail(_self: Session, _statement: str) -> None:
        raise SqlError(code, "entry not exist")

    monkeypatch.setattr(Session, "rows", fail)

    if none:
        assert session.clusters() == []
    else:
        with pytest.raises(SqlError, match=str(code)):
            session.clusters()


def test_reached_clusters_and_the_binary_are_read_from_their_columns(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters: list[dict[str, object]] = [{"cluster_name": "one"}, {"cluster_name": "two"}]
    monkeypatch.setattr(Session, "rows", _returning(clusters, "SHOW PROXYCLUSTER"))
    assert session.clusters() == ["one", "two"]

    monkeypatch.setattr(Session, "rows", _returning([{"info": "a"}, {"info": "b"}], "SHOW PROXYINFO BINARY"))
    assert session.binary() == "a\nb"


class _Answers:
    """Replaces a session that reports its process."""

    def __init__(self, pid: int | None, binary: str = "ObProxy-OceanBase 4.3.1.0-1") -> None:
        self._pid, self._binary = pid, binary

    def pid(self) -> int | None:
        return self._pid

    def binary(self) -> str:
        return self._binary


@pytest.mark.parametrize(
    ("session", "namespaces", "why"),
    [
        (_Answers(7), [], ""),
        (_Answers(8), [], "pid 8 answers there, pid 7 did when the host was discovered"),
        (_Answers(8), ["net", "pid"], ""),
        (_Answers(None), [], ""),
        (_Answers(7, f"{300 * 'x'} end"), [], f"pid 7 is '{200 * 'x'}', it was 'ObProxy-OceanBase 4.3.1.0-1'"),
        (_Answers(7, "another"), [], "pid 7 is 'another', it was 'ObProxy-OceanBase 4.3.1.0-1'"),
        (_Answers(1, "another"), ["pid"], "pid 7 is 'another', it was 'ObProxy-OceanBase 4.3.1.0-1'"),
    ],
)
def test_a_session_with_another_process_is_reported(session: _Answers, namespaces: list[str], why: str) -> None:
    process = {"pid": 7, "namespaces": namespaces}
    assert sql.other_process(cast(Session, session), process, "ObProxy-OceanBase 4.3.1.0-1") == why


def test_only_the_beginning_of_a_long_binary_is_reported() -> None:
    process, known = {"pid": 7, "namespaces": []}, f"{300 * 'y'} end"
    reported = sql.other_process(cast(Session, _Answers(7, "another")), process, known)
    assert reported == f"pid 7 is 'another', it was '{200 * 'y'}'"


@pytest.mark.parametrize("read", [lambda session: session.parameter("a"), Session.binary, Session.clusters])
def test_a_response_without_a_column_is_an_sql_error(
    read: Callable[[Session], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "rows", lambda *_: [{"name": "a"}])
    with pytest.raises(SqlError, match="a response has no column '"):
        read(Session.__new__(Session))


@pytest.mark.parametrize(
    ("rows", "pid"),
    [
        ([{"pid": 7}, {"pid": 7}], 7),
        ([{"pid": 7}, {"pid": 8}], None),
        ([{"pid": "x"}], None),
        ([{"pid": "9" * 10}], 9_999_999_999),
        ([{"pid": "9" * 11}], None),
        ([{}], None),
        ([], None),
    ],
)
def test_the_pid_is_the_one_of_all_sessions(
    rows: list[dict[str, object]], pid: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "rows", _returning(rows, "SHOW PROXYSESSION"))
    assert Session.__new__(Session).pid() == pid


class _Login:
    """Replaces sql.Session: only one password is right."""

    right = "right"
    tried: list[str]

    def __init__(self, _channel: socket.socket, password: str) -> None:
        _Login.tried.append(password)
        if password != self.right:
            raise Denied(1045, "Access denied")


@pytest.fixture
def _logins(monkeypatch: pytest.MonkeyPatch) -> None:
    _Login.tried = []
    monkeypatch.setattr(sql, "Session", _Login)


def _channel() -> Any:
    return object()


@pytest.mark.usefixtures("_logins")
def test_passwords_are_tried_in_order_and_once() -> None:
    name, password, _ = log_in(_channel, [("given", "x"), ("cluster", "x"), ("empty", "right"), ("later", "y")])
    assert (name, password, _Login.tried) == ("empty", "right", ["x", "right"])


@pytest.mark.usefixtures("_logins")
def test_all_rejected_logins_are_named_without_passwords() -> None:
    with pytest.raises(Denied, match=r"^Access denied; tried: given, empty \(code 1045\)$") as refused:
        log_in(_channel, [("given", "Secret#1"), ("empty", "")])
    assert "Secret#1" not in str(refused.value)


@pytest.mark.usefixtures("_logins")
def test_no_login_at_all_is_denied() -> None:
    with pytest.raises(Denied, match=r"^no password; tried: "):
        log_in(_channel, [])


def test_a_port_that_does_not_speak_the_protocol_ends_the_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = socket.socketpair()
    tried: list[str] = []

    def fail(_channel: socket.socket, password: str) -> None:
        tried.append(password)
        raise SqlError(2027, "it does not speak the protocol")

    monkeypatch.setattr(sql, "Session", fail)

    with there, pytest.raises(SqlError, match="2027"):
        log_in(lambda: here, [("given", "x"), ("cluster", "y")])

    assert tried == ["x"]
    assert here.fileno() == -1

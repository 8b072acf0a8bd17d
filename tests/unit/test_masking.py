"""Known secrets are masked in every text, by the service and by the callback plugin."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString, VaultLib, VaultSecret, VaultSecretsContext
from ansible.template import trust_as_template
from ansible_collections.obproxy.takeover.plugins.module_utils import masking as of_the_plugins
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import listeners
from ansible_collections.obproxy.takeover.plugins.module_utils.run_recorder import RunRecorder

from service.outcome import masking
from service.outcome.masking import MASK, Hidden, masker, stage_one

Case = tuple[dict[str, object], str, str]  # variables, a text, and what is shown of it
ENCRYPTED: Case = ({"plain": {"any": Hidden("Needle#1")}}, "Needle#1", MASK)  # by itself; for Ansible: see below
CASES: list[Case] = [
    ({"obproxy_sys_password": "Needle#1"}, "is Needle#1, not Needle#2", f"is {MASK}, not Needle#2"),
    ({"ansible_password": "abcd", "x_token": "abcdef"}, "abcdef abcd", f"{MASK} {MASK}"),
    ({"ansible_become_pass": "a.c*d"}, "a.c*d abcd", f"{MASK} abcd"),
    ({"obproxy_sys_password": "abc"}, "abc", "abc"),  # shorter than is worth it
    ({"obproxy_cluster_name": "test"}, "test", "test"),
    ({"obproxy_sys_password": None}, "None", "None"),
    ({"obproxy_secrets": {"sys": ["Needle#1"]}}, "Needle#1", MASK),
    ({"plain": {"password": "Needle#1", "name": "Haystack"}}, "Needle#1 in a Haystack", f"{MASK} in a Haystack"),
    ENCRYPTED,
    ({"ansible_ssh_private_key_file": "/keys/id"}, "/keys/id", "/keys/id"),  # where it is, is no secret
    ({"x_secret": 'a"b\\c'}, r'as JSON "a\"b\\c"', f'as JSON "{MASK}"'),
    ({"x_secret": "sé#cret"}, r"s\u00e9#cret s%C3%A9%23cret", f"{MASK} {MASK}"),
    ({"x_secret": "it's \t"}, r"it's \t", MASK),
    ({"obproxy_sys_password": "secret"}, "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", MASK),
    ({"ansible_private_key": "-----BEGIN-----\nNeedleNeedleNeedle\n"}, "  NeedleNeedleNeedle.", f"  {MASK}."),
    (
        {"obproxy_sys_password": 12345678},
        '"password": 12345678',
        f'"password": {MASK}',
    ),  # YAML took it for a number
    ({"ask_password": True, "password_tries": 3}, "True, 3", "True, 3"),
    ({"obproxy_sys_password": "Needle#1\n"}, "is Needle#1.", f"is {MASK}."),
    ({"x_secret": "Need\x07le#1"}, "is Needle#1.", f"is {MASK}."),  # as it is shown, without control characters
    ({"x_secret": " Need\x07le#1"}, "is[ Need\x07le#1]", f"is[{MASK}]"),
    ({"x_secret": "Need\x07le#1"}, r"in Python 'Need\x07le#1'.", f"in Python '{MASK}'."),
    ({"x_secret": "\x07\x07\x07\x07"}, "text", "text"),
    ({"key_passphrase": "abcd", "x_api_key": "efgh", "db_pwd": "ijkl"}, "abcd efgh ijkl", f"{MASK} {MASK} {MASK}"),
    ({"db_credential": "Needle#1", "s3_access_key": "Needle#2"}, "Needle#1 Needle#2", f"{MASK} {MASK}"),
    ({"db": {"pwd": 12345678, "hosts": [{"api_key": "Needle#1"}]}}, "12345678 Needle#1", f"{MASK} {MASK}"),
    ({}, "text", "text"),
    ({"x_token": "1234", "y_token": 123, "z_secret": 1.25}, "1234 123 1.25", f"{MASK} 123 {MASK}"),
    ({"plain": ["Needle#1", 12345678]}, "Needle#1 12345678", "Needle#1 12345678"),
    ({"a_token": "zz zz", "b_token": "zz zz and more"}, "zz zz and more", MASK),  # one is the start of the other
    ({"x_secret": 'é"bc'}, r'as JSON "é\"bc"', f'as JSON "{MASK}"'),
    ({"x_secret": "é\nit's"}, r"""in Python é\nit's.""", f"in Python {MASK}."),
    ({"x_secret": "a/b c"}, "a%2Fb%20c", MASK),
    ({"x_secret": "Needle#1\ud800"}, f"Needle%231%3F {stage_one('Needle#1?')}", f"{MASK} {MASK}"),  # no UTF-8
    ({"x_secret": "-BEGIN-\n  0123456789abcdef\n"}, "0123456789abcdef 0123456789abcde", f"{MASK} 0123456789abcde"),
    ({"x_secret": "one#1\nline#2\nline#3\nline#4"}, "cut:\nline#3\nline#4", f"cut:\n{MASK}"),
    ({"x_secret": "one#1\r\nline#2\n\nline#3"}, r"one#1 line#2, line#2\n\nline#3", f"{MASK}, {MASK}"),
    ({"x_secret": "one#1\nline#2\nab"}, "line#2 ab one#1 two", "line#2 ab one#1 two"),  # a short line alone is none
    ({"x_secret": "one#1\nfour\nfour#2"}, "four four#2", MASK),
    ({"x_secret": "one#1\none#1"}, "one#1 one#1", "one#1 one#1"),  # not two lines
    ({"x_secret": "one#1\nline#2"}, "line#2 one#1", MASK),
    ({"x_secret": "0123456789abcdef\nline#2"}, "line#2 0123456789abcdef \n", f"line#2 {MASK} \n"),
    ({"x_secret": "0123456789abcdef\nfour\nline#2"}, "0123456789abcdef four", f"{MASK} four"),
    ({"x_secret": "0123456789abcdef\nline#2\nline#3"}, "0123456789abcdef\nline#2\nline#3", MASK),
    ({"x_secret": "Need\x1b[1mle\r\n#1\r#2\x9b0m"}, "Needle\n#1\n#2", MASK),  # as it is shown
]


@pytest.mark.parametrize(("variables", "text", "expected"), CASES)
def test_the_service_masks(variables: dict[str, object], text: str, expected: str) -> None:
    assert masker([variables])(text) == expected


def reported_message(variables: dict[str, Any], text: object) -> str:
    """Return a message as a run by hand with these variables reports it to the service."""
    manager = SimpleNamespace(get_vars=lambda play, host: variables | {"ocp_host_id": 1, "obproxy_cluster_id": 7})
    play = SimpleNamespace(get_variable_manager=lambda: manager, get_loader=DataLoader)
    role = SimpleNamespace(get_name=lambda include_role_fqcn: "one", _role_name="one", tags=["one"])
    task = SimpleNamespace(name="do", action="debug", _uuid="id", _role=role, get_name=lambda: "one : do")
    recorder = RunRecorder(
        playbook="takeover", play=play, host=SimpleNamespace(get_name=lambda: "odp-1"), roles=["one"]
    )
    recorder.add_result("runner_on_failed", "failed", SimpleNamespace(task=task, result={"msg": text}))
    run = recorder.as_external_run(2)
    assert run is not None
    return str(run["events"][-1]["eventData"]["res"]["msg"])


@pytest.mark.parametrize(("variables", "text", "expected"), [case for case in CASES if case is not ENCRYPTED])
def test_a_run_by_hand_masks(variables: dict[str, Any], text: str, expected: str) -> None:
    assert reported_message(variables, text) == expected


def test_a_run_by_hand_masks_results_of_templates() -> None:
    variables = {
        "db": {"password": trust_as_template("{{ vault_db }}"), "token": trust_as_template("{{ no_such_variable }}")},
        "vault_db": "Needle#1",
        "all_passwords": trust_as_template("{{ [{'a': vault_db ~ '2'}] }}"),
    }
    assert reported_message(variables, "Needle#1, Needle#12") == f"{MASK}, {MASK}"


def test_a_run_by_hand_masks_inline_encrypted_values() -> None:
    secret = VaultSecret(b"the vault's password")
    VaultSecretsContext.initialize(VaultSecretsContext(secrets=[("default", secret)]))
    encrypted = EncryptedString(ciphertext=VaultLib([("default", secret)]).encrypt("Needle#1", secret).decode())
    assert reported_message({"db": {"plain_name": encrypted}}, "is Needle#1") == f"is {MASK}"


def test_a_value_that_cannot_be_decrypted_masks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = VaultSecret(b"another password")
    encrypted = EncryptedString(ciphertext=VaultLib([("default", secret)]).encrypt("Needle#1", secret).decode())
    assert reported_message({"db": {"plain_name": encrypted}}, "None of it") == "None of it"


class Unread(Mapping[str, object]):
    """Variables that no one may read, as those of other hosts."""

    def __getitem__(self, name: str) -> object:
        raise AssertionError(name)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError

    def __len__(self) -> int:
        return 1


def test_a_run_by_hand_does_not_read_the_variables_of_other_hosts() -> None:
    assert reported_message({"hostvars": Unread(), "x_secret": "Needle#1"}, "Needle#1") == MASK


def test_there_is_one_rule() -> None:
    assert Path(masking.__file__).resolve() == Path(of_the_plugins.__file__).resolve()
    assert listeners.SENSITIVE_WORDS == masking.SENSITIVE_WORDS


@pytest.mark.parametrize(
    "name",
    [
        *(
            "db_pwd",
            "key_passphrase",
            "x_api_key",
            "db_credential",
            "s3_access_key",
            "DB_PASSWORD",
            "ansible_become_pass",
        ),
        *("obproxy_sys_password", "auth_token", "ssh_private_key", "client_secret", "mysql_passwd"),
    ],
)
def test_a_secret_name_is_one_for_variables_parameters_and_command_lines(name: str) -> None:
    assert masking.is_secret(name)
    assert "Needle" not in reported_message({name: "Needle"}, json.dumps({name: "Needle"}))
    assert listeners.mask(f"a=1,{name}=Needle,b=2") == f"a=1,{name}=***,b=2"


@pytest.mark.parametrize("name", ["proxy_mem_limited", "ansible_ssh_private_key_file", "password_path", "bypass"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not masking.is_secret(name)


def test_numbers_are_masked_below_a_secret_name_alone() -> None:
    mask = masker([{"db_pwd": 12345678}])
    value = {"db_pwd": 12345678, "pid": 12345678, "nested": {"secrets": [12345678, True, 7]}, 12345678: "12345678"}
    assert masking.masked(value, mask) == {
        "db_pwd": MASK,
        "pid": 12345678,
        "nested": {"secrets": [MASK, True, 7]},
        12345678: MASK,
    }

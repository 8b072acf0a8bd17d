"""Versions, masks and the frame around programs for the host."""

import ast
import base64
import builtins
import dis
import hashlib
import re
import time
from types import CodeType

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.host_programs import NoResult, parse_result, program_text
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import (
    Hidden,
    is_secret,
    masked,
    masker,
    stage_one,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.listeners import mask
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule, fix_for_root, message_of
from ansible_collections.obproxy.takeover.plugins.module_utils.versions import (
    has_settable_proxyro,
    is_older,
    name_of_package,
    version_in,
    version_of_package,
)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("ObProxy-OceanBase 4.3.1.0-11.el7\nversion: 4.3.1.0", "4.3.1.0-11"),
        ("ObProxy-OceanBase 1.9.1.1-1919579", "1.9.1.1-1919579"),
        ("obproxy-1.8.3-1913214.el7.x86_64", "1.8.3-1913214"),
        ("OceanBase 4.3.1.0", None),
        (f"ObProxy-OceanBase 4.{'9' * 5000}-1", None),
        ("", None),
    ],
)
def test_version_in_a_text(text: str, version: str | None) -> None:
    assert version_in(text) == version


@pytest.mark.parametrize(
    ("nevra", "name", "version"),
    [
        ("obproxy-1.9.1.1-1919579.el7.x86_64", "obproxy", "1.9.1.1-1919579"),
        ("obproxy-ce-4.3.1.0-1.el7.x86_64", "obproxy-ce", "4.3.1.0-1"),
        ("obproxy-3.2.0-20210210153306.alios7.aarch64", "obproxy", "3.2.0-20210210153306"),
        ("obproxy", None, None),
    ],
)
def test_package_names(nevra: str, name: str | None, version: str | None) -> None:
    assert (name_of_package(nevra), version_of_package(nevra)) == (name, version)


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("1.7.4.0-1745000", "1.8.0", True),
        ("1.8.0-1", "1.8.0", False),
        ("1.8", "1.8.0", False),
        ("1.10.0-1", "1.9.1.1-1919579", False),
        ("3.2.0-1", "3.2.0", False),
        ("3.1.9.9-9", "3.2.0", True),
        ("4.0.0-1", "4.0", False),
        ("4.3", "4.3.1", True),
        ("4.3", "4.3.0.0", False),
        ("latest", "1", True),
        ("latest", "0", False),
    ],
)
def test_order_of_versions(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older


@pytest.mark.parametrize(
    ("version", "settable"), [("3.1.9.9-9", False), ("3.2.0-1", True), ("4.3.1.0-1", True), (None, False)]
)
def test_the_password_of_proxyro_can_be_set_since_3_2(version: str | None, settable: bool) -> None:
    assert has_settable_proxyro(version) is settable


@pytest.mark.parametrize(
    ("argument", "masked"),
    [
        ("a=1,obproxy_sys_password=ABC,b=2", "a=1,obproxy_sys_password=***,b=2"),
        ("obproxy_sys_password=a b\nc ,x=1", "obproxy_sys_password=***,x=1"),
        ("observer_sys_password1=ABC", "observer_sys_password1=***"),
        ("-oobproxy_sys_password=ABC", "-oobproxy_sys_password=***"),
        ("--Secret_Key=1", "--Secret_Key=***"),
        ("./obproxy -n x -o obproxy_sys_password=a b", "./obproxy -n x -o obproxy_sys_password=***"),
        ("url=http://h/s?A=B&C=D", "url=http://h/s?A=B&C=D"),
        ("url=http://u:p@h/s?A=B,b=https://t@h", "url=http://***@h/s?A=B,b=https://***@h"),
        ("http://u:p@q@[::1]:8080/a@b", "http://***@[::1]:8080/a@b"),
        ("http://h?a@b http://h#a@b", "http://h?a@b http://h#a@b"),
        ("a=x_token=1,b=2", "a=x_token=***,b=2"),
        ("a_token=x_token=1, x_token=", "a_token=***, x_token=***"),
    ],
)
def test_arguments_lose_their_secrets(argument: str, masked: str) -> None:
    assert mask(argument) == masked


@pytest.mark.parametrize("part", ["password", "://a@", "password=x ", "a="])
def test_the_time_to_mask_an_argument_grows_with_its_length(part: str) -> None:
    def seconds(argument: str) -> float:
        begun = time.process_time()
        mask(argument)
        return time.process_time() - begun

    assert seconds(part * 6000) < 200 * seconds(part * 300)


def test_secret_parameters_by_name() -> None:
    assert is_secret("obproxy_sys_password") and is_secret("observer_sys_password1")
    assert not is_secret("proxy_mem_limited")


def test_stage_one_is_the_stored_hash() -> None:
    assert stage_one("") == ""
    assert stage_one("x") == hashlib.sha1(b"x").hexdigest()  # noqa: S324 - OBProxy's choice


def test_scrub_reaches_every_corner_and_spares_short_words() -> None:
    value = {"Secret1": ["a Secret1 b", ("Secret12", 3)], "n": None}
    mask = masker([{"any": [Hidden("Secret1"), Hidden("Secret12"), Hidden("a")]}])
    assert masked(value, mask) == {"***": ["a *** b", ["***", 3]], "n": None}


def test_arguments_travel_as_data() -> None:
    nasty = {"path": '"""\nimport os; os.abort()\n"""' + "'\\u0000"}
    text = program_text("process_lifetime", nasty).decode()
    assert "os.abort" not in text
    sent = re.findall(r'a2b_base64\("([^"]*)"\)', text)
    assert len(sent) == 1 and b"os.abort" in base64.b64decode(sent[0])


def test_the_answer_is_found_among_noise() -> None:
    assert parse_result('Last login: today\nOBPROXY-RESULT {"a": 1}\nlogout') == {"a": 1}


@pytest.mark.parametrize("output", ["", "nothing", "OBPROXY-RESULT {", "OBPROXY-RESULT [1]", "x OBPROXY-RESULT {}"])
def test_no_answer(output: str) -> None:
    with pytest.raises(NoResult):
        parse_result(output)


def test_the_last_answer_counts() -> None:
    assert parse_result('OBPROXY-RESULT {"a": 1}\nOBPROXY-RESULT {"a": 2}') == {"a": 2}


def test_an_answer_has_a_greatest_length() -> None:
    answer = 'OBPROXY-RESULT {"a": "'
    longest = answer + "x" * (1024**2 - len(answer) - 2)
    assert parse_result(longest + '"}')["a"].strip("x") == ""
    with pytest.raises(NoResult):
        parse_result(longest + 'x"}')


class _OnTheHost(ast.NodeTransformer):
    """Removes the imports of other parts, which fail on a host."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        return ast.Pass() if node.level else node


def _names(code: CodeType, *operators: str) -> set[str]:
    """Return the names of variables outside functions that the code, or a function in it, loads or stores."""
    names = {one.argval for one in dis.get_instructions(code) if one.opname in operators}
    return names.union(*(_names(inner, *operators) for inner in code.co_consts if isinstance(inner, CodeType)))


@pytest.mark.parametrize(
    "name",
    [
        *("answering_process", "converge", "drain", "homes", "probe"),
        *("restart", "start", "supervision", "undo_start"),
    ],
)
def test_a_program_has_all_that_its_main_uses(name: str) -> None:
    program = ast.fix_missing_locations(_OnTheHost().visit(ast.parse(program_text(name, {}))))
    code = compile(program, name, "exec")
    uses = {
        part.co_name: _names(part, "LOAD_GLOBAL", "LOAD_NAME") for part in code.co_consts if isinstance(part, CodeType)
    }
    used, waiting = set[str](), {"main"}
    while waiting:
        used |= waiting
        waiting = set[str]().union(*(uses.get(part, ()) for part in waiting)) - used

    assert used - _names(code, "STORE_NAME", "STORE_GLOBAL") - vars(builtins).keys() == set()


def test_a_failed_rule_is_reported_in_three_parts() -> None:
    failed = FailedRule("Water is XX", "dust.", "add water")
    assert str(failed) == "Rule: Water is XX. Found: dust. Fix: add water."
    assert failed.as_data() == {"rule": "Water is XX", "found": "dust.", "fix": "add water"}
    assert message_of([failed, failed]) == f"{failed}\n\n{failed}"


ENFORCING = {"is_root": True, "selinux": "enforcing"}


@pytest.mark.parametrize("found", ["[Errno 13] Permission denied: '/etc/x'", "rename: Operation not permitted"])
def test_the_fix_for_an_access_denied_to_root_names_selinux_where_it_enforces(found: str) -> None:
    fix = fix_for_root(found, "look at the log", ENFORCING)
    assert "SELinux" in fix and "ausearch" in fix and fix.endswith("look at the log")


@pytest.mark.parametrize(
    ("found", "host"),
    [
        ("Permission denied", ENFORCING | {"selinux": "permissive"}),
        ("Permission denied", ENFORCING | {"selinux": None}),
        ("Permission denied", ENFORCING | {"is_root": False}),
        ("Permission denied", {}),
        ("No space left on device", ENFORCING),
    ],
)
def test_the_fix_for_any_other_error_is_the_usual_one(found: str, host: dict[str, object]) -> None:
    assert fix_for_root(found, "look at the log", host) == "look at the log"

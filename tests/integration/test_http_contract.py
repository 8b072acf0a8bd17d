"""The published description against the running service, with requests that Schemathesis generates from it.

Every response is a described one, in its shape, and never a fault. The examples are the same in every run.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from service.http.openapi import EVENT_STREAM
from service.model.settings import Settings
from tests.integration.http_helpers import take_over_body
from tests.integration.running_service import serving

Operation = APIOperation[Any, Any, Any, Any]

RUNS, SEQUENCES, STEPS = 4, 10, 15
EXAMPLES = 20  # of each operation and mode
PATIENCE = 30.0  # seconds an answer may take; the first takeOver starts Ansible to read the inventory
# Hypothesis tries strings of this project. uvicorn rejects a wrong value of these headers before the service sees it.
FRAMING = {"connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"}
load_all_checks()
# Not "negative_data_rejection": an empty query value counts as not given here, which it takes for wrong and accepted.
EVERY_CHECK: list[Any] = CHECKS.get_by_names(
    [
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_headers_conformance", "response_schema_conformance"),
    ]
)
same_every_time = hypothesis_settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

sequences = hypothesis_settings(same_every_time, derandomize=False, max_examples=SEQUENCES, stateful_step_count=STEPS)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """Yield the address of the service."""
    with serving(settings) as where:
        yield where


@pytest.fixture
def login(url: str, settings: Settings) -> tuple[str, str]:
    """Return the credentials of the administrator."""
    return "admin", (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()


# The service is a thread of this process, and its pool draws a random lifetime for each connection that it opens.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_sent_the_answer_is_one_that_is_described(
    url: str,
    login: tuple[str, str],
    mode: GenerationMode,
    caplog: pytest.LogCaptureFixture,
    subtests: pytest.Subtests,
) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", auth=login)
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation: Operation = found.ok()
        if (mode is GenerationMode.NEGATIVE and not has_input(operation)) or is_stream(operation):
            continue
        with subtests.test(operation.label):
            tried += send(operation, mode, login)

    assert tried > EXAMPLES * 5
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# The service is a thread of this process, and its pool draws a random lifetime for each connection that it opens.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
def test_sequences_of_requests_get_described_responses(
    url: str, login: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", auth=login).exclude(path_regex="/events$")
    schema.config.generation.update(modes=[GenerationMode.POSITIVE])
    body = take_over_body(1, 2)
    httpx.post(f"{url}/api/v2/obproxy/clusters/1/takeOver", json=body, auth=login, timeout=PATIENCE).raise_for_status()
    linked: Counter[str] = Counter()
    failures: list[Exception] = []

    class Sequences(schema.as_state_machine()):  # type: ignore[misc]
        """Requests with the ids of earlier responses."""

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            return {"auth": login, "timeout": PATIENCE}

        def before_call(self, case: Case[Any]) -> None:
            assume(not FRAMING & {name.lower() for name in case.headers or {}})

        def validate_response(self, response: Any, case: Case[Any], **_: Any) -> None:
            try:
                case.validate_response(response, checks=EVERY_CHECK)
            except Exception as failure:
                failures.append(failure)
                raise
            linked[case.operation.label] += response.status_code == 200

    for number in range(RUNS):
        # Responses of the service are external state, so a sequence may not replay as it was. Then the run ends.
        with suppress(FlakyStrategyDefinition):
            run_state_machine_as_test(seed(number)(Sequences), settings=sequences)

    assert not failures
    assert [label for label, successes in linked.items() if successes and "{" in label], linked
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def has_input(operation: Operation) -> bool:
    """Return whether a request can have an invalid part."""
    return bool(operation.definition.raw["parameters"]) or "requestBody" in operation.definition.raw


def is_stream(operation: Operation) -> bool:
    """Return whether a successful response has no end."""
    return EVENT_STREAM in operation.definition.raw["responses"]["200"]["content"]


def send(operation: Operation, mode: GenerationMode, login: tuple[str, str]) -> int:
    """Send examples of one operation; gives how many there were."""
    sent = 0

    @same_every_time
    @given(case=operation.as_strategy(generation_mode=mode))
    def examples(case: Case[Any]) -> None:
        nonlocal sent
        assume(not FRAMING & {name.lower() for name in case.headers or {}})
        sent += 1
        response = case.call(auth=login, timeout=PATIENCE)
        case.validate_response(response, checks=EVERY_CHECK)
        assert b"Traceback" not in response.content  # which may be a zip

    examples()
    return sent

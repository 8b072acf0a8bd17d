"""A takeover as a trace: from the request to its twelve subtasks, in a collector, under OCP's trace id."""

import secrets
from itertools import pairwise

import httpx

from . import Lab
from .collector import collecting
from .fixtures import StartHost
from .inventory import PROXYRO_PASSWORD, SYS_PASSWORD
from .service import running

TAKE_OVER = "/api/v2/obproxy/clusters/{id}/takeOver"


def test_a_takeover_is_one_trace(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    trace_id = secrets.token_hex(8)
    directory = lab.directory / "traced"
    directory.mkdir()
    with collecting() as collector:
        with running(directory, lab.inventory, forked=True, otel_endpoint=collector.url) as service:
            answer = httpx.post(
                service.url + TAKE_OVER.format(id=1),
                json={"hosts": [{"hostId": host.host_id, "sqlPort": host.sql_port}]},
                headers={"x-trace-id": trace_id, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
                auth=("admin", service.password),
                timeout=30,
            ).json()
            assert answer["traceId"] == trace_id
            with service.client() as client:
                final = list(client.watch([answer["data"]["contents"][0]["id"]]))[-1][0]
            assert final["status"] == "SUCCESSFUL"
        # The service has stopped: all that it had to send is here.
        (request,) = collector.named(f"POST {TAKE_OVER}")
        (submit,), (job,), (run,) = (collector.named(name) for name in ("submit", "job", "run"))
        subtasks = [span for span in collector.spans if span.name.startswith("subtask ")]

    assert collector.services == {"obproxy-takeover"}
    ours = [request, submit, job, run, *subtasks]
    assert {span.trace_id.hex() for span in ours} == {trace_id.rjust(32, "0")}
    assert submit.parent_span_id == request.span_id
    assert run.parent_span_id == job.span_id
    assert {span.parent_span_id for span in subtasks} == {run.span_id}
    assert len(subtasks) == 12 and len({span.name for span in subtasks}) == 12
    assert subtasks[0].name == "subtask prepare_obproxy_install"
    for earlier, later in pairwise(subtasks):
        assert run.start_time_unix_nano <= earlier.start_time_unix_nano <= later.start_time_unix_nano
    assert all(span.end_time_unix_nano <= run.end_time_unix_nano for span in subtasks)
    assert not {span.name for span in collector.spans if str(host.host_id) in span.name}
    for secret in (SYS_PASSWORD, PROXYRO_PASSWORD, service.password):
        assert not [body for body in collector.bodies if secret.encode() in body]

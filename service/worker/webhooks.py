"""Sends webhooks: CloudEvents in the structured JSON mode, signed by the Standard Webhooks scheme."""

import asyncio
import json
import logging
import uuid
from datetime import UTC, datetime
from typing import ClassVar

import httpx
from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job
from standardwebhooks import Webhook

from service.model.requests import RequestStatus
from service.model.settings import Settings
from service.model.types import JSON
from service.store.database import fetch
from service.store.database_errors import retry_contention
from service.tasks import request_documents, requests, webhook_events
from service.tasks.errors import UnknownRequest
from service.tasks.resources import Resources

log = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds of one delivery
CONCURRENCY = 2  # deliveries of one process at the same time
MAX_ATTEMPTS = 9
RETRY_BASE = 4  # seconds; the delay is this number to the power of the attempt: all attempts take about a day
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


class DeliveryFailed(Exception):
    """The receiver has not accepted a webhook. The message never has the URL, which may contain a secret."""

    is_expected: ClassVar = True  # no traceback in the log


class RetryStrategy(BaseRetryStrategy):
    """Retries a webhook with growing delays, or at once when its worker stops."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to retry; None after the last attempt."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        attempt = job.attempts + 1
        if attempt >= MAX_ATTEMPTS:
            log.error(
                "A webhook was not accepted in %s attempts and is dropped: %s",
                *(attempt, exception),
                extra={"action": "webhook_dropped"},
            )
            return None
        delay = RETRY_BASE**attempt
        log.warning(
            "A webhook was not accepted; it is sent again in %s s: %s",
            *(delay, exception),
            extra={"action": "webhook_delayed"},
        )
        return RetryDecision(retry_in={"seconds": delay})


async def send(settings: Settings, event: JSON) -> None:
    """Send a CloudEvent; raise DeliveryFailed unless the receiver answers with a 2xx status."""
    body = json.dumps(event, ensure_ascii=False)
    headers = _headers(settings.notify_secret.get_secret_value(), event["id"], body)
    try:
        async with (
            asyncio.timeout(TIMEOUT),  # httpx limits each read and write, not their sum
            httpx.AsyncClient(timeout=TIMEOUT) as client,
            client.stream("POST", settings.notify_url.get_secret_value(), content=body, headers=headers) as response,
        ):
            if not response.is_success:
                raise DeliveryFailed(f"the receiver responded with {response.status_code}")
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError) as error:
        raise DeliveryFailed(type(error).__name__) from None


@retry_contention
async def announce_request_end(resources: Resources, request_id: int) -> None:
    """Put the event of a request on the queue if the request has ended, once for each end."""
    try:
        request = await requests.get(resources.database, request_id)
    except UnknownRequest:
        return
    if request.status is RequestStatus.RUNNING or request.finish_time is None:
        return
    event = webhook_events.cloud_event(
        webhook_events.REQUEST_ENDED,
        f"obproxy/requests/{request.id}",
        str(uuid.uuid4()),
        dict(request_documents.basic(request)),
    )
    async with resources.database.transaction() as connection:
        claim = {"request_id": request.id, "end": request.finish_time}
        if await fetch(connection, "claim_request_announcement", **claim):
            await resources.queue.defer_webhook(connection, event)


def _headers(secret: str, event_id: str, body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "Content-Type": CONTENT_TYPE,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, body),
    }

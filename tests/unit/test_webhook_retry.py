"""Webhooks are retried for about a day, with growing delays, and then dropped."""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Any

import pytest
from procrastinate.jobs import Job
from procrastinate.utils import utcnow

from service.worker.webhooks import DeliveryFailed, RetryStrategy


def delay(attempts: int, exception: BaseException) -> timedelta | None:
    """Return how long a job with so many earlier attempts waits."""
    arguments: dict[str, Any] = {"queue": "q", "lock": None, "queueing_lock": None, "task_name": "t"}
    job = Job(**arguments, attempts=attempts)
    decision = RetryStrategy().get_retry_decision(exception=exception, job=job)
    if decision is None:
        return None
    assert isinstance(decision.retry_at, datetime)
    return decision.retry_at - utcnow()


def test_the_delays_grow_to_about_a_day() -> None:
    delays = [delay(attempts, DeliveryFailed("no")) for attempts in range(8)]

    assert all(found is not None for found in delays)
    seconds = [round(found.total_seconds()) for found in delays if found]
    assert seconds == sorted(seconds) and seconds[0] == 4
    assert 12 * 3600 < sum(seconds) < 30 * 3600


def test_after_the_last_attempt_it_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert delay(8, DeliveryFailed("no")) is None

    assert "dropped" in caplog.text


def test_a_stopping_worker_leaves_it_to_the_next_one() -> None:
    found = delay(8, asyncio.CancelledError())

    assert found is not None and found < timedelta(seconds=1)

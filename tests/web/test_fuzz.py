"""Requests made from the OpenAPI document, good and bad: none may make the server fail."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


def fuzz(address, requests):
    """Send about so many requests, as many to each operation; gives counts by status, and what must not be."""
    schema = schemathesis.openapi.from_url(address + "openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    each = max(1, requests // (len(operations) * len(MODES)))
    statuses: Counter[int] = Counter()
    failed: list[tuple[str, int, str, str]] = []
    for operation in operations:
        for mode in MODES:
            try:
                _send(address, operation, mode, each, statuses, failed)
            except (schemathesis.errors.SchemathesisError, Unsatisfiable):
                continue  # nothing bad can be made for an operation without parameters
    return statuses, failed


def _send(address, operation, mode, count, statuses, failed):
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        answer = case.call(base_url=address, timeout=60)
        statuses[answer.status_code] += 1
        problem = "application/problem+json" in str(answer.headers.get("content-type", ""))
        if answer.status_code >= 500 or (answer.status_code >= 400) != problem:
            failed.append((operation.label, answer.status_code, str(case.body)[:200], answer.text[:200]))

    send()


def judge(address, requests):
    statuses, failed = fuzz(address, requests)
    print(sum(statuses.values()), dict(statuses))
    assert failed == []
    assert sum(statuses.values()) >= 0.6 * requests
    assert {200, 422} <= set(statuses)


def test_requests_made_from_the_description_never_make_the_server_fail(serve_page):
    judge(serve_page(), 200)


@pytest.mark.slow
def test_three_thousand_requests_made_from_the_description_never_make_the_server_fail(serve_page, drawn_photos):
    judge(serve_page(roots=(drawn_photos.folder,)), 4000)  # of which about four fifths are sent

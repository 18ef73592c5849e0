"""What Prometheus reads at /metrics: a registry of this server's own."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
MANY = (1, 2, 4, 8, 16, 32)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


class Measures:
    """Counters and gauges of one server; names begin with ``interleave_``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "interleave_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "interleave_request_seconds",
            "Seconds to the end of an answer.",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.model_seconds = Histogram(
            "interleave_model_seconds",
            "Seconds of the model by kind of work.",
            ["kind"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.model_batch = Histogram(
            "interleave_model_batch", "Queries that the model was given at once.", buckets=MANY, registry=self.registry
        )
        self.refused = Counter(
            "interleave_refused", "Requests refused because too many waited.", registry=self.registry
        )
        gauges = {
            "waiting": "Requests that wait for a thread.",
            "working": "Requests at work.",
            "photos": "Photos of the catalog.",
            "regions": "Regions of the active space.",
            "uploads": "Pictures of queries that are held.",
            "upload_bytes": "Bytes of them.",
            "ingest_running": "1 while an ingest runs.",
            "ingest_done": "Files settled by the last ingest.",
            "ingest_failed": "Files that failed in the last ingest.",
        }
        self.gauges = {
            name: Gauge(f"interleave_{name}", words, registry=self.registry) for name, words in gauges.items()
        }

    def model(self, kind: str, count: int, seconds: float) -> None:
        """One piece of work of the model."""
        self.model_seconds.labels(kind).observe(seconds)
        if kind == "query":
            self.model_batch.observe(count)

    def text(self) -> bytes:
        """Everything, in Prometheus' text form."""
        return generate_latest(self.registry)


class Timed:
    """ASGI middleware that counts and times requests by the route that answers them.

    Args:
        app: what is timed.
        measures: where it is written.
    """

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            # The route's pattern: ids in paths would make a series each.
            name = str(getattr(scope.get("route"), "path", "other"))
            method = scope["method"] if scope["method"] in METHODS else "OTHER"
            self._measures.requests.labels(method, name, str(status)).inc()
            if status == 429:
                self._measures.refused.inc()
            self._measures.seconds.labels(method, name).observe(time.perf_counter() - began)

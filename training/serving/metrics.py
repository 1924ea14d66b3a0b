"""What Prometheus can ask of the service. Labels come from fixed sets: no request can make a new series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_TENTHS: Final = tuple(part / 10 for part in range(1, 11))


class Metrics:
    """The service's own registry, with the process's memory, processor time and open files."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self.requests = Counter(
            "semblance_requests", "Requests, by route and HTTP status.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "semblance_request_seconds",
            "Seconds from a request's first byte to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batch = Histogram(
            "semblance_crops_batch_size", "Crops scored at once.", buckets=_BATCHES, registry=self._registry
        )
        self.problems = Counter(
            "semblance_problems", "Requests without a score, by reason.", ["reason"], registry=self._registry
        )
        self.scores = Histogram(
            "semblance_probability",
            "Probability of fake, by kind of request, role and version of the model.",
            ["kind", "role", "version"],
            buckets=_TENTHS,
            registry=self._registry,
        )
        self.uncertain = Counter(
            "semblance_uncertain", "Answers that are called uncertain.", ["kind"], registry=self._registry
        )
        self.faces = Counter(
            "semblance_faces", "Faces of videos, scored and rejected.", ["outcome"], registry=self._registry
        )
        self.model = Gauge(
            "semblance_model",
            "1 for each model that answers now; the share of subjects for a challenger.",
            ["role", "name", "version"],
            registry=self._registry,
        )
        self.registry_up = Gauge(
            "semblance_registry_up", "Whether the registry answered last time.", registry=self._registry
        )
        self.events_dropped = Gauge(
            "semblance_events_dropped", "Events of the roll-out that could not be kept.", registry=self._registry
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All of it in Prometheus's text format 0.0.4."""
        return generate_latest(self._registry)

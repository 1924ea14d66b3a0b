"""The service as a Ray Serve application: a replica is a service of its own, with its queues, children and models.

``serve run semblance.training.serving.ray_app:application run=runs/detector replicas=2 cpus=4``
"""

# Without `from __future__ import annotations`: Ray reads the class of `application`'s argument, and takes no string.
import contextlib
import math
from typing import Any, Final

from fastapi import FastAPI
from pydantic import Field
from ray import serve

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.serving import app, start
from semblance.training.serving.config import ServeConfig
from semblance.training.serving.service import workers

_OTHERS: Final = 32  # requests for health, metrics, jobs and the page, beside those that wait for a score
_LATE_S: Final = 15.0  # what a stop may take beside its answers: children end, events are written


class RayOptions(start.Options):
    """``replicas``: services side by side; ``cpus``, ``gpus``: of each, which Ray reserves.

    All files that are named must be found on every node. With several replicas there are no jobs: Ray would ask any of
    them for the answer that only one has.
    """

    replicas: int = Field(default=1, ge=1)
    cpus: float = Field(default=2.0, gt=0)
    gpus: float = Field(default=0.0, ge=0)

    def loaded(self) -> ServeConfig:
        """The settings of one replica; ``videos.workers`` is one fewer than its processors unless it is set."""
        config = super().loaded()
        videos = config.videos
        if videos.workers is None:
            videos = videos.model_copy(update={"workers": max(math.ceil(self.cpus) - 1, 1)})
        if self.replicas == 1:
            return config.model_copy(update={"videos": videos})
        if self.jobs is not None:
            raise UsageError("Several replicas keep no jobs; leave out jobs, or set replicas=1.")
        videos = videos.model_copy(update={"job_seconds": min(videos.job_seconds, videos.seconds)})
        jobs = config.jobs.model_copy(update={"queue": 0})
        return config.model_copy(update={"videos": videos, "jobs": jobs})


class Replica:
    """One service. It takes requests once its children have started, and ends after its last answer."""

    def __init__(self, options: RayOptions) -> None:
        self._open = contextlib.ExitStack()
        self._service = self._open.enter_context(start.service(options))

    def __serve_build_asgi_app__(self) -> FastAPI:
        return app.build(self._service, wait=True)

    def check_health(self) -> None:
        """Raises SemblanceError if the service is not ready: Ray then starts another replica."""
        if not self._service.ready:
            raise SemblanceError("The service is not ready.")

    def __del__(self) -> None:
        self._open.close()


def application(options: RayOptions) -> serve.Application:
    """The application, for ``serve.run`` or ``serve run``. Raises UsageError if an option cannot be used.

    A replica is sent as many requests as its queues hold, and some: so it fills its batches, and it is the service that
    refuses, with a sentence and Retry-After. Ray's own limit is twice that.
    """
    config = options.loaded()
    options.source.check()
    most = config.crops.queue + config.crops.batch + config.videos.queue + workers(config) + _OTHERS
    resources: dict[str, Any] = {"num_cpus": options.cpus, "num_gpus": options.gpus}
    deployment: Any = serve.deployment(
        serve.ingress()(Replica),
        name="semblance",
        num_replicas=options.replicas,
        ray_actor_options=resources,
        max_ongoing_requests=most,
        max_queued_requests=most,
        backpressure_config={"retry_after_s": 1},
        graceful_shutdown_wait_loop_s=1.0,
        graceful_shutdown_timeout_s=config.stop_seconds + _LATE_S,
        health_check_period_s=config.poll_seconds,
    )
    bound: serve.Application = deployment.bind(options)
    return bound

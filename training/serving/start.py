"""A service from its options: the same one for ``training serve`` and for a replica of Ray Serve."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from semblance.manifests.config import Config
from semblance.manifests.errors import UsageError
from semblance.training.inference import predictor
from semblance.training.rollout.events import Log
from semblance.training.serving import access, logs, run, spool
from semblance.training.serving.config import ServeConfig, load
from semblance.training.serving.models import Lineup, Models
from semblance.training.serving.service import Service


class Options(Config):
    """What is served, and with which files. ``run``: a run or an ensemble, served as it is.

    ``tokens``: a file of tokens, None if none is needed; ``events``: a folder or s3:// prefix for events and feedback;
    ``jobs``: a folder that keeps jobs over a restart; ``config``: a YAML file of settings; ``settings``: ``key=value``
    laid over them.
    """

    run: str | None = None
    tokens: str | None = None
    events: str | None = None
    jobs: str | None = None
    config: str | None = None
    settings: tuple[str, ...] = ()

    def loaded(self) -> ServeConfig:
        """The settings; raises UsageError."""
        return load(self.config, self.settings)


@contextlib.contextmanager
def service(options: Options) -> Iterator[Service]:
    """The service, not started, for a block; its folder is gone at the end.

    Raises UsageError or SemblanceError if something that is named cannot be used.
    """
    if options.run is None:
        raise UsageError("Nothing to serve; pass --run RUN.")
    config = options.loaded()
    tokens = access.read(options.tokens)
    with spool.folder() as folder:
        model = run.loaded(predictor.load(options.run), config, folder / "model")
        logs.configure()
        yield Service(
            models=Models(lineup=Lineup(champion=model)),
            config=config,
            folder=folder,
            tokens=tokens,
            jobs_folder=Path(options.jobs) if options.jobs else None,
            log=Log(options.events) if options.events is not None else None,
        )

"""A service from its options: the same one for ``training serve`` and for a replica of Ray Serve."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from semblance.manifests import storage
from semblance.manifests.config import Config
from semblance.training.rollout.events import Log
from semblance.training.serving import access, logs, spool
from semblance.training.serving.config import ServeConfig, load
from semblance.training.serving.service import Service
from semblance.training.serving.source import Source


class Options(Config):
    """What is served, and with which files.

    ``run``, or ``model``, ``registry``, ``public_key`` and ``cache``: as of ``Source``; ``tokens``: a file of tokens,
    None if none is needed; ``events``: a folder or s3:// prefix for events and feedback; ``jobs``: a folder that keeps
    jobs over a restart; ``config``: a YAML file of settings; ``settings``: ``key=value`` laid over them.
    """

    run: str | None = None
    model: str | None = None
    registry: str | None = None
    public_key: str | None = None
    cache: str | None = None
    tokens: str | None = None
    events: str | None = None
    jobs: str | None = None
    config: str | None = None
    settings: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        return Source(
            run=self.run,
            registry=self.registry,
            model=self.model,
            public_key=self.public_key,
            cache=self.cache,
        )

    def loaded(self) -> ServeConfig:
        """The settings; raises UsageError."""
        return load(self.config, self.settings)


def _writable(folder: str | None) -> None:
    if folder and not storage.is_remote(folder):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage.unwritable(folder, error, "choose another folder") from error


@contextlib.contextmanager
def service(options: Options) -> Iterator[Service]:
    """The service, not started, for a block; its folder is gone at the end.

    Raises UsageError or SemblanceError if something that is named cannot be used.
    """
    options.source.check()
    config = options.loaded()
    tokens = access.read(options.tokens)
    _writable(options.jobs)
    _writable(options.events)
    logs.configure()
    with spool.folder() as folder:
        models, follow = options.source.models(config, folder / "models")
        yield Service(
            models=models,
            config=config,
            folder=folder,
            tokens=tokens,
            jobs_folder=Path(options.jobs) if options.jobs else None,
            log=Log(options.events) if options.events else None,
            follow=follow,
        )

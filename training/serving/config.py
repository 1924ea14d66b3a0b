"""How the service is run: what it accepts, how much at once, and who may ask."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from semblance.manifests import config
from semblance.manifests.config import Config


class CropsConfig(Config):
    """Face crops: up to ``batch`` are scored at once; the first waits at most ``wait_ms`` for others.

    At most ``queue`` wait; the next one is answered with 503. A crop has at most ``mib`` and ``megapixels``.
    """

    batch: int = Field(default=16, ge=1, le=1024)
    wait_ms: float = Field(default=2.0, ge=0, le=1000)
    queue: int = Field(default=256, ge=1)
    mib: int = Field(default=4, ge=1)
    megapixels: float = Field(default=16.0, gt=0)


class VideosConfig(Config):
    """Videos, each found faces in by a supervised child process.

    ``workers``: videos at once, None for one fewer than the processors, at least 1. At most ``queue`` wait. ``mib``: of
    an upload. ``seconds``: of a video that is answered at once, ``job_seconds`` of one that is a job. ``cpu_seconds``
    and ``memory_mib`` are the child's limits for a video of at most ``seconds``.
    """

    workers: int | None = Field(default=None, ge=1)
    queue: int = Field(default=32, ge=0)
    mib: int = Field(default=256, ge=1)
    seconds: float = Field(default=60.0, gt=0)
    job_seconds: float = Field(default=3600.0, gt=0)
    megapixels: float = Field(default=10.0, gt=0)
    cpu_seconds: float = Field(default=120.0, gt=0)
    memory_mib: int = Field(default=3072, ge=512)
    s3: tuple[str, ...] = ()  # prefixes of addresses that may be asked for, such as s3://bucket/inbox/


class JobsConfig(Config):
    """Asynchronous jobs: at most ``queue`` wait, 0 for no jobs. A result is kept ``keep_seconds`` after it is done."""

    queue: int = Field(default=64, ge=0)
    keep_seconds: float = Field(default=3600.0, gt=0)


class RateConfig(Config):
    """Requests a minute for each token (each address, where none is needed), with bursts up to ``burst``."""

    per_minute: float = Field(default=6000.0, gt=0)
    burst: int = Field(default=1000, ge=1)


class ServeConfig(Config):
    """The whole. ``passes``: of Monte-Carlo dropout, 0 for no uncertainty. ``threads``: of the network.

    ``body_seconds``: how long a client may take to send a request. ``stop_seconds``: how long a stop waits for answers.
    ``poll_seconds``: between two looks at the registry.
    """

    crops: CropsConfig = CropsConfig()
    videos: VideosConfig = VideosConfig()
    jobs: JobsConfig = JobsConfig()
    rate: RateConfig = RateConfig()
    passes: int = Field(default=100, ge=0)
    threads: int = Field(default=1, ge=1)
    body_seconds: float = Field(default=60.0, gt=0)
    stop_seconds: float = Field(default=30.0, gt=0)
    poll_seconds: float = Field(default=10.0, gt=0)


def load(file: str | None, settings: Sequence[str] = ()) -> ServeConfig:
    """The settings of a YAML file, or the defaults, with ``key=value`` laid over them. Raises UsageError."""
    values = config.read_file(file, "settings") if file else {}
    where, what = (file, "settings file") if file else ("--set", "option")
    return config.parse(ServeConfig, config.apply_settings(values, settings), where, what)

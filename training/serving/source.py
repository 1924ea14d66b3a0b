"""Where a service has its models from: a run as it is, or a registry that it follows."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semblance.manifests.errors import UsageError
from semblance.training.inference import predictor, video
from semblance.training.inference.predictor import Predictor
from semblance.training.registry.mlflow_registry import MLflowRegistry
from semblance.training.registry.records import Package
from semblance.training.serving import network
from semblance.training.serving.answers import Served
from semblance.training.serving.config import ServeConfig
from semblance.training.serving.models import Lineup, Loaded, Models
from semblance.training.serving.service import workers
from semblance.training.serving.watch import Watch

UNREGISTERED = "unregistered"
Follow = Callable[[Models], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Either ``run``, or ``model`` of ``registry`` with the ``public_key`` and a ``cache`` folder for packages."""

    run: str | None = None
    registry: str | None = None
    model: str | None = None
    public_key: str | None = None
    cache: str | None = None

    def check(self) -> None:
        """Raises UsageError for too little or too much."""
        if (self.run is None) == (self.model is None):
            raise UsageError("Pass what to serve, and only one: --run RUN, or --model NAME of a registry.")
        if self.model is not None and (self.registry is None or self.public_key is None):
            raise UsageError("--model needs --registry ADDRESS and --public-key FILE: packages are verified first.")

    def models(self, config: ServeConfig, folder: Path) -> tuple[Models, Follow | None]:
        """The models to begin with, and what keeps them up to date. ``folder``: for files of this process.

        Raises SemblanceError if they cannot be loaded.
        """
        self.check()
        if self.run is not None:
            return Models(lineup=Lineup(champion=loaded(predictor.load(self.run), config, folder))), None
        model, address, key = str(self.model), str(self.registry), Path(str(self.public_key))
        cache = Path(self.cache) if self.cache else folder / "packages"
        cache.mkdir(parents=True, exist_ok=True)

        def load(package: Package, version: str, role: Literal["champion", "challenger"]) -> Loaded:
            return loaded(package.predictor, config, folder, version=version, name=model, role=role, package=package)

        watch = Watch(lambda: MLflowRegistry(address, key), model, cache, key, load)
        return watch.first(), lambda models: watch.follow(models, config.poll_seconds)


def loaded(
    predictor: Predictor,
    config: ServeConfig,
    folder: Path,
    *,
    version: str = UNREGISTERED,
    name: str | None = None,
    role: Literal["champion", "challenger"] = "champion",
    package: Package | None = None,
) -> Loaded:
    """A predictor ready to answer. ``folder``: for OpenVINO's graphs, where no package has them."""
    folder.mkdir(parents=True, exist_ok=True)
    ready, device = network.prepared(
        predictor,
        folder,
        files=package.features if package is not None else (),
        threads=config.threads,
        streams=workers(config) + 2,  # crops, jobs
    )
    recipe, _ = video.recipe_of(predictor)
    served = Served(name=name or predictor.name, version=version, role=role, calibrated=predictor.calibrated)
    return Loaded(served=served, predictor=ready, recipe=recipe, device=device)

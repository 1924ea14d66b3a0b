"""The lineup as the registry has it: looked at every few seconds, loaded beside the old one, replaced as a whole."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from semblance.manifests.errors import SemblanceError
from semblance.training.registry.records import Package, Registry, Route, Version
from semblance.training.serving import logs
from semblance.training.serving.models import Lineup, Loaded, Models

_KEPT: Final = 3  # models in memory: champion, challenger, and the one before, so that a rollback waits for nothing
Load = Callable[[Package, Version, Literal["champion", "challenger"]], Loaded]


class Watch:
    """Follows the aliases of one model. ``load`` makes a package ready to answer; ``cache`` keeps packages on disk."""

    def __init__(self, registry: Registry, model: str, cache: Path, load: Load) -> None:
        self._registry, self._model, self._cache, self._load = registry, model, cache, load
        self._loaded: OrderedDict[tuple[str, str], Loaded] = OrderedDict()

    def first(self) -> Models:
        """The models to begin with. Raises SemblanceError if the registry, or a package of its, cannot be used."""
        return Models(lineup=self._lineup(self._registry.route(self._model)), registry_up=True)

    async def follow(self, models: Models, seconds: float) -> None:
        """Keep ``models`` up to date for ever. While the registry is away, or a new package unfit, nothing changes."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.look, models)

    def look(self, models: Models) -> None:
        """Look once."""
        try:
            route = self._registry.route(self._model)
        except SemblanceError as error:
            if models.registry_up:
                logs.event("registry away", reason=str(error))
            models.registry_up = False
            return
        models.registry_up = True
        try:
            lineup = self._lineup(route)
        except SemblanceError as error:
            if models.notes != [str(error)]:
                logs.event("lineup unchanged", reason=str(error))
            models.notes = [str(error)]
            return
        models.notes = []
        if _shape(lineup) != _shape(models.lineup):
            models.lineup = lineup
            names = ", ".join(f"{one.served.role} {one.served.name} {one.served.version}" for one in lineup.models)
            logs.event("lineup changed", lineup=f"{names}; share {lineup.share:g}")

    def _lineup(self, route: Route) -> Lineup:
        champion = self._get(route.champion, "champion")
        if route.challenger is None:
            return Lineup(champion=champion)
        challenger = self._get(route.challenger, "challenger")
        return Lineup(champion=champion, challenger=challenger, share=route.share, rollout=route.rollout)

    def _get(self, version: Version, role: Literal["champion", "challenger"]) -> Loaded:
        key = (str(version.version), role)
        if key not in self._loaded:
            twin = self._loaded.get((key[0], "challenger" if role == "champion" else "champion"))
            if twin is not None:
                self._loaded[key] = twin.as_role(role)
            else:
                self._loaded[key] = self._load(self._registry.fetch(version, self._cache), version, role)
        self._loaded.move_to_end(key)
        while len(self._loaded) > 2 * _KEPT:
            self._loaded.popitem(last=False)
        return self._loaded[key]


def _shape(lineup: Lineup) -> tuple[object, ...]:
    return (*((one.served.version, one.served.role) for one in lineup.models), lineup.share, lineup.rollout)

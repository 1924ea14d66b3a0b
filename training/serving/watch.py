"""The lineup as the registry has it: looked at every few seconds, loaded beside the old one, replaced as a whole.

::

    CACHE/MODEL/VERSION-...    packages, verified each time they are loaded
    CACHE/MODEL.json           the last lineup, for a start while the registry is away
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, StorageError
from semblance.training.registry import package
from semblance.training.registry.records import Package, Registry, Version
from semblance.training.serving import logs
from semblance.training.serving.models import Lineup, Loaded, Models

_KEPT: Final = 3  # models in memory: champion, challenger, and the one before, so that a rollback waits for nothing
Role = Literal["champion", "challenger"]
Load = Callable[[Package, str, Role], Loaded]  # package, semantic version, role


class Watch:
    """Follows the aliases of one model.

    ``connect`` opens the registry, ``public_key`` verifies packages, ``load`` makes one ready to answer.
    """

    def __init__(self, connect: Callable[[], Registry], model: str, cache: Path, public_key: Path, load: Load) -> None:
        self._connect, self._model, self._cache, self._key, self._load = connect, model, cache, public_key, load
        self._registry: Registry | None = None
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()  # by semantic version
        self._folders: dict[str, Path] = {}

    def first(self) -> Models:
        """The models to begin with: the registry's or, while that is away, those of the last time.

        Raises SemblanceError if there are none, or if a package of them is not as it was signed.
        """
        try:
            return Models(lineup=self._asked(), registry_up=True)
        except StorageError as error:
            note = f"The registry is away, so the models of the last time answer: {error}"
            lineup = self._remembered()
            if lineup is None:
                raise
            return Models(lineup=lineup, registry_up=False, notes=[note])

    async def follow(self, models: Models, seconds: float) -> None:
        """Keep ``models`` up to date for ever. While the registry is away, or a new package unfit, nothing changes."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.look, models)

    def look(self, models: Models) -> None:
        """Look once."""
        try:
            lineup = self._asked()
        except SemblanceError as error:
            models.registry_up = not isinstance(error, StorageError)
            if models.notes != [str(error)]:
                logs.event("lineup unchanged", reason=str(error))
            models.notes = [str(error)]
            return
        models.registry_up, models.notes = True, []
        if _shape(lineup) != _shape(models.lineup):
            models.lineup = lineup
            names = ", ".join(f"{one.served.role} {one.served.name} {one.served.version}" for one in lineup.models)
            logs.event("lineup changed", lineup=f"{names}; share {lineup.share:g}")

    def _asked(self) -> Lineup:
        """What the registry has now; all packages are loaded, so that the change takes no time."""
        if self._registry is None:
            self._registry = self._connect()
        route = self._registry.route(self._model)
        lineup = Lineup(champion=self._get(route.champion, "champion"))
        if route.challenger is not None:
            challenger = self._get(route.challenger, "challenger")
            lineup = Lineup(champion=lineup.champion, challenger=challenger, share=route.share, rollout=route.rollout)
        self._remember(lineup)
        return lineup

    def _get(self, version: Version, role: Role) -> Loaded:
        assert self._registry is not None
        name = str(version.version)
        if name not in self._loaded:
            found = self._registry.fetch(version, self._cache)
            self._keep(name, found, role)
        self._loaded.move_to_end(name)
        return self._loaded[name].as_role(role)

    def _keep(self, name: str, found: Package, role: Role) -> None:
        self._loaded[name], self._folders[name] = self._load(found, name, role), found.folder
        while len(self._loaded) > _KEPT:
            self._loaded.popitem(last=False)

    @property
    def _memory(self) -> Path:
        return self._cache / f"{self._model}.json"

    def _remember(self, lineup: Lineup) -> None:
        models = [
            {"version": one.served.version, "role": one.served.role, "folder": str(self._folders[one.served.version])}
            for one in lineup.models
        ]
        text = json.dumps({"models": models, "share": lineup.share, "rollout": lineup.rollout})
        if not self._memory.exists() or self._memory.read_text("utf-8") != text:
            storage.write_bytes(str(self._memory), text.encode())

    def _remembered(self) -> Lineup | None:
        try:
            kept: dict[str, Any] = json.loads(self._memory.read_text("utf-8"))
            rows = [(str(one["version"]), str(one["role"]), Path(one["folder"])) for one in kept["models"]]
            share, rollout = float(kept["share"]), str(kept["rollout"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        for name, _, folder in rows:
            self._keep(name, package.load(folder, self._key), "champion")
        models = {role: self._loaded[name] for name, role, _ in rows}
        challenger = models.get("challenger")
        return Lineup(
            champion=models["champion"].as_role("champion"),
            challenger=None if challenger is None else challenger.as_role("challenger"),
            share=share,
            rollout=rollout,
        )


def _shape(lineup: Lineup) -> tuple[object, ...]:
    return (*((one.served.version, one.served.role) for one in lineup.models), lineup.share, lineup.rollout)

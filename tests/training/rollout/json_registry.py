"""A registry in one JSON file: the protocol and nothing else, with a process that may die before any change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.registry.records import ALIASES, CHALLENGER, CHAMPION, Package, Route, Semantic, Version


class Died(BaseException):
    """The process is no more."""


@dataclass(slots=True)
class JsonRegistry:
    """``left``: so many changes are made, and the process dies at the next one; None: it lives."""

    file: Path
    left: int | None = None
    champions: tuple[str, ...] = ()  # after each change

    @classmethod
    def make(
        cls, file: Path, versions: tuple[str, ...] = ("0.9.0", "1.0.0", "1.1.0", "1.2.0"), champion: str = "1.0.0"
    ) -> JsonRegistry:
        file.write_text(json.dumps({"versions": versions, "aliases": {CHAMPION: champion}, "rollout": None, "bad": []}))
        return cls(file)

    def _kept(self) -> dict[str, Any]:
        return json.loads(self.file.read_text())

    def _keep(self, kept: Mapping[str, Any]) -> None:
        if self.left == 0:
            raise Died
        if self.left is not None:
            self.left -= 1
        self.file.write_text(json.dumps(kept))
        self.champions += (str(self.route("detector").champion.version),)

    def versions(self, model: str) -> list[Version]:
        kept = self._kept()
        if model != "detector":
            raise UsageError(f"There is no model {model!r}.")
        return [
            Version(
                model=model,
                version=Semantic.parse(text),
                number=number,
                source="",
                aliases=tuple(alias for alias in ALIASES if kept["aliases"].get(alias) == text),
            )
            for number, text in enumerate(kept["versions"], 1)
        ]

    def find(self, model: str, which: str) -> Version:
        for version in self.versions(model):
            if which == str(version.version) or which in version.aliases:
                return version
        raise UsageError(f"{model} has no version {which!r}.")

    def fetch(self, version: Version, cache: Path) -> Package:
        if str(version.version) in self._kept()["bad"]:
            raise SemblanceError(f"The file weights/0.safetensors of {version.name} was changed.")
        return Package(folder=cache, predictor=None, sha256="")  # type: ignore[arg-type]

    def route(self, model: str) -> Route:
        kept = self._kept()
        state = kept["rollout"] or {}
        there = CHALLENGER in kept["aliases"]
        return Route(
            champion=self.find(model, CHAMPION),
            challenger=self.find(model, CHALLENGER) if state and there else None,
            share=state.get("share", 0.0) if there else 0.0,
            rollout=state.get("id", ""),
            state=state,
        )

    def set_alias(self, version: Version, alias: str) -> None:
        kept = self._kept()
        kept["aliases"][alias] = str(version.version)
        self._keep(kept)

    def drop_alias(self, model: str, alias: str) -> None:
        self.find(model, CHAMPION)
        kept = self._kept()
        kept["aliases"].pop(alias, None)
        self._keep(kept)

    def set_rollout(self, model: str, state: Mapping[str, Any] | None) -> None:
        self.find(model, CHAMPION)
        self._keep(self._kept() | {"rollout": state})

    def spoil(self, version: str) -> None:
        """Its signature does not hold any more."""
        kept = self._kept()
        self.file.write_text(json.dumps(kept | {"bad": [*kept["bad"], version]}))

    def aliases(self) -> dict[str, str]:
        return self._kept()["aliases"]

"""What the registry knows of a model: its versions, who answers, and a new version that is tried beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from semblance.manifests.errors import UsageError

if TYPE_CHECKING:  # who answers is told without torch
    from semblance.training.inference.predictor import Predictor

CHAMPION: Final = "champion"  # answers
CHALLENGER: Final = "challenger"  # is tried
PREVIOUS: Final = "previous"  # was the champion, and is again after a rollback
ALIASES: Final = (CHAMPION, CHALLENGER, PREVIOUS)
_FORM: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True, slots=True, order=True)
class Semantic:
    """A semantic version of a detector.

    ``major``: its answers cannot be compared with the earlier ones (other labels or crops). ``minor``: other answers to
    the same question (trained again, more data, another network). ``patch``: the same answers (packaging, texts).
    """

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises UsageError for anything but three numbers.

        >>> Semantic.parse("1.2.0") < Semantic.parse("1.10.0")
        True
        """
        if (found := _FORM.fullmatch(text)) is None:
            raise UsageError(f"{text!r} is no semantic version; write three numbers, such as 1.2.0.")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def alias(self) -> str:
        """MLflow's aliases take no dots.

        >>> Semantic.parse("1.2.0").alias
        'v1-2-0'
        """
        return f"v{self.major}-{self.minor}-{self.patch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One registered version of a model. ``number`` is MLflow's own, ``source`` where its package lies."""

    model: str
    version: Semantic
    number: int
    source: str
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.model} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Who answers: the champion and, for ``share`` of the subjects, the challenger.

    ``rollout``: the id of the roll-out, which salts the assignment; "" without one. ``state``: what else the roll-out
    keeps in the registry.
    """

    champion: Version
    challenger: Version | None = None
    share: float = 0.0
    rollout: str = ""
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Package:
    """A fetched and verified package, ready to answer.

    ``features``: the file of OpenVINO's graph of each member's features, None where a member has none; ``sha256``: that
    of the package's manifest, which its signature covers.
    """

    folder: Path
    predictor: Predictor
    sha256: str
    features: tuple[Path | None, ...] = ()


class Aliases(Protocol):
    """Who answers, and how that is changed. All raise StorageError if the registry cannot be reached."""

    def find(self, model: str, which: str) -> Version:
        """The version of an alias (``champion``) or number (``1.2.0``); raises UsageError if there is none."""

    def versions(self, model: str) -> list[Version]:
        """All versions of a model, ascending; raises UsageError for an unknown model."""

    def route(self, model: str) -> Route:
        """Who answers now."""

    def set_alias(self, version: Version, alias: str) -> None:
        """Let an alias point at a version, whatever it pointed at before."""

    def drop_alias(self, model: str, alias: str) -> None:
        """Remove an alias, if there is one."""

    def set_rollout(self, model: str, state: Mapping[str, Any] | None) -> None:
        """Store the state of a roll-out with the model (keys ``id``, ``share`` and its own), or remove it."""


class Registry(Aliases, Protocol):
    """What the service and the start of a roll-out need beside it: packages."""

    def fetch(self, version: Version, cache: Path) -> Package:
        """Copy its package into a folder of ``cache``, unless it is there, verify its signature, and load it.

        Raises SemblanceError, with the name of the file, for a file that was changed, added or removed.
        """

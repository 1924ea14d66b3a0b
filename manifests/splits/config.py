"""What may be asked of the splits, and what holds for a whole dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from semblance.manifests.config import Config
from semblance.manifests.splits.protocols import Against, Basis

Protocol = Literal["official", "official_clean", "identity", "family", "method", "temporal", "person_estimated"]
COLUMNS: Final = ("official", "family", "identity", "method", "temporal", "person_estimated")
FRACTIONS: Final = (0.8, 0.1, 0.1)


class SplitConfig(Config):
    """Which protocol is active, and the share of videos that train, val and test should get.

    ``auto``: identity if people are known, else family, else official. A protocol with a split of only reals or only
    fakes is skipped if a later one has none. Without ``fractions`` the dataset's default shares apply.
    ``held_out``: the methods that protocol ``method`` reserves for test. Without them it is method number ``rotate``
    in alphabetical order, modulo their count. ``against``: what a train or val video of ``official_clean`` must not
    share with the published test set. ``persons``: the table of `quality persons`, for protocol ``person_estimated``;
    with it ``auto`` takes that protocol.
    """

    protocol: Literal[
        "auto", "official", "official_clean", "identity", "family", "method", "temporal", "person_estimated"
    ] = "auto"
    fractions: tuple[float, float, float] | None = None
    held_out: tuple[str, ...] = ()
    rotate: int = Field(default=0, ge=0)
    against: Against = "recording"
    persons: str | None = None

    @model_validator(mode="after")
    def _fractions_are_shares(self) -> Self:
        if self.fractions is None:
            return self
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError("split.fractions must be three shares (train, val, test) that add up to 1")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTraits:
    """What holds for a whole dataset and is in no row.

    ``basis``: what its ids of people stand for. ``paired``: whether a fake names its original. ``val_from_train``: its
    authors published no val, so a part of train becomes it.
    """

    basis: Basis | None = None
    paired: bool = True
    val_from_train: bool = False

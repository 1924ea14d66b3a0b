"""Adversarial training: a share of every batch is attacked on the model as it is, at a strength that grows.

Madry et al., "Towards deep learning models resistant to adversarial attacks" (ICLR 2018), here on a share of the
pictures. B: pictures of a batch, K: those that are attacked.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final, Literal

import polars as pl
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.manifests.ids import digest
from semblance.training import attacks
from semblance.training.attacks import ATTACKS, EPS
from semblance.training.attacks.gradient import Pgd
from semblance.training.data import units
from semblance.training.data.query import Selection
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Stage, Step

_AT_ONCE: Final = 64  # pictures of a batch of the judged slice
_STEP: Final = 3  # passes of a picture in plain training: one forward, and two of its size backward


def _known(name: str) -> str:
    if name not in ATTACKS:
        raise ValueError(f"there is no attack {name!r}; attacks are {', '.join(sorted(ATTACKS))}")
    return name


class AdversarialConfig(RegimeConfig):
    """``share`` of every batch is attacked, with one of ``attacks`` a step, each as likely as another.

    The strength grows evenly from 0 to ``eps`` over the first ``ramp_epochs`` epochs. cw and aa-binary are made with
    few iterations. Every ``judge_every`` epochs and after the last, PGD of 10 steps at ``eps`` is made on
    ``judge_pictures`` pictures of val, which are chosen by hash, half of each class.
    """

    kind: Literal["adversarial"] = "adversarial"
    share: float = Field(default=0.3, ge=0, le=1)
    attacks: tuple[Annotated[str, AfterValidator(_known)], ...] = Field(default=("fgsm", "pgd"), min_length=1)
    eps: float = Field(default=EPS, gt=0, le=1)
    ramp_epochs: float = Field(default=10, ge=0)
    judge_every: int = Field(default=10, ge=1)
    judge_pictures: int = Field(default=256, ge=2)

    def check_epochs(self, epochs: int) -> None:
        if self.ramp_epochs > epochs:
            raise ValueError(
                f"regime.ramp_epochs ({self.ramp_epochs:g}) must be at most epochs ({epochs}), or attacks never reach "
                "their strength; change one of them"
            )

    @property
    def terms(self) -> tuple[str, ...]:
        """What attacks cost."""
        passes = [ATTACKS[name].quick_passes for name in self.attacks]
        times = 1 + self.share * sum(passes) / len(passes) / _STEP
        return (
            f"{self.share:.0%} of every batch is attacked ({', '.join(self.attacks)}), so that a step computes about "
            f"{times:.1f} times as much as without",
        )


@registry.register(AdversarialConfig)
class Adversarial(Regime):
    """Attacks in eval mode, then the recipe's loss of the whole batch in train mode, on hard labels where attacked.

    Which pictures of an epoch's batch are attacked, with what, and with which random numbers follows from the seed, the
    place in the run and the pictures' names. Each device attacks its share of its own part of a batch.
    """

    def __init__(self, config: AdversarialConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        self.settings = config
        if model.members > 1:
            raise UsageError(
                "regime.kind is adversarial, which attacks single pictures, and this model scores clips; train its "
                "frame model adversarially instead."
            )
        self._seed, self._epochs = 0, 0
        self._judged: Batch | None = None

    def begin(self, model: Model, stage: Stage) -> None:
        del model
        self._seed, self._epochs = stage.seed, stage.epochs
        self._judged = _read(stage, self.settings.judge_pictures)

    def unmixed(self, sample_ids: Sequence[str], epoch: int) -> Sequence[int]:
        """The places of the pictures that will be attacked: exactly the share, rounded, by hash."""
        count = math.floor(self.settings.share * len(sample_ids) + 0.5)
        keys = [digest("attacked", self._seed, epoch, name) for name in sample_ids]
        return sorted(sorted(range(len(keys)), key=keys.__getitem__)[:count])

    def strength(self, progress: float) -> float:
        """The eps of a step by the share of the run's batches before it."""
        ramp = self.settings.ramp_epochs
        return self.settings.eps * (min(progress * self._epochs / ramp, 1.0) if ramp else 1.0)

    def attack(self, progress: float) -> str:
        """The attack of a step, the same on every rank."""
        drawn = int(digest("attack of a step", self._seed, repr(progress))[:15], 16)
        return self.settings.attacks[drawn % len(self.settings.attacks)]

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        places = list(self.unmixed(batch.sample_ids, chance.epoch))
        eps = self.strength(chance.progress)
        attacked_B = torch.zeros(len(batch.target_B), dtype=torch.bool)
        attacked_B[places] = True
        attacked_B = attacked_B.to(batch.target_B.device)
        if places and eps > 0:
            batch = replace(batch, image_BCHW=self._attacked(model, batch, places, eps, chance))
        output = model(batch.image_BCHW)
        parts = self.loss(output, batch)
        wrong_B = (1 - 2 * batch.target_B) * output.logit_B.detach() > 0
        share = (wrong_B & attacked_B).sum() / max(len(places), 1)
        return Step(loss=parts["loss"], parts={**parts, "eps": torch.full_like(share, eps), "wrong_of_attacked": share})

    def _attacked(self, model: Model, batch: Batch, places: list[int], eps: float, chance: Chance) -> Tensor:
        """The pictures of the batch, those at ``places`` attacked."""
        attack = ATTACKS[self.attack(chance.progress)].quick(eps=eps)
        names = [f"{chance.epoch} {batch.sample_ids[place]}" for place in places]
        image_BCHW = batch.image_BCHW.clone()
        some_KCHW, target_K = image_BCHW[places], batch.target_B[places]
        image_BCHW[places] = attack(
            attacks.of_model(model), some_KCHW, target_K, attacks.generators(self._seed, names)
        ).to(image_BCHW.dtype)
        return image_BCHW

    def judge(self, model: Model, epoch: int) -> Mapping[str, float]:
        """Balanced accuracy at p = 0.5 on the slice of val, as it is and under attack, every few epochs."""
        due = (epoch + 1) % self.settings.judge_every == 0 or epoch + 1 == self._epochs
        if self._judged is None or not due:
            return {}
        target, pgd = attacks.of_model(model), Pgd(eps=self.settings.eps)
        clean, robust = [], []
        for first in range(0, len(self._judged.target_B), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            image_BCHW = self._judged.image_BCHW[some].float() / 255
            target_B = self._judged.target_B[some]
            generators = attacks.generators(self._seed, self._judged.sample_ids[some])
            clean.append(target.loss(image_BCHW, target_B) < 0)
            robust.append(target.loss(pgd(target, image_BCHW, target_B, generators), target_B) < 0)
        fake_B = self._judged.target_B == 1
        return {
            "clean_balanced_accuracy": _balanced(torch.cat(clean), fake_B),
            "robust_balanced_accuracy": _balanced(torch.cat(robust), fake_B),
        }


def _balanced(right_B: Tensor, fake_B: Tensor) -> float:
    return float((right_B[fake_B].double().mean() + right_B[~fake_B].double().mean()) / 2)


def _read(stage: Stage, count: int) -> Batch | None:
    """The pictures of val that are judged, as bytes; None if val has faces of one class only."""
    chosen: set[tuple[str, str]] = set()
    for label in (0, 1):
        names = [
            (name, sample_id)
            for name, selection in stage.data.val.items()
            for sample_id in selection.pictures.filter(pl.col("target") == label)["sample_id"].unique()
        ]
        if not names:
            return None
        chosen |= set(heapq.nsmallest(count // 2, names, key=lambda name: digest("judged", *name)))
    read = [batch for name, selection in stage.data.val.items() for batch in _of(stage, selection, chosen, name)]
    return replace(
        read[0],
        image_BCHW=torch.cat([(batch.image_BCHW * 255).round().to(torch.uint8) for batch in read]),
        target_B=torch.cat([batch.target_B for batch in read]),
        sample_ids=tuple(name for batch in read for name in batch.sample_ids),
    )


def _of(stage: Stage, selection: Selection, chosen: set[tuple[str, str]], name: str) -> list[Batch]:
    ids = [sample_id for of, sample_id in chosen if of == name]
    pictures = selection.pictures.filter(pl.col("sample_id").is_in(ids) & pl.col("target").is_not_null())
    if pictures.is_empty():
        return []
    pictures = pictures.with_columns(unit=pl.int_range(pl.len(), dtype=pl.Int32))
    return list(stage.read(replace(selection, pictures=pictures, units=units.summarise(pictures))))

"""Continual learning: a run learns a new task from the weights of the run before it, and forgets less of the old ones.

Three means that mix freely: elastic weight consolidation (EWC; Kirkpatrick et al., PNAS 2017; sums over tasks as in
Schwarz et al., ICML 2018), replay of a memory of old pictures (Chaudhry et al., arXiv:1902.10486), and learning without
forgetting (LwF; Li and Hoiem, ECCV 2016). Without any of them it is sequential fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl
import torch
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import losses
from semblance.training.data import query
from semblance.training.data.loader import DataConfig
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch, Output
from semblance.training.regimes import continual_memory as memory
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Regime, Stage, Step
from semblance.training.regimes.continual_config import ContinualConfig
from semblance.training.regimes.continual_fisher import ByName, information, penalty, trained

_NORMS: Final = nn.modules.batchnorm._BatchNorm


@dataclass(slots=True)
class _Kept:
    """What a run keeps for its resumption and for the run after it.

    ``memory``: rows over all tasks, this one too. ``replayed``: those of the run before, which it learns from again.
    ``drawn``: batches of them so far. ``fisher``, ``anchor``: F and w* of EWC by parameter, empty without it.
    """

    memory: pl.DataFrame
    replayed: pl.DataFrame
    drawn: int
    fisher: ByName
    anchor: ByName


@registry.register(ContinualConfig)
class Continual(Regime):
    """The recipe's loss on new and replayed pictures, the penalty of EWC, and the distance to the old logits."""

    config: ContinualConfig

    def __init__(self, config: ContinualConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        if model.members > 1:
            raise UsageError("regime.kind=continual learns from single pictures, not from clips; use another model.")
        self._kept = _Kept(memory=memory.of_state(None), replayed=memory.of_state(None), drawn=0, fisher={}, anchor={})
        self._replay: Iterator[Batch] | None = None
        self._teacher: Any = None

    @property
    def memory(self) -> pl.DataFrame:
        """The rows that the next run may learn from again."""
        return self._kept.memory

    # --- the beginning of a run

    def begin(self, model: Model, stage: Stage) -> None:
        config, kept = self.config, self._kept
        if not stage.resumed:
            before = None if config.after is None else self._before(config.after, model, stage)
            new = memory.rows(stage.data.train, stage.data.datasets)
            kept.replayed = memory.of_state(None) if before is None else before.memory
            kept.memory = memory.kept(pl.concat([kept.replayed, new]), config.memory.size)
            if before is not None and config.ewc.weight:
                kept.fisher, kept.anchor = before.fisher, before.anchor
        device = next(model.parameters()).device
        for tensors in (kept.fisher, kept.anchor):
            tensors.update({name: one.to(device) for name, one in tensors.items()})
        if config.after is None:
            return
        if config.lwf.weight:
            self._teacher = stage.score(config.after)
        if config.memory.replay:
            pictures = memory.selection(kept.replayed, self._places(stage), f"the memory of {config.after}")
            query.check_classes(pictures)
            self._replay = stage.draw(pictures, batch=config.memory.batch, seed=stage.seed, start=kept.drawn)

    def _before(self, after: str, model: Model, stage: Stage) -> _Kept:
        """What the run ``after`` hands on, whatever its regime."""
        state = stage.state(after)
        data = DataConfig.model_validate(state["recipe"]["data"])
        records = [dict(one) for one in state["datasets"] if one["role"] == "train"]
        own = (state.get("regime") or {}).get("_extra_state") or {}
        train: pl.DataFrame | None = None
        if "memory" not in own or self.config.ewc.weight:
            train = self._trained_on(after, data, records, stage)
        handed = memory.of_state(own["memory"]) if "memory" in own else _nothing(train)
        found = _Kept(
            memory=memory.kept(handed, self.config.memory.size),
            replayed=memory.of_state(None),
            drawn=0,
            fisher={},
            anchor={},
        )
        if self.config.ewc.weight:
            chosen = memory.kept(_nothing(train), self.config.ewc.samples)
            pictures = memory.selection(chosen, self._places(stage), f"the Fisher information of {after}")
            found.fisher = information(model, stage.read(pictures))
            _add(found.fisher, own.get("fisher") or {}, after)
            found.anchor = {name: one.detach().clone() for name, one in trained(model)}
        return found

    def _trained_on(
        self, after: str, data: DataConfig, records: Sequence[Mapping[str, Any]], stage: Stage
    ) -> pl.DataFrame:
        """The train rows of the run before."""
        found = [memory.place(str(one["fingerprint"]), (str(one["out"]), *self._places(stage))) for one in records]
        for record, out in zip(records, found, strict=True):
            if out is None:
                raise memory.missing(str(record["out"]), str(record["fingerprint"]), f"regime.after={after}")
        outs = [str(out) for out in found]
        selected = query.select(outs, "train", data, data, weight=data.weight)
        return memory.rows(selected, [{**record, "out": out} for record, out in zip(records, outs, strict=True)])

    def _places(self, stage: Stage) -> tuple[str, ...]:
        """Where builds may be that are not where they were."""
        return (*self.config.builds, *(str(one["out"]) for one in stage.data.datasets if one["role"] == "train"))

    # --- steps

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        del chance
        config, kept = self.config, self._kept
        if self.training and config.frozen_norms:
            for part in model.modules():
                if isinstance(part, _NORMS):
                    part.eval()
        learned = batch
        if self.training and self._replay is not None:
            learned = joined(batch, next(self._replay))
            kept.drawn += 1
        output: Output = model(learned.image_BCHW)
        parts = self.loss(output, learned.by_unit(model.members))
        total = parts["loss"]
        more: dict[str, Tensor] = {}
        if self._teacher is not None:
            new_B = output.logit_B[: len(batch.target_B)].float()
            more["lwf"] = softened(new_B, self._teacher(batch.image_BCHW).float(), config.lwf.temperature)
            total = total + config.lwf.weight * more["lwf"]
        if kept.anchor:
            more["ewc"] = penalty(model, kept.fisher, kept.anchor)
            total = total + config.ewc.weight * more["ewc"]
        detached = {name: one.detach() for name, one in more.items()}
        return Step(loss=total, parts=parts | {"loss": total} | detached)

    # --- what is kept

    def get_extra_state(self) -> dict[str, Any]:
        kept = self._kept
        return {
            "memory": memory.to_state(kept.memory),
            "replayed": memory.to_state(kept.replayed),
            "drawn": kept.drawn,
            "fisher": dict(kept.fisher),
            "anchor": dict(kept.anchor),
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        self._kept = _Kept(
            memory=memory.of_state(state["memory"]),
            replayed=memory.of_state(state["replayed"]),
            drawn=int(state["drawn"]),
            fisher=dict(state["fisher"]),
            anchor=dict(state["anchor"]),
        )


def joined(new: Batch, old: Batch) -> Batch:
    """New and old pictures as one batch, the new ones first; the old ones are not mixed with others."""
    mixed, lam = new.mixed_with_B, new.lam_B
    return replace(
        new,
        image_BCHW=torch.cat([new.image_BCHW, old.image_BCHW]),
        target_B=torch.cat([new.target_B, old.target_B]),
        mixed_with_B=None if mixed is None else torch.cat([mixed, old.target_B]),
        lam_B=None if lam is None else torch.cat([lam, torch.ones_like(old.target_B)]),
        sample_ids=(*new.sample_ids, *old.sample_ids),
        video_ids=(*new.video_ids, *old.video_ids),
        tracks=(*new.tracks, *old.tracks),
        persons=(*new.persons, *old.persons),
    )


def softened(logit_B: Tensor, old_B: Tensor, temperature: float) -> Tensor:
    """T^2 x the mean Kullback-Leibler divergence of sigmoid(logit / T) from sigmoid(old / T): zero for equal logits.

    T^2 keeps the size of its gradient whatever T is (Hinton et al., arXiv:1503.02531).
    """
    return losses.soft_loss(logit_B, old_B, temperature) - losses.soft_loss(old_B, old_B, temperature)


def _nothing(rows: pl.DataFrame | None) -> pl.DataFrame:
    return memory.of_state(None) if rows is None else rows


def _add(total: ByName, before: Mapping[str, Tensor], after: str) -> None:
    """Sums over tasks. Raises SemblanceError if the run before had other parameters."""
    for name, one in before.items():
        if name not in total or total[name].shape != one.shape:
            raise SemblanceError(
                f"The Fisher information that {after} carries is of another model (parameter {name}); use its recipe's "
                "model, or set regime.ewc.weight=0."
            )
        total[name] += one.to(total[name].device)

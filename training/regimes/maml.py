"""MAML: weights from which a few steps on a few pictures of a new task lead to a low loss on others of it.

Finn, Abbeel and Levine, ICML 2017. A batch is divided into tasks (data/episodes.py). For each, a few steps of gradient
descent on the support pictures lead from the weights w to w'. The loss is that of the query pictures at w', and its
gradient is that by w, through the steps. B: pictures of a batch, U: units.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import polars as pl
import torch
from pydantic import Field
from timm.layers.norm import RmsNorm
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.data import episodes, units
from semblance.training.data.episodes import Source
from semblance.training.data.query import Selection
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.models import weights as origins
from semblance.training.models.base import frozen_parts, in_eval
from semblance.training.records import Batch
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Stage, Step

MEASURED: Final = 2048  # units from which the statistics of random weights are measured
_NORMS: Final = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, RmsNorm)

Weights = dict[str, Tensor]


class MamlConfig(RegimeConfig):
    """Learn to adapt.

    ``rate`` and ``steps``: those of the gradient descent on the support. ``adapt``: what it changes: ``all`` weights
    that are trained, ``norms`` (scales and shifts of normalisation layers, and the head), or the ``head``; the outer
    step trains all of them anyway. ``first_order``: leave out the derivative of the steps, for about half the time and
    memory. ``shots`` and ``queries``: pictures of each class in the support and query of a task, or as many as the
    batch has. ``tasks``: the most that a step takes; all their activations are held at once, ``steps`` times.
    """

    kind: Literal["maml"] = "maml"
    rate: float = Field(default=0.01, gt=0)
    steps: int = Field(default=1, ge=1)
    first_order: bool = False
    adapt: Literal["all", "norms", "head"] = "all"
    shots: int = Field(default=5, ge=1)
    queries: int = Field(default=5, ge=1)
    tasks: int = Field(default=4, ge=1)

    @property
    def terms(self) -> tuple[str, ...]:
        order = "first order" if self.first_order else "second order"
        return (
            f"a step takes up to {self.tasks} tasks of {self.shots} and {self.queries} pictures of each class for "
            "support and query, made on each device of its own share of the batch",
            f"{self.steps} steps of {self.rate:g} on {self.adapt}, {order}; normalisation keeps its statistics",
        )


@registry.register(MamlConfig)
class Maml(Regime):
    """The mean over tasks of the query loss after the steps.

    The model is in eval mode throughout: normalisation uses the statistics that it has, which no step changes, and
    there is no dropout, so that all steps of a task see one function. Scales and shifts of normalisation are trained
    like other weights. Random weights have no statistics, so those are measured once before the first step.

    A step whose batch holds no task learns nothing; ``tasks`` says how many there were. Each rank makes tasks of its
    own share of a batch: with several, tasks are smaller, and the result differs from that of one. The host waits for
    the labels of every batch, since self-blending may have changed them.
    """

    def __init__(self, config: MamlConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        self.maml = config
        self.names = chosen(model, config.adapt)
        self._sources: dict[str, Source] = {}

    def begin(self, model: Model, stage: Stage) -> None:
        pictures = stage.data.train.pictures
        self._sources = episodes.sources(pictures)
        fakes = pictures.group_by("video_id").agg(fake=(pl.col("target") == 1).any())
        found = episodes.tasks(self._sources, dict(fakes.iter_rows()))
        if not any(min(counts) > 1 for counts in found.values()):
            raise SemblanceError(
                "The train splits have no method of a dataset with two families of fakes beside two of reals, so "
                "support and query of a task cannot be of different families; add a build, or use another split column."
            )
        if not stage.resumed and model.origin == origins.RANDOM:
            measure(model, stage)

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        """Raises UsageError for mixed pictures, which are of two families at once."""
        if batch.lam_B is not None:
            raise UsageError(
                "The regime maml keeps families apart, and a mixed picture is of two; set augment.cutmix.p=0 and "
                "augment.mixup.p=0."
            )
        members = model.members
        units_U = batch.by_unit(members)
        found = episodes.draw(
            [self._sources[video] for video in batch.video_ids[::members]],
            [target == 1 for target in units_U.target_B.tolist()],
            shots=self.maml.shots,
            queries=self.maml.queries,
            most=self.maml.tasks,
            rng=np.random.default_rng(int(torch.randint(2**62, (1,), generator=chance.generator))),
        )
        after, before = [], []
        with still(model):
            for one in found:
                support, asked = (taken(batch, side, members) for side in (one.support, one.query))
                weights, first = adapted(
                    model,
                    self.loss,
                    support,
                    self.names,
                    rate=self.maml.rate,
                    steps=self.maml.steps,
                    second_order=not self.maml.first_order,
                )
                before.append(first)
                after.append(loss_at(model, self.loss, weights, asked))
        if not found:  # zero, with a gradient for every weight, which ranks wait for
            nothing = 0 * torch.stack([one.sum() for one in model.parameters() if one.requires_grad]).sum()
            after, before = [nothing], [nothing.detach()]
        loss = torch.stack(after).mean()
        shots = [float(one.shots) for one in found] or [0.0]
        parts = {"loss": loss, "support": torch.stack(before).mean()}
        parts |= {"tasks": loss.new_tensor(float(len(found))), "shots": loss.new_tensor(sum(shots) / len(shots))}
        return Step(loss=loss, parts={name: value.detach() for name, value in parts.items()})


def chosen(model: Model, adapt: str) -> frozenset[str]:
    """The names of the weights that the steps change. Raises UsageError if the model has none of this kind."""
    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    parts: list[nn.Module] = [model] if adapt == "all" else [getattr(model, "head", nn.Module())]
    if adapt == "norms":
        parts += [part for part in model.modules() if isinstance(part, _NORMS)]
    held = {id(one) for part in parts for one in part.parameters()}
    names = frozenset(name for name, one in model.named_parameters() if id(one) in held) & trained
    if not names:
        raise UsageError(f"The model has no {adapt} that is trained, so nothing can be adapted; set regime.adapt=all.")
    return names


@contextmanager
def still(model: Model) -> Iterator[None]:
    """The model in eval mode, in which no buffer changes, and not compiled: torch differentiates that only once."""
    with in_eval(model), torch.compiler.set_stance("force_eager"):
        yield


def loss_at(model: Model, loss: Loss, weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """The recipe's loss of a batch, with these weights in place of the model's own of the same names."""
    output = functional_call(model, dict(weights), (batch.image_BCHW,))
    value: Tensor = loss(output, batch.by_unit(model.members))["loss"]
    return value


def adapted(
    model: Model,
    loss: Loss,
    support: Batch,
    names: Collection[str],
    *,
    rate: float,
    steps: int,
    second_order: bool,
) -> tuple[Weights, Tensor]:
    """The weights after gradient descent on the support, by name, and the support's loss before the first step.

    w' = w - rate grad L(w), ``steps`` times. They depend on the model's own weights: with ``second_order`` through the
    gradients too, without it as if those were constant. The model must be in eval mode (``still``).
    """
    weights: Weights = {name: one for name, one in model.named_parameters() if name in names}
    first = None
    for _ in range(steps):
        value = loss_at(model, loss, weights, support)
        first = value.detach() if first is None else first
        # autograd rather than func.grad, which keeps every step's graph even where it is not followed
        gradients = torch.autograd.grad(value, list(weights.values()), create_graph=second_order, allow_unused=True)
        weights = {
            name: one if gradient is None else one - rate * gradient
            for (name, one), gradient in zip(weights.items(), gradients, strict=True)
        }
    if first is None:
        raise ValueError("steps must be 1 or more")
    return weights, first


def taken(batch: Batch, place_U: episodes.Place, members: int) -> Batch:
    """Some units of an unmixed batch, in this order."""
    places = [int(unit) * members + member for unit in place_U for member in range(members)]
    index = torch.tensor(places, device=batch.image_BCHW.device)
    return replace(
        batch,
        image_BCHW=batch.image_BCHW[index],
        target_B=batch.target_B[index],
        draws_BK=None,
        sample_ids=tuple(batch.sample_ids[place] for place in places),
        video_ids=tuple(batch.video_ids[place] for place in places),
        tracks=tuple(batch.tracks[place] for place in places),
        persons=tuple(batch.persons[place] for place in places),
    )


def measure(model: Model, stage: Stage) -> None:
    """Set the statistics of batch normalisation to the means over batches of some pictures of train.

    Those of random weights are zero and one, which is no normalisation. The pictures are drawn by the run's seed.
    """
    frozen = {id(one) for part in frozen_parts(model) for one in part.modules()}
    norms = [
        part
        for part in model.modules()
        if isinstance(part, _BatchNorm) and part.track_running_stats and id(part) not in frozen
    ]
    if not norms:
        return
    with still(model), torch.no_grad():
        momenta = [part.momentum for part in norms]
        for part in norms:
            part.reset_running_stats()
            part.momentum = None  # the plain mean over batches
            part.train()
        for batch in stage.read(_some(stage.data.train, MEASURED, stage.seed)):
            if len(batch.sample_ids) > model.members:
                model(batch.image_BCHW)
        for part, momentum in zip(norms, momenta, strict=True):
            part.momentum = momentum


def _some(selection: Selection, count: int, seed: int) -> Selection:
    """At most ``count`` units of a selection, by chance."""
    total = selection.units.height
    if total <= count:
        return selection
    kept = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    number = pl.DataFrame({"unit": kept, "new": np.arange(count)}).cast(pl.Int32)
    pictures = selection.pictures.join(number, on="unit", how="inner", maintain_order="left")
    pictures = pictures.with_columns(unit="new").drop("new")
    return replace(selection, pictures=pictures, units=units.summarise(pictures))

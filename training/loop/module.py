"""The training regime as a LightningModule: the loss of a step, validation, optimiser and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from semblance.manifests.ids import digest
from semblance.training import augment, losses, optim, regimes
from semblance.training.data import query
from semblance.training.data.loader import EpochConfig, Loader, Sized, Transfer, World, as_floats
from semblance.training.data.query import Selection
from semblance.training.data.splits import TrainingData
from semblance.training.data.worker import SampleTransform
from semblance.training.loop.ledger import Ledger
from semblance.training.loop.machine import Machine, per_rank
from semblance.training.loop.staging import staged
from semblance.training.loop.validation import Means, Validation, val_loss
from semblance.training.metrics import aggregate
from semblance.training.models import Model, tuned
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.records import Batch, Output
from semblance.training.regimes import Chance

OTHERS_EVERY = 5  # epochs
VAL_TIMES = 4  # how many times a training batch validation takes: it keeps nothing for gradients


class DetectorModule(LightningModule):
    """A model with its loss and, if the recipe asks for it, the moving average of its weights, which is then validated.

    All randomness in a step is seeded by seed, epoch, batch and rank, so a step does not depend on what ran before it.
    ``resume`` is the dictionary of a last.ckpt.
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
        data: TrainingData,
        model: Model,
        *,
        machine: Machine | None = None,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.recipe, self.data, self.resume = recipe, data, resume
        self.machine = machine or Machine(workers=0)
        self.workers = self.machine.loader_workers(resume)
        self.model = model.to(memory_format=torch.channels_last)  # as batches are
        self.loss, self.labelled = losses.build(recipe.loss, model), recipe.regime.labelled
        self.regime = regimes.build(recipe.regime, model, self.loss)
        self.average: optim.Average | None = None
        if recipe.ema_decay is not None:
            self.average = optim.Average(model, recipe.ema_decay).requires_grad_(False)
        self.sources: Mapping[str, str] = {}  # SHA-256 of the runs that the regime learns from
        self.step = 0  # optimiser steps so far
        self.ledger = Ledger()
        self.figures: dict[str, float | None] = {}  # of the last epoch
        self._train: Loader | None = None
        self._evaluated: dict[str, Loader] = {}
        self.schedule: optim.Schedule | None = None
        self._validation, self._means = Validation(), Means()
        self._stepped = False  # the optimiser, since the last step was closed; a gradient scaler may skip it
        self._before: list[Tensor] = []  # buffers before this step, where it may be skipped
        if resume is not None:
            self._restore(resume)
        if self.machine.compile:  # in place: names in checkpoints stay as they are
            self.model.compile()
            if self.average is not None:
                self.average.module.compile()

    def _restore(self, state: Mapping[str, Any]) -> None:
        tuned.load(self.model, state["model"], self.model)
        self.model.licence = state.get("licence", self.model.licence)  # of the weights that the run began with
        self.loss.load_state_dict(state["loss"])
        self.regime.load_state_dict(state.get("regime") or {})
        if self.average is not None:
            tuned.load(self.average.module, state["average"], self.model)
            self.average.updates = state["updates"]
        self.step, self.figures = state["step"], dict(state["figures"])

    # --- data

    def train_dataloader(self) -> Sized:
        loader = self.train_loader()
        loader.epoch, loader.position = self.current_epoch, 0
        if self.resume is not None and self.resume["place"]["epoch"] == self.current_epoch:
            loader.load_state_dict(self.resume["place"])
        return Sized(loader)

    def train_loader(self) -> Loader:
        """The one loader of the train split, made when the trainer knows its world."""
        if self._train is None:
            share, config = per_rank(self.recipe.data.batch_size, self.trainer.world_size), self.recipe.data
            self._train = self.loader(self.data.train, share, config=config, transform=self.transform())
        return self._train

    def transform(self) -> SampleTransform:
        """How the recipe augments a picture."""
        config, forges = self.recipe.augment, self.recipe.augment.self_blend.p > 0
        return SampleTransform(
            image=augment.build(config),
            forge=augment.forge(config) if forges else None,
            landmarks=forges or config.policy.p > 0,
            draws=augment.Draws(config) if config.on == "device" else None,
            by_unit=self.model.members > 1,
        )

    def val_dataloader(self) -> list[Sized]:
        loaders = []
        for name, selection in self._selections().items():
            if name not in self._evaluated:
                self._evaluated[name] = self._val_loader(selection)
            loader = self._evaluated[name]
            loader.epoch = loader.position = 0
            loaders.append(Sized(loader))
        return loaders

    def _val_loader(self, selection: Selection) -> Loader:
        share = per_rank(self.recipe.data.batch_size, self.trainer.world_size)
        if not self.labelled:
            return self.loader(selection, share, transform=self.transform())
        members = self.model.members
        times = VAL_TIMES if members == 1 else 1  # the frozen part of a clip model keeps nothing in training
        selection = selection if members == 1 else query.cover(selection, members)
        return self.loader(selection, self.machine.val_batch or times * share)

    def _selections(self) -> dict[str, Selection]:
        """What is evaluated after this epoch, by the name that its figures carry: kind/dataset."""
        selections = {f"val/{name}": selection for name, selection in self.data.val.items()}
        if (self.current_epoch + 1) % OTHERS_EVERY == 0 or self.current_epoch + 1 == self.recipe.epochs:
            selections |= {f"other/{name}": selection for name, selection in self.data.others.items()}
        return selections

    def loader(
        self,
        selection: Selection,
        batch: int,
        *,
        config: EpochConfig | None = None,
        transform: SampleTransform | None = None,
        world: World | None = None,
        seed: int | None = None,
    ) -> Loader:
        """Batches of ``batch`` units a rank. ``world``: by default this rank's; ``seed``: by default the recipe's."""
        return Loader(
            selection,
            batch=batch,
            seed=self.recipe.seed if seed is None else seed,
            config=config,
            world=world or World(rank=self.global_rank, ranks=self.trainer.world_size),
            workers=self.workers,
            transform=transform,
            size=self.recipe.augment.size,
            transfer=Transfer(as_bytes=True, pin_memory=self.device.type == "cuda", prefetch=self.machine.prefetch),
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        del dataloader_idx
        batch = batch.to(device, non_blocking=True)
        batch = as_floats(batch) if batch.draws_BK is None else augment.on_device(batch, self.recipe.augment)
        return replace(batch, image_BCHW=batch.image_BCHW.contiguous(memory_format=torch.channels_last))

    # --- learning

    def on_fit_start(self) -> None:
        self.regime.begin(self.model, staged(self))

    def on_train_start(self) -> None:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        self.ledger.ranks, self.ledger.scaled = self.trainer.world_size, scaler is not None
        if scaler is not None:
            self._before = [buffer.clone() for buffer in self._kept_buffers()]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        chance = self._chance("step", self.current_epoch, self.position(batch_idx))
        kept = self.regime.unmixed(batch.sample_ids, self.current_epoch)
        batch = augment.mix(batch, self.recipe.augment, chance.generator, self.model.members, kept)
        step = self.regime(self.model, batch, chance)
        self.ledger.add(step.parts, batch.sample_ids)
        return step.loss * self._tail(batch_idx)

    def _chance(self, kind: str, epoch: int, position: int) -> Chance:
        """Seed torch for a batch of this rank, and say where it stands."""
        seed = int(digest(self.recipe.seed, kind, epoch, position, self.global_rank)[:15], 16)
        torch.manual_seed(seed)
        done = (epoch + position / self.train_loader().batches) / self.recipe.epochs
        return Chance(seed=seed, generator=torch.Generator().manual_seed(seed), epoch=epoch, progress=done)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        optim.align_gradients(optimizer)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        del metric
        if self._stepped or (self.schedule is not None and self.schedule.interval == "epoch"):
            scheduler.step()

    def close_step(self, **row: Any) -> None:
        """End an optimiser step: count it and average the weights. A step that was skipped leaves no trace in them.

        ``row`` joins its losses in the ledger.
        """
        self.ledger.close(self.step, self.current_epoch, skipped=not self._stepped, **row)
        self.step += 1
        if self._stepped:
            if self.average is not None:
                self.average.update_parameters(self.model)
            self.regime.stepped(self.model)
        if self._before:
            buffers = self._kept_buffers()
            with torch.no_grad():
                torch._foreach_copy_(*((self._before, buffers) if self._stepped else (buffers, self._before)))
        self._stepped = False

    def _kept_buffers(self) -> list[Tensor]:
        return [*self.model.buffers(), *self.regime.buffers()]

    def weights(self) -> list[Tensor]:
        """All that a step changes and a checkpoint keeps, for a look at whether it is finite."""
        fixed = {id(one) for one in self.model.parameters() if not one.requires_grad}
        tensors = (*(one for one in self.parameters() if id(one) not in fixed), *self.model.buffers())
        return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]

    def _tail(self, batch_idx: int) -> float:
        """What makes the gradient of an epoch's last step a mean over its batches, if they are fewer than the others'.

        Lightning divides by ``accumulate`` always.
        """
        accumulate, batches = self.recipe.accumulate, self.train_loader().batches
        position = self.position(batch_idx)
        first = position - position % accumulate
        return accumulate / min(accumulate, batches - first)

    def position(self, batch_idx: int) -> int:
        """Batches of this epoch before this one, including those before the run was resumed."""
        first = self.resume["place"] if self.resume is not None else {"epoch": -1, "position": 0}
        return batch_idx + (first["position"] if first["epoch"] == self.current_epoch else 0)

    def configure_optimizers(self) -> Any:
        config = self.recipe.optimiser.model_copy(update={"lr": self.recipe.lr})
        # Lightning refuses to clip for a fused optimiser wherever it casts, without a scaler (bf16) too
        mixed = isinstance(self.trainer.precision_plugin, MixedPrecision)
        parameters = [*self.model.parameters(), *self.loss.parameters(), *self.regime.parameters()]
        optimiser = optim.optimiser(config, parameters, fused=not mixed)
        steps = -(-self.train_loader().batches // self.recipe.accumulate)
        self.schedule = optim.schedule(self.recipe.schedule, optimiser, self.recipe.epochs, steps)
        optimiser.register_step_post_hook(self._mark_step)
        if self.resume is not None:
            optim.restore(optimiser, self.resume["optimiser"])
            self.schedule.scheduler.load_state_dict(self.resume["schedule"])
        if self.schedule.on_val_loss:  # see on_train_epoch_end: Lightning would step after the checkpoint
            return optimiser
        settings = {"scheduler": self.schedule.scheduler, "interval": self.schedule.interval}
        return {"optimizer": optimiser, "lr_scheduler": settings}

    def _mark_step(self, *_: Any) -> None:
        self._stepped = True

    def on_train_epoch_end(self) -> None:
        if self.schedule is not None and isinstance(self.schedule.scheduler, ReduceLROnPlateau):
            self.schedule.scheduler.step(self.figures["val/loss"] or 0.0)

    # --- validation

    def on_validation_epoch_start(self) -> None:
        self._validation = Validation(self._selections(), self.model.members)
        self._means = Means(self._selections())

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        model, name = self._validated(), self._validation.names[dataloader_idx]
        if not self.labelled:  # the same random numbers after every epoch
            step = self.regime(model, batch, self._chance(name, 0, batch_idx))
            self._means.add(name, step.parts, len(batch.sample_ids))
        else:
            output: Output = model(batch.image_BCHW)
            self._validation.add(name, output.logit_B, batch.sample_ids)

    def on_validation_epoch_end(self) -> None:
        if self.labelled:
            frames = self._validation.frames(self._selections(), self.trainer.world_size)
            self.figures = {"val/loss": val_loss(self.loss, frames), **aggregate.figures(frames)}
        else:
            self.figures = self._means.figures(self.device, self.trainer.world_size)
        self._validation = Validation()
        judged = self.regime.judge(self._validated(), self.current_epoch)
        self.figures |= {f"val/{name}": value for name, value in judged.items()}

    def _validated(self) -> Model:
        return self.model if self.average is None else cast(Model, self.average.module)

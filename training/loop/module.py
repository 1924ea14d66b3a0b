"""The training regime as a LightningModule: the loss of a step, validation, optimiser and data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from semblance.manifests.errors import NotANumberError, UsageError
from semblance.manifests.ids import digest
from semblance.training import augment, losses, optim
from semblance.training.data.loader import EpochConfig, Loader, Transfer, World, as_floats
from semblance.training.data.query import Selection
from semblance.training.data.splits import TrainingData
from semblance.training.data.worker import SampleTransform
from semblance.training.metrics import aggregate
from semblance.training.models import Model
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.records import Batch, Output

OTHERS_EVERY = 5  # epochs


class Sized:
    """One epoch of a loader, with the length at its start, as Lightning counts batches."""

    def __init__(self, loader: Loader) -> None:
        self.loader, self.length = loader, len(loader)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)


def per_rank(batch_size: int, ranks: int) -> int:
    """The units of a batch that each of ``ranks`` devices takes; raises UsageError if they cannot share it equally."""
    if batch_size % ranks:
        near = max(batch_size // ranks, 1) * ranks
        raise UsageError(
            f"A batch of {batch_size} units cannot be shared by {ranks} devices; use --set data.batch_size={near}, or "
            "another number of --devices."
        )
    return batch_size // ranks


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
        workers: int = 0,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.recipe, self.data, self.workers, self.resume = recipe, data, workers, resume
        self.model = model
        self.loss = losses.build(recipe.loss, model)
        self.average: optim.Average | None = None
        if recipe.ema_decay is not None:
            mean = optim.ema_average(recipe.ema_decay)
            self.average = optim.Average(model, multi_avg_fn=mean, use_buffers=True).requires_grad_(False)  # type: ignore[arg-type]
        self.step = 0  # optimiser steps so far
        self.parts: list[dict[str, float]] = []  # losses of the batches since the last step, the mean over ranks
        self.figures: dict[str, float | None] = {}  # of the last epoch
        self._train: Loader | None = None
        self.schedule: optim.Schedule | None = None
        self._logits: dict[str, list[pl.DataFrame]] = {}  # by selection
        self._val_losses: list[tuple[float, int]] = []  # mean over a batch, and its size
        if resume is not None:
            self._restore(resume)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
            self.average.n_averaged.fill_(state["updates"])
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
            config, forges = self.recipe.augment, self.recipe.augment.self_blend.p > 0
            transform = SampleTransform(
                image=augment.build(config),
                forge=augment.forge(config) if forges else None,
                landmarks=forges or config.policy.p > 0,
                draws=augment.Draws(config) if config.on == "device" else None,
            )
            self._train = self._loader(self.data.train, config=self.recipe.data, transform=transform)
        return self._train

    def val_dataloader(self) -> list[Sized]:
        return [Sized(self._loader(selection)) for selection in self._selections().values()]

    def _selections(self) -> dict[str, Selection]:
        """What is evaluated after this epoch, by the name that its figures carry: kind/dataset."""
        selections = {f"val/{name}": selection for name, selection in self.data.val.items()}
        if (self.current_epoch + 1) % OTHERS_EVERY == 0 or self.current_epoch + 1 == self.recipe.epochs:
            selections |= {f"other/{name}": selection for name, selection in self.data.others.items()}
        return selections

    def _loader(
        self, selection: Selection, *, config: EpochConfig | None = None, transform: SampleTransform | None = None
    ) -> Loader:
        return Loader(
            selection,
            batch=per_rank(self.recipe.data.batch_size, self.trainer.world_size),
            seed=self.recipe.seed,
            config=config,
            world=World(rank=self.global_rank, ranks=self.trainer.world_size),
            workers=self.workers,
            transform=transform,
            size=self.recipe.augment.size,
            transfer=Transfer(as_bytes=True, pin_memory=self.device.type == "cuda"),
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        del dataloader_idx
        batch = batch.to(device, non_blocking=True)
        return as_floats(batch) if batch.draws_BK is None else augment.on_device(batch, self.recipe.augment)

    # --- learning

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        position = self.current_epoch, self.position(batch_idx), self.global_rank
        seed = int(digest(self.recipe.seed, "step", *position)[:15], 16)
        torch.manual_seed(seed)
        batch = augment.mix(batch, self.recipe.augment, torch.Generator().manual_seed(seed))
        parts = self.loss(self.model(batch.image_BCHW), batch)
        self.parts.append(self._mean_over_ranks(parts, batch))
        self.log("loss", self.parts[-1]["loss"], prog_bar=True, batch_size=len(batch.sample_ids))
        loss: Tensor = parts["loss"] * self._tail(batch_idx)
        return loss

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

    def _mean_over_ranks(self, parts: Mapping[str, Tensor], batch: Batch) -> dict[str, float]:
        """The mean of every part over the ranks; raises NotANumberError on all ranks if one's loss is not finite."""
        ranks = self.trainer.world_size
        values = torch.stack([part.detach().double() for part in parts.values()])
        if ranks > 1:
            dist.all_reduce(values)
            values /= ranks
        if not bool(torch.isfinite(values[list(parts).index("loss")])):
            names = batch.sample_ids if not bool(torch.isfinite(parts["loss"])) else ()
            by_rank: list[tuple[str, ...]] = [names]
            if ranks > 1:
                by_rank = [()] * ranks
                dist.all_gather_object(by_rank, names)
            raise NotANumberError(self.step, self.current_epoch, tuple(name for names in by_rank for name in names))
        return dict(zip(parts, values.tolist(), strict=True))

    def configure_optimizers(self) -> Any:
        config = self.recipe.optimiser.model_copy(update={"lr": self.recipe.lr})
        optimiser = optim.optimiser(config, [*self.model.parameters(), *self.loss.parameters()])
        steps = -(-self.train_loader().batches // self.recipe.accumulate)
        self.schedule = optim.schedule(self.recipe.schedule, optimiser, self.recipe.epochs, steps)
        if self.resume is not None:
            optimiser.load_state_dict(self.resume["optimiser"])
            self.schedule.scheduler.load_state_dict(self.resume["schedule"])
        if self.schedule.on_val_loss:  # see on_train_epoch_end: Lightning would step after the checkpoint
            return optimiser
        settings = {"scheduler": self.schedule.scheduler, "interval": self.schedule.interval}
        return {"optimizer": optimiser, "lr_scheduler": settings}

    def on_train_epoch_end(self) -> None:
        if self.schedule is not None and isinstance(self.schedule.scheduler, ReduceLROnPlateau):
            self.schedule.scheduler.step(self.figures["val/loss"] or 0.0)

    # --- validation

    def on_validation_epoch_start(self) -> None:
        self._logits, self._val_losses = {name: [] for name in self._selections()}, []

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        del batch_idx
        name = list(self._logits)[dataloader_idx]
        model = self.average.module if self.average is not None else self.model
        output: Output = model(batch.image_BCHW)
        logit_B = output.logit_B.float()
        rows = {"sample_id": batch.sample_ids, "logit": logit_B.double().cpu().tolist()}
        self._logits[name].append(pl.DataFrame(rows, schema={"sample_id": pl.String, "logit": pl.Float64}))
        known_B = ~torch.isnan(batch.target_B)
        if name.startswith("val/") and bool(known_B.any()):
            labelled = Output(logit_B=logit_B[known_B], embedding_BD=output.embedding_BD[known_B])
            labels = Batch(
                image_BCHW=batch.image_BCHW[:0],
                target_B=batch.target_B[known_B],
                sample_ids=(),
                video_ids=(),
                tracks=(),
                persons=(),
            )
            self._val_losses.append((float(self.loss(labelled, labels)["loss"]), int(known_B.sum())))

    def on_validation_epoch_end(self) -> None:
        selections = self._selections()
        own = {name: pl.concat(rows) for name, rows in self._logits.items()}
        by_rank: list[tuple[dict[str, pl.DataFrame], list[tuple[float, int]]]] = [(own, self._val_losses)]
        if self.trainer.world_size > 1:
            by_rank = [({}, [])] * self.trainer.world_size
            dist.all_gather_object(by_rank, (own, self._val_losses))
        weighted = [loss for _, losses_of_rank in by_rank for loss in losses_of_rank]
        loss = sum(value * count for value, count in weighted) / max(sum(count for _, count in weighted), 1)
        logits = {name: pl.concat([tables[name] for tables, _ in by_rank]) for name in selections}
        frames = {
            name: selection.pictures.select("sample_id", "video_id", "person", "target", "label").join(
                logits[name], on="sample_id", validate="1:1"
            )
            for name, selection in selections.items()
        }
        self.figures = {"val/loss": loss, **aggregate.figures(frames)}

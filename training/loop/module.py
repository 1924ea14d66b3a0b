"""The training regime as Lightning wants it: one step's loss, the judgement on val, optimiser and data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from semblance.manifests.errors import NotANumberError
from semblance.manifests.records import digest
from semblance.training import augment, losses, optim
from semblance.training.data.loader import Loader, World, as_floats
from semblance.training.data.query import Selection
from semblance.training.data.sampling import SamplingConfig
from semblance.training.data.splits import Material
from semblance.training.metrics import aggregate
from semblance.training.models import Model
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.records import Batch, Output

OTHERS_EVERY = 5  # epochs


class Sized:
    """One epoch of a loader with the length that it has at the start, as Lightning counts."""

    def __init__(self, loader: Loader) -> None:
        self.loader, self.length = loader, len(loader)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)


class DetectorModule(LightningModule):
    """A model with its loss and, where the recipe wants it, the moving average of its weights, which then is judged.

    All chance in a step comes from seed, epoch, batch and rank, so that a step does not depend on what ran before it.
    ``resume`` is the dictionary of a last.ckpt.
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
        material: Material,
        model: Model,
        *,
        workers: int = 0,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.recipe, self.material, self.workers, self.resume = recipe, material, workers, resume
        self.model = model
        self.loss = losses.build(recipe.loss, model)
        self.average: AveragedModel | None = None
        if recipe.ema_decay is not None:
            mean = optim.ema_average(recipe.ema_decay)
            self.average = AveragedModel(model, multi_avg_fn=mean, use_buffers=True).requires_grad_(False)  # type: ignore[arg-type]
        self.step = 0  # optimiser's steps so far
        self.parts: list[dict[str, float]] = []  # of the batches since the last step, the mean over ranks
        self.figures: dict[str, float | None] = {}  # the last epoch's
        self._train: Loader | None = None
        self.schedule: optim.Schedule | None = None
        self._judged: dict[str, list[pl.DataFrame]] = {}
        self._lost: list[tuple[float, int]] = []
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
        """The one loader of the train side, made when the trainer knows its world."""
        if self._train is None:
            data, forges = self.recipe.data, self.recipe.augment.self_blend.p > 0
            self._train = self._loader(
                self.material.train,
                config=SamplingConfig.model_validate(data.model_dump(include=set(SamplingConfig.model_fields))),
                shuffle=data.shuffle,
                transform=augment.build(self.recipe.augment),
                forge=augment.forge(self.recipe.augment) if forges else None,
                landmarks=forges or self.recipe.augment.policy.p > 0,
            )
        return self._train

    def val_dataloader(self) -> list[Sized]:
        return [Sized(self._loader(chosen)) for chosen in self._sides().values()]

    def _sides(self) -> dict[str, Selection]:
        """What is judged after this epoch, by its place in the names of figures."""
        sides = {f"val/{name}": chosen for name, chosen in self.material.val.items()}
        if (self.current_epoch + 1) % OTHERS_EVERY == 0 or self.current_epoch + 1 == self.recipe.epochs:
            sides |= {f"other/{name}": chosen for name, chosen in self.material.others.items()}
        return sides

    def _loader(self, chosen: Selection, **settings: Any) -> Loader:
        return Loader(
            chosen,
            batch=self.recipe.data.batch_size,
            seed=self.recipe.seed,
            world=World(rank=self.global_rank, ranks=self.trainer.world_size),
            workers=self.workers,
            size=self.recipe.augment.size,
            as_bytes=True,
            pin=self.device.type == "cuda",
            **settings,
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        del dataloader_idx
        return as_floats(batch.to(device, non_blocking=True))

    # --- learning

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        place = self.current_epoch, self.place(batch_idx), self.global_rank
        seed = int(digest(self.recipe.seed, "step", *place)[:15], 16)
        torch.manual_seed(seed)
        batch = augment.mix(batch, self.recipe.augment, torch.Generator().manual_seed(seed))
        parts = self.loss(self.model(batch.image_BCHW), batch)
        self.parts.append(self._agree(parts, batch))
        self.log("loss", self.parts[-1]["loss"], prog_bar=True, batch_size=len(batch.sample_ids))
        loss: Tensor = parts["loss"]
        return loss

    def place(self, batch_idx: int) -> int:
        """Batches of this epoch before this one, those before a resumption too."""
        first = self.resume["place"] if self.resume is not None else {"epoch": -1, "position": 0}
        return batch_idx + (first["position"] if first["epoch"] == self.current_epoch else 0)

    def _agree(self, parts: Mapping[str, Tensor], batch: Batch) -> dict[str, float]:
        """Every part's mean over the ranks; raises NotANumberError on all of them where it is none on one."""
        ranks = self.trainer.world_size
        values = torch.stack([part.detach().double() for part in parts.values()])
        if ranks > 1:
            dist.all_reduce(values)
            values /= ranks
        if not bool(torch.isfinite(values[list(parts).index("loss")])):
            bad = batch.sample_ids if not bool(torch.isfinite(parts["loss"])) else ()
            everyone: list[tuple[str, ...]] = [bad]
            if ranks > 1:
                everyone = [()] * ranks
                dist.all_gather_object(everyone, bad)
            raise NotANumberError(self.step, self.current_epoch, tuple(name for names in everyone for name in names))
        return dict(zip(parts, values.tolist(), strict=True))

    def configure_optimizers(self) -> Any:
        optimiser = optim.optimiser(self.recipe.optimiser, [*self.model.parameters(), *self.loss.parameters()])
        steps = -(-self.train_loader().batches // self.recipe.accumulate)
        self.schedule = optim.schedule(self.recipe.schedule, optimiser, self.recipe.epochs, steps)
        if self.resume is not None:
            optimiser.load_state_dict(self.resume["optimiser"])
            self.schedule.scheduler.load_state_dict(self.resume["schedule"])
        if self.schedule.on_val_loss:  # stepped below: Lightning would do so after the epoch's checkpoint
            return optimiser
        settings = {"scheduler": self.schedule.scheduler, "interval": self.schedule.interval}
        return {"optimizer": optimiser, "lr_scheduler": settings}

    def on_train_epoch_end(self) -> None:
        if self.schedule is not None and isinstance(self.schedule.scheduler, ReduceLROnPlateau):
            self.schedule.scheduler.step(self.figures["val/loss"] or 0.0)

    # --- judging

    def on_validation_epoch_start(self) -> None:
        self._judged, self._lost = {name: [] for name in self._sides()}, []

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        del batch_idx
        side = list(self._judged)[dataloader_idx]
        model = self.average.module if self.average is not None else self.model
        output: Output = model(batch.image_BCHW)
        logit_B = output.logit_B.float()
        rows = {"sample_id": batch.sample_ids, "logit": logit_B.double().cpu().tolist()}
        self._judged[side].append(pl.DataFrame(rows, schema={"sample_id": pl.String, "logit": pl.Float64}))
        known_B = ~torch.isnan(batch.target_B)
        if side.startswith("val/") and bool(known_B.any()):
            answer = Output(logit_B=logit_B[known_B], embedding_BD=output.embedding_BD[known_B])
            labels = Batch(
                image_BCHW=batch.image_BCHW[:0],
                target_B=batch.target_B[known_B],
                sample_ids=(),
                video_ids=(),
                tracks=(),
            )
            self._lost.append((float(self.loss(answer, labels)["loss"]), int(known_B.sum())))

    def on_validation_epoch_end(self) -> None:
        sides = self._sides()
        parts = {name: pl.concat(rows) for name, rows in self._judged.items()}
        every: list[tuple[dict[str, pl.DataFrame], list[tuple[float, int]]]] = [(parts, self._lost)]
        if self.trainer.world_size > 1:
            every = [({}, [])] * self.trainer.world_size
            dist.all_gather_object(every, (parts, self._lost))
        lost = [one for _, part in every for one in part]
        loss = sum(value * count for value, count in lost) / max(sum(count for _, count in lost), 1)
        answers = {name: pl.concat([part[name] for part, _ in every]) for name in sides}
        frames = {
            name: chosen.pictures.select("sample_id", "video_id", "track", "target", "label").join(
                answers[name], on="sample_id", validate="1:1"
            )
            for name, chosen in sides.items()
        }
        self.figures = {"val/loss": loss, **aggregate.figures(frames)}

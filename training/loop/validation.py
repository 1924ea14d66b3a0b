"""The logits of an epoch's validation: kept on the device, fetched once, and joined to the rows of their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl
import torch
import torch.distributed as dist
from torch import Tensor

from semblance.training.data import units
from semblance.training.data.query import Selection
from semblance.training.losses import Loss
from semblance.training.records import Batch, Output


class Validation:
    """Collects logits by the name of their selection.

    ``members``: pictures of a logit. Those of a clip have its logit, or the mean of those of their clips.
    """

    def __init__(self, names: Iterable[str] = (), members: int = 1) -> None:
        self.names, self.members = tuple(names), members
        self._logits: dict[str, list[Tensor]] = {name: [] for name in self.names}
        self._ids: dict[str, list[str]] = {name: [] for name in self.names}

    def add(self, name: str, logit_U: Tensor, sample_ids: tuple[str, ...]) -> None:
        """Keep the logits of a batch."""
        self._logits[name].append(logit_U.float())
        self._ids[name] += sample_ids

    def frames(self, selections: Mapping[str, Selection], ranks: int) -> dict[str, pl.DataFrame]:
        """sample_id, video_id, person, target, label and logit of every picture, by selection, over all ranks.

        ``selections`` are of single frames, also where clips of them are scored. Every rank has clips of its own.
        """
        own = {name: self._table(name) for name in self.names}
        by_rank: list[dict[str, pl.DataFrame]] = [own]
        if ranks > 1:
            by_rank = [{}] * ranks
            dist.all_gather_object(by_rank, own)
        return {
            name: selection.pictures.select("sample_id", "video_id", "person", "target", "label").join(
                self._of_pictures([tables[name] for tables in by_rank]), on="sample_id", validate="1:1"
            )
            for name, selection in selections.items()
        }

    def _table(self, name: str) -> pl.DataFrame:
        logits = torch.cat(self._logits[name]).double().cpu().numpy()
        return units.of_pictures(self._ids[name], {"logit": logits})

    def _of_pictures(self, tables: list[pl.DataFrame]) -> pl.DataFrame:
        rows = pl.concat(tables)
        return rows if self.members == 1 else units.mean(rows)


class Means:
    """Means over pictures of what a regime without labels says of val, by the name of their selection."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._sums: dict[str, dict[str, Tensor]] = {name: {} for name in names}

    def add(self, name: str, parts: Mapping[str, Tensor], pictures: int) -> None:
        """Keep the means of a batch of so many pictures."""
        sums = self._sums[name]
        one = next(iter(parts.values()))
        for part, value in {"": torch.ones_like(one), **parts}.items():
            sums[part] = sums.get(part, 0) + value.detach().double() * pictures

    def figures(self, device: torch.device, ranks: int) -> dict[str, float | None]:
        """kind/part/dataset of each selection, and val/part of all of kind ``val`` together, over all ranks."""
        totals: dict[str, dict[str, Tensor]] = {"val": {}, **self._sums}
        for name, sums in self._sums.items():
            if ranks > 1 and sums:
                sent = torch.stack(list(sums.values())).to(device)
                dist.all_reduce(sent)
                sums.update(zip(sums, sent, strict=True))
            if name.startswith("val/"):
                totals["val"] = {part: totals["val"].get(part, 0) + value for part, value in sums.items()}
        figures: dict[str, float | None] = {}
        for name, sums in totals.items():
            kind, _, dataset = name.partition("/")
            tail = f"/{dataset}" if dataset else ""
            figures |= {f"{kind}/{part}{tail}": float(value / sums[""]) for part, value in sums.items() if part}
        return figures


def val_loss(loss: Loss, frames: Mapping[str, pl.DataFrame]) -> float:
    """The mean loss over all labelled pictures of val; zero without any.

    ``loss`` must be in evaluation, where it asks for logits and targets alone.
    """
    own = [table.select("logit", "target") for name, table in frames.items() if name.startswith("val/")]
    known = pl.concat(own).drop_nulls().drop_nans("target")
    if not known.height:
        return 0.0
    logit_B, target_B = (torch.tensor(known[name].to_numpy(), dtype=torch.float32) for name in ("logit", "target"))
    none = torch.zeros(len(logit_B), 0)
    labels = Batch(image_BCHW=none, target_B=target_B, sample_ids=(), video_ids=(), tracks=(), persons=())
    return float(loss(Output(logit_B=logit_B, embedding_BD=none), labels)["loss"])

"""What SimCLR and MoCo share: which pictures are no negatives of each other, batches over all ranks, and their heads.

N: pictures of a batch over all ranks, K: keys, C: dimensions of a projection, G: the two ids of a picture's groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final, Literal

import polars as pl
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.training.data.query import Selection
from semblance.training.models import Model
from semblance.training.records import Batch, Output, to_device
from semblance.training.regimes.base import Stage

Exclude = Literal["none", "video", "family"]

VIEWS: Final = 2
NOTHING: Final = -1  # in place of a group's id: an empty place of a queue


class Groups:
    """The groups of every picture, as whole numbers that are the same on every machine and in every run.

    ``video``: of its video, twice. ``family``: of its family, and of the person that the dataset names for its video,
    or the family again where it names none. Pictures that share one of both are no negatives of each other.
    """

    def __init__(self, exclude: Exclude) -> None:
        self.exclude = exclude
        self._of: dict[str, tuple[int, int]] = {}

    def learn(self, stage: Stage, *, queue: bool = False) -> None:
        """Read the groups of train and val. ``queue``: negatives of val's pictures are keys of train's.

        Raises SemblanceError if all of train is in one group, or all of each val, where the loss is then 0 always.
        """
        vals = stage.data.val
        for selection in (stage.data.train, *vals.values()):
            self._of |= _groups(selection, self.exclude)
        if not self._differ(stage.data.train):
            raise SemblanceError(
                f"All pictures of train are of one {self.exclude}, so none has a negative; add builds, or choose "
                "--set regime.exclude=none."
            )
        if not queue and not any(self._differ(selection) for selection in vals.values()):
            raise SemblanceError(
                f"All pictures of val ({', '.join(vals)}) are of one {self.exclude}, so none has a negative and no "
                "epoch can be chosen; build with a larger val, add builds, or choose --set regime.exclude=none."
            )

    def _differ(self, selection: Selection) -> bool:
        """Whether some pictures of a selection are negatives of others."""
        if self.exclude == "none":
            return True
        group_NG = torch.tensor(sorted({self._of[name] for name in selection.pictures["sample_id"]}))
        return bool(self.apart(group_NG[:1], group_NG).any())

    def of(self, batch: Batch) -> Tensor:
        """(B, G) int64 on the batch's device."""
        return to_device(torch.tensor([self._of[name] for name in batch.sample_ids]), batch.image_BCHW.device)

    def apart(self, group_NG: Tensor, group_KG: Tensor) -> Tensor:
        """(N, K): which keys may be negatives. An empty place of a queue is never one."""
        if self.exclude == "none":
            return (group_KG[:, 0] != NOTHING).expand(len(group_NG), -1)
        return (group_NG[:, None] != group_KG).all(2) & (group_KG[:, 0] != NOTHING)


def _groups(selection: Selection, exclude: Exclude) -> dict[str, tuple[int, int]]:
    """The two ids of each picture of a selection."""
    rows = selection.pictures.select("sample_id", "dataset", "video_id", "family_id").unique("sample_id")
    if exclude != "family":
        rows = rows.with_columns(first=pl.concat_str(pl.lit("video"), "dataset", "video_id", separator="\0"))
        rows = rows.with_columns(second=pl.col("first"))
    else:
        named = pl.concat([scan(out).select("sample_id", "target_id").collect() for out in selection.outs])
        rows = rows.join(named.unique("sample_id"), on="sample_id", how="left", maintain_order="left")
        family = pl.concat_str(pl.lit("family"), "dataset", "family_id", separator="\0")
        person = pl.concat_str(pl.lit("person"), "dataset", "target_id", separator="\0")  # null where it is not known
        rows = rows.with_columns(first=family).with_columns(second=pl.coalesce(person, "first"))
    numbers = {one: int(digest(one)[:15], 16) for name in ("first", "second") for one in rows[name].unique()}
    return {
        name: (numbers[one], numbers[other]) for name, one, other in rows.select("sample_id", "first", "second").rows()
    }


def told(exclude: Exclude) -> str:
    """Whose pictures are no negatives, in words."""
    whose = {"video": "the same video", "family": "the same video, family or named person"}
    return f"no negatives from {whose[exclude]}" if exclude != "none" else "every other picture is a negative"


def check(kind: str, stage: Stage) -> None:
    """Raise UsageError unless data draws two pictures of one person together, both real or both fake."""
    units = stage.data.train.units
    if stage.data.train.members != VIEWS or units["paired"].any():
        raise UsageError(
            f"regime {kind} learns from two views of a picture, or two of one person; use --set data.views=2, or "
            "data.mode=clips with data.clip.frames=2."
        )


def check_model(kind: str, model: Model) -> None:
    """Raise UsageError for a model over clips."""
    if model.members > 1:
        raise UsageError(
            f"regime {kind} trains a model of single pictures, and this one takes clips of {model.members}."
        )


class _Gathered(torch.autograd.Function):
    """All ranks' rows in the order of ranks. All ranks compute the same loss of them, so the gradient stays here."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, counts: Sequence[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.first, ctx.count, ctx.ranks = sum(counts[:rank]), counts[rank], len(counts)
        padded = own.new_zeros(max(counts), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # the mean of gradients over ranks follows, and each has those of its own rows alone
        return gradients[0][ctx.first : ctx.first + ctx.count] * ctx.ranks, None


def gathered(*own: Tensor) -> tuple[Tensor, ...]:
    """The rows of all ranks, of tensors with as many rows; here the same where there is one rank.

    Ranks may have one unit more than others, so each asks how many rows there are, and waits for its device.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return own
    count = torch.tensor([len(own[0])], device=own[0].device)
    counts = [torch.empty_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    sizes = torch.cat(counts).tolist()
    return tuple(_Gathered.apply(one.contiguous(), sizes) for one in own)


def untouched(output: Output) -> Tensor:
    """Zero, with a gradient of zero for what these regimes do not train: ranks wait for every parameter's gradient."""
    rest = output.logit_B.float().sum()
    if output.frequency_BD is not None:
        rest = rest + output.frequency_BD.float().sum()
    return 0 * rest


def cross_entropy(logit_NK: Tensor, positive_N: Tensor, negative_NK: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean of -log softmax of the key ``positive_N`` over it and those that are ``negative_NK``, and figures.

    ``accuracy``: the share of rows whose positive key is the nearest of these. ``negatives``: how many a row has.
    """
    own_NK = F.one_hot(positive_N, logit_NK.shape[1]).bool()
    negative_NK = negative_NK & ~own_NK
    logit_NK = logit_NK.masked_fill(~(negative_NK | own_NK), -torch.inf)
    loss = F.cross_entropy(logit_NK, positive_N)
    right = (logit_NK.detach().argmax(1) == positive_N).float().mean()
    return loss, {"accuracy": right, "negatives": negative_NK.sum(1).float().mean()}


def mlp(widths: Sequence[int], *, norms: bool, last_norm: bool = False) -> nn.Sequential:
    """Linear layers from width to width with ReLU between them.

    ``norms``: batch norms before each ReLU; ``last_norm``: one at the end too, without scale and shift.
    """
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(itertools.pairwise(widths), 2):
        last = place == len(widths)
        layers.append(nn.Linear(before, after, bias=not norms))
        if not last:
            layers += [nn.BatchNorm1d(after)] if norms else []
            layers.append(nn.ReLU())
        elif last_norm:
            layers.append(nn.BatchNorm1d(after, affine=False))
    return nn.Sequential(*layers)

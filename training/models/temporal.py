"""A head over time: the embeddings of a person's faces in order, from a trained frame model that stays as it is.

U: clips of a batch, T: pictures of a clip, D: features of an embedding, W: features inside the transformer.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.models import registry, tensors, tuned
from semblance.training.models.base import Head, Model, ModelConfig, freeze
from semblance.training.records import Output

_WAVELENGTH: Final = 10_000.0  # the longest of the positions is 2 pi times this (Vaswani et al. 2017)


class TemporalConfig(ModelConfig):
    """``frames_from``: the run (or checkpoint) of a frame model, which is not trained further.

    ``frames``: pictures of a clip, those of ``data.clip.frames``. ``pooling``: ``mean`` of the embeddings;
    ``attention``, a weighted mean with learned weights (Ilse et al. 2018); ``transformer``, the mean and what small
    layers of self-attention over positions in time add. The first two do not see the order. ``width``: of attention and
    transformer; ``layers`` and ``heads``: of the transformer. ``dropout`` is applied before the head.
    """

    base_key: ClassVar[str] = "frames_from"
    kind: Literal["temporal"] = "temporal"
    frames_from: str | None = None
    frames: int = Field(default=8, ge=2, le=256)
    pooling: Literal["mean", "attention", "transformer"] = "attention"
    width: int = Field(default=128, ge=8, multiple_of=8)
    layers: int = Field(default=1, ge=1, le=4)
    heads: int = Field(default=4, ge=1, le=8)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    @property
    def members(self) -> int:
        return self.frames


@registry.register(TemporalConfig)
class Temporal(Model):
    """The frame model's embeddings of T pictures, pooled to one of the same D, and one linear layer.

    Before training it is the frame model: the pooled embedding is the mean, and the linear layer has the values of the
    frame model's own where that has one, so the logit of a clip is the mean logit of its pictures.
    """

    def __init__(self, config: TemporalConfig, _: str) -> None:
        super().__init__()
        self.frame, self.side = _frame_model(config.frames_from)
        self._given = _digest(self.frame)
        self.members = config.frames
        self.embedding_dim = dim = self.frame.embedding_dim
        self.pool = _pooling(dim, config)
        self.head = Head(dim, config.dropout)
        _start(self.head.linear, self.frame)

    def settle(self) -> None:
        if _digest(self.frame) != self._given:
            raise UsageError(
                "model.pretrained has another frame model than model.frames_from; name the run of the same one, or "
                "start the head anew with --set model.pretrained=none."
            )
        freeze(self.frame)

    def features(self, image_BCHW: Tensor) -> Tensor:
        """(U, T, D) the embeddings of pictures, of which those of a clip are adjacent."""
        with torch.no_grad():
            embedding_BD = self.frame(image_BCHW).embedding_BD.float()
        return embedding_BD.reshape(-1, self.members, self.embedding_dim)

    def classify(self, features: Tensor) -> Output:
        embedding_UD: Tensor = self.pool(features)
        return Output(logit_B=self.head(embedding_UD), embedding_BD=embedding_UD)

    def forward(self, image_BCHW: Tensor) -> Output:
        return self.classify(self.features(image_BCHW))


class Mean(nn.Module):
    """(U, T, D) to (U, D): the mean over time."""

    def forward(self, embedding_UTD: Tensor) -> Tensor:
        return embedding_UTD.mean(1)


class Attention(nn.Module):
    """(U, T, D) to (U, D): a mean with weights softmax(w tanh(V h)) (Ilse et al. 2018, equation 8), all equal at first.

    Its order does not matter.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width), nn.Tanh())
        self.score = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, embedding_UTD: Tensor) -> Tensor:
        weight_UT1 = self.score(self.hidden(embedding_UTD)).float().softmax(1)
        pooled_UD: Tensor = (weight_UT1 * embedding_UTD).sum(1)
        return pooled_UD


class Transformer(nn.Module):
    """(U, T, D) to (U, D): the mean, plus what the layers add to it, which is nothing at first.

    They see each embedding at its place in the clip, by sinusoidal positions; gaps in time are not told.
    """

    position_TW: Tensor

    def __init__(self, dim: int, config: TemporalConfig) -> None:
        super().__init__()
        width = config.width
        self.enter = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width))
        self.layers = nn.Sequential(*(Layer(width, config.heads, config.dropout) for _ in range(config.layers)))
        last = nn.Linear(width, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.leave = nn.Sequential(nn.LayerNorm(width), last)
        self.register_buffer("position_TW", positions(config.frames, width), persistent=False)

    def forward(self, embedding_UTD: Tensor) -> Tensor:
        state_UTW = self.layers(self.enter(embedding_UTD) + self.position_TW)
        pooled_UD: Tensor = embedding_UTD.mean(1) + self.leave(state_UTW.mean(1)).float()
        return pooled_UD


class Layer(nn.Module):
    """One layer of a transformer (Vaswani et al. 2017), normalised before each part; (U, T, W) to the same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attend, self.change = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, state_UTW: Tensor) -> Tensor:
        state_UTW = state_UTW + self.dropout(self.out(self._attention(self.attend(state_UTW))))
        changed: Tensor = state_UTW + self.dropout(self.wide(self.change(state_UTW)))
        return changed

    def _attention(self, state_UTW: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(state_UTW).chunk(3, 2)
        )
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def positions(count: int, width: int) -> Tensor:
    """(count, width) sines and cosines of the place, at wavelengths from 2 pi on (Vaswani et al. 2017, 3.5)."""
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(_WAVELENGTH) / width))
    angle = torch.arange(count)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)


def _pooling(dim: int, config: TemporalConfig) -> nn.Module:
    match config.pooling:
        case "mean":
            return Mean()
        case "attention":
            return Attention(dim, config.width)
        case _:
            return Transformer(dim, config)


@torch.no_grad()
def _start(linear: nn.Linear, frame: Model) -> None:
    """Give the layer the values of the frame model's own last one, if it is the only layer from D to one number."""
    layers = [part for part in frame.modules() if isinstance(part, nn.Linear)]
    own = [part for part in layers if (part.in_features, part.out_features) == (linear.in_features, 1)]
    if len(own) == 1:
        linear.weight.copy_(own[0].weight)
        linear.bias.copy_(0 if own[0].bias is None else own[0].bias)


def _frame_model(given: str | None) -> tuple[Model, int | None]:
    """The model of a run with its weights, and the side of its pictures if it is known.

    Raises UsageError if it is not a run, or its model is itself one over clips.
    """
    if not given:
        raise UsageError(
            "model.frames_from is not set; name the run of a trained frame model with --set model.frames_from=RUN."
        )
    if not tensors.is_run(given) or not tensors.file_of(given).is_file():
        raise UsageError(
            f"model.frames_from is {given!r}, which is not a trained run; name the folder of a `training fit` (an "
            "ensemble has no embedding), or a checkpoint of it."
        )
    file = tensors.read(given)
    if file.run is None:
        raise UsageError(f"{given} does not say which model it is of; name the folder of a `training fit`.")
    try:
        config = registry.MODELS.find(str(file.run["kind"])).config.model_validate(file.run)
        if config.members > 1:
            raise UsageError(f"model.frames_from is {given!r}, which scores clips; name a run that scores pictures.")
        if file.path.suffix == ".safetensors":  # merged, so a new model takes it
            return registry.build(config.model_copy(update={"pretrained": given})), file.side
        model = registry.restored(config, file)  # as it was trained, its low-rank products too
    except (ValueError, RuntimeError) as error:
        raise SemblanceError(
            f"{file.path} does not match this version's models ({str(error).splitlines()[0]}); train it again."
        ) from error
    model.origin = f"all tensors of {file.path}"
    return model, file.side


def _digest(model: Model) -> str:
    state = model.state_dict()
    return tuned.digest(state, set(state))

"""A linear probe: logistic regression on the features of a model that stays as it is.

D: dimensions of an embedding, N: pictures.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.optim.swa_utils import update_bn

from semblance.training import models
from semblance.training.data import query
from semblance.training.data.loader import DataConfig, Loader
from semblance.training.data.query import Selection
from semblance.training.inference import precision
from semblance.training.metrics import aggregate
from semblance.training.metrics.classification import Floats
from semblance.training.models import Model
from semblance.training.models.base import ModelConfig

STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)  # C of scikit-learn: the inverse of the penalty on the weights
_BATCH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A fitted probe. ``strength``: its C, of the highest AUC by video on val, ``val_auc``; the least of equals."""

    model: Model
    size: int
    scaler: StandardScaler
    regression: LogisticRegression
    strength: float
    val_auc: float | None

    def logits(self, selection: Selection) -> pl.DataFrame:
        """The pictures of a selection with their ``logit``."""
        rows, embedding_ND = features(self.model, selection, self.size)
        return rows.with_columns(logit=pl.Series(_logit(self.regression, self.scaler.transform(embedding_ND))))


def untrained(config: ModelConfig, seed: int, train: Selection, size: int) -> Model:
    """A model with the random weights that a run of this seed starts from.

    Its batch norms have the statistics of train, as those of any trained model do: without them an untrained network
    would be a worse one than random weights make it.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = models.build(config, pretrained=True)
        precision.place(model, precision.device())
        with torch.no_grad():
            update_bn(_pictures(train, size), model)
    return model.eval()


def trained(config: ModelConfig) -> Model:
    """A model with the weights that its configuration names."""
    model = models.build(config, pretrained=True)
    precision.place(model, precision.device())
    return model.eval()


def fit(model: Model, outs: Sequence[str], data: DataConfig, size: int) -> Probe:
    """Fit on the labelled pictures of train as they are stored, each standardised feature and both classes alike.

    ``data``: which pictures are used. The penalty is chosen on val.
    """
    train = selected(outs, data)
    val = query.select(outs, "val", data, unlabelled=True)
    rows, embedding_ND = features(model, train, size)
    val_rows, val_ND = features(model, val, size)
    scaler = StandardScaler().fit(embedding_ND)
    scaled_ND, val_ND = scaler.transform(embedding_ND), scaler.transform(val_ND)
    best: tuple[float, float, LogisticRegression] | None = None
    for strength in STRENGTHS:
        regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a weak penalty on separable data; val decides
            regression.fit(scaled_ND, rows["target"].to_numpy() == 1)
        judged = val_rows.with_columns(logit=pl.Series(_logit(regression, val_ND)))
        auc = aggregate.figures({"val/all": judged})["val/auc_video"]
        if best is None or (auc or 0.0) > best[0]:
            best = auc or 0.0, strength, regression
    assert best is not None
    return Probe(model=model, size=size, scaler=scaler, regression=best[2], strength=best[1], val_auc=best[0] or None)


def selected(outs: Sequence[str], data: DataConfig) -> Selection:
    """The pictures of train as single frames."""
    return query.select(outs, "train", data)


def features(model: Model, selection: Selection, size: int) -> tuple[pl.DataFrame, NDArray[np.float64]]:
    """The pictures of a selection, and their embeddings (N, D) in the same order, from a model in eval mode."""
    names: list[str] = []
    parts: list[Floats] = []
    with torch.inference_mode():
        for batch in Loader(selection, batch=_BATCH, size=size):
            embedding_BD = model(batch.image_BCHW.to(precision.device())).embedding_BD
            parts.append(np.asarray(embedding_BD.double().cpu().numpy()))
            names += batch.sample_ids
    places = pl.DataFrame({"sample_id": names, "place": np.arange(len(names))}).unique("sample_id", keep="first")
    rows = selection.pictures.join(places, on="sample_id", how="left", maintain_order="left")
    return rows.drop("place"), np.concatenate(parts)[rows["place"].to_numpy()]


def _pictures(selection: Selection, size: int) -> Iterator[Tensor]:
    for batch in Loader(selection, batch=_BATCH, size=size):
        yield batch.image_BCHW.to(precision.device())


def _logit(regression: LogisticRegression, scaled_ND: NDArray[np.float64]) -> Floats:
    return np.asarray(regression.decision_function(scaled_ND), np.float64)

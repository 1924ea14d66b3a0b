"""Training and prediction turn the same crop into the same tensor, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from semblance import manifests
from semblance.quality import codec
from semblance.shards import read
from semblance.training import augment
from semblance.training.augment.config import AugmentConfig
from semblance.training.data import query
from semblance.training.data.loader import Loader
from semblance.training.data.worker import SampleTransform
from semblance.training.inference import member


@pytest.mark.parametrize("side", [17, 32, 64, 75])  # smaller than the stored crops, as large, larger
@pytest.mark.parametrize("augmented", [True, False])
def test_training_and_prediction_see_the_same_tensors(ffpp: Path, side: int, augmented: bool) -> None:
    selection = query.select([str(ffpp)], "train")
    transform = SampleTransform(image=augment.build(AugmentConfig(p=0, size=side)) if augmented else None)
    trained = list(Loader(selection, batch=8, transform=transform, size=side))
    rows = {row["sample_id"]: row for row in manifests.scan(str(ffpp)).collect().iter_rows(named=True)}
    names = [name for batch in trained for name in batch.sample_ids]
    crops = [codec.decode(read.fetch(str(ffpp), rows[name])) for name in names]
    predicted = torch.cat(list(member.batches(crops, side, batch=5)))
    seen = torch.cat([batch.image_BCHW for batch in trained])
    assert seen.dtype == torch.float32
    assert seen.shape == (len(names), 3, side, side)
    assert torch.equal(seen, predicted)

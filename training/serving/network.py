"""Networks as they are served: features by OpenVINO on a CPU, by torch on a GPU; the head by torch on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semblance.quality import openvino_core
from semblance.training.export import features
from semblance.training.inference import precision
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor
from semblance.training.models import Model
from semblance.training.records import Output

OPENVINO, TORCH = "cpu, openvino", "cpu, torch"


class Compiled(Model):
    """A model whose ``features`` are OpenVINO's, from several threads at once; all else is the model's own.

    So it is scored, and its dropout drawn, by the very functions that score the model.
    """

    def __init__(self, model: Model, file: Path, threads: int, streams: int) -> None:
        super().__init__()
        self.concurrent = True
        self.model = model
        self.members, self.side = model.members, model.side
        self.embedding_dim, self.frequency_dim = model.embedding_dim, model.frequency_dim
        self.origin, self.licence = model.origin, model.licence
        core = openvino_core.core()
        how = openvino_core.CPU | {"INFERENCE_NUM_THREADS": threads * streams, "NUM_STREAMS": streams}
        self._compiled: Any = core.compile_model(core.read_model(str(file)), "CPU", how)

    def forward(self, image_BCHW: Tensor) -> Output:
        return self.classify(self.features(image_BCHW))

    def features(self, image_BCHW: Tensor) -> Tensor:
        request = self._compiled.create_infer_request()  # each thread its own: a shared one takes one call at a time
        found = request.infer({features.NAMES[0]: np.ascontiguousarray(image_BCHW.numpy())})
        return torch.from_numpy(np.array(found[features.NAMES[1]]))

    def classify(self, features: Tensor) -> Output:
        return self.model.classify(features)


def prepared(
    predictor: Predictor, folder: Path, *, files: Sequence[Path | None] = (), threads: int = 1, streams: int = 1
) -> tuple[Predictor, str]:
    """The predictor ready to be served, and what it runs on.

    ``files``: OpenVINO's graphs of its members, from a package; without them they are made in ``folder``. ``streams``:
    threads that ask at once, each served by ``threads``. A model that has no features of its own stays torch's.
    """
    device = precision.device()
    if device.type != "cpu":
        for member in predictor.members:
            precision.place(member.trained.model, device)
        return predictor, torch.cuda.get_device_name(device)
    torch.set_num_threads(threads)
    members = []
    for place, member in enumerate(predictor.members):
        file = files[place] if files else _made(member, folder / f"{place}.xml")
        members.append(member if file is None else _compiled(member, file, threads, streams))
    compiled = any(isinstance(member.trained.model, Compiled) for member in members)
    return replace(predictor, members=tuple(members)), OPENVINO if compiled else TORCH


def _made(member: Member, file: Path) -> Path | None:
    return None if features.write(member, file) is None else file


def _compiled(member: Member, file: Path, threads: int, streams: int) -> Member:
    model = Compiled(member.trained.model, file, threads, streams).eval()
    return replace(member, trained=replace(member.trained, model=model))

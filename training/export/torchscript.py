"""TorchScript, for programs in C++ or Python that have torch and nothing of this package."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from semblance.training.export import graph
from semblance.training.export.registry import Ask, Format, Pictures, register
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats


def write(predictor: Predictor, file: Path) -> None:
    """The graph as it was traced, of any batch size."""
    traced_graph = graph.Graph(predictor)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch 2.15 calls tracing deprecated; shapes that it warns of are the inputs'
        traced = torch.jit.trace(traced_graph, graph.examples(predictor), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(file))


def read(file: Path, predictor: Predictor) -> Ask:
    """torch.jit on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]

    def ask(pictures: Pictures) -> Floats:
        with torch.no_grad():
            logit_B, _ = loaded(*(torch.from_numpy(pictures[size]) for size in graph.sizes(predictor)))
        return np.asarray(logit_B.double().numpy())

    return ask


register("torchscript", Format(suffix=".pt", write=write, read=read, answers="score"))

"""ONNX, by torch's exporter; asked again with ONNX Runtime."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semblance.manifests.errors import UsageError
from semblance.training.export import graph
from semblance.training.export.registry import Ask, Format, Pictures, register
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats


def write(predictor: Predictor, file: Path) -> None:
    """One file with its weights, of any batch size. Raises UsageError without the packages of the extra ``export``."""
    for package in ("onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"--format onnx needs the package {package!r}; install it with `pip install 'semblance[export]'`."
            )
    names = list(graph.inputs(predictor))
    exported = graph.program(predictor)
    with _quiet():
        made: Any = torch.onnx.export(
            exported, dynamo=True, verbose=False, input_names=names, output_names=list(graph.OUTPUTS)
        )
        for value in (*made.model.graph.inputs, *made.model.graph.outputs):
            value.shape[0] = "batch"  # otherwise a made-up name
        made.save(str(file))


def read(file: Path, predictor: Predictor) -> Ask:
    """ONNX Runtime on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = graph.inputs(predictor)

    def ask(pictures: Pictures) -> Floats:
        found = session.run(["logit"], {name: pictures[size] for name, size in names.items()})[0]
        return np.asarray(found, np.float64)

    return ask


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the exporter's remarks on itself: they concern its own libraries, and the result is compared."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


register("onnx", Format(suffix=".onnx", write=write, read=read, answers="score"))

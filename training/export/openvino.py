"""OpenVINO's intermediate representation: NAME.xml and NAME.bin, in 32 bits."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from semblance.quality import openvino_core
from semblance.training.export import graph
from semblance.training.export.registry import Ask, Format, Pictures, register
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats


def write(predictor: Predictor, file: Path) -> None:
    """The graph with named inputs and outputs, of any batch size."""
    exported = graph.program(predictor)
    openvino_core.without_telemetry()
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(exported)
    for found, (name, size) in zip(model.inputs, graph.inputs(predictor).items(), strict=True):
        found.get_tensor().set_names({name})
        found.get_node().set_friendly_name(name)
        found.get_node().set_partial_shape(openvino.PartialShape([-1, *graph.shape(predictor, size)]))
    for found, name in zip(model.outputs, graph.OUTPUTS, strict=True):
        found.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, str(file), compress_to_fp16=False)


def read(file: Path, predictor: Predictor) -> Ask:
    """The process's one Core, on one CPU thread, in 32 bits."""
    core = openvino_core.core()
    compiled = core.compile_model(core.read_model(str(file)), "CPU", openvino_core.CPU)
    names = graph.inputs(predictor)

    def ask(pictures: Pictures) -> Floats:
        found = compiled({name: pictures[size] for name, size in names.items()})
        return np.array(found["logit"], np.float64)

    return ask


register("openvino", Format(suffix=".xml", write=write, read=read, answers="score"))

"""Pretrained weights: through timm, from a local file, or none; weights that cannot be loaded are an error."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from timm.models import PretrainedCfg
from torch import nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.models import tensors
from semblance.training.models.tensors import WeightsFile

RANDOM: Final = "random weights"
UNKNOWN: Final = "unknown"  # a licence
_HEADS: Final = ("head", "fc", "classifier", "last_linear")  # what a file may have over the backbone
PATIENCE_S: Final = 5.0  # a hub that does not answer in this time counts as unreachable


def create(arch: str, pretrained: str, **options: Any) -> nn.Module:
    """timm's model ``arch`` without a head, with the weights of ``pretrained``.

    ``imagenet``: timm's weights of that name, from its cache or the hub. ``none``: as initialised. Anything else: a
    file of weights, of which every tensor but a head's must fit. Raises UsageError for an unknown name or a missing
    file. Raises SemblanceError, within seconds, if the weights cannot be reached, and if they do not match.
    """
    source = published(arch)
    if pretrained == "none":
        return _timm(arch, pretrained=False, **options)
    if pretrained != "imagenet":
        return _from_file(arch, tensors.read(pretrained), options)
    if source is None or not (source.hf_hub_id or source.url):
        raise UsageError(f"timm has no pretrained weights for {arch!r}; set model.pretrained to none or a file.")
    cached = _cached(source)  # by its path, since timm would first ask the hub for a newer one
    if cached is None:
        url = _address(source)
        if fault := _unreachable(url):
            raise SemblanceError(_advice(arch, url, fault))
        try:
            _timm(arch, pretrained=True, **options)  # brings the file into the cache
        except Exception as error:  # hub, network and format errors come in many classes
            raise SemblanceError(_advice(arch, url, _line(error))) from error
        cached = _cached(source)
    if cached is None:
        raise SemblanceError(_advice(arch, _address(source), "its file is not in the cache after the download"))
    model = _from_file(arch, tensors.read(cached), options, f"{source.tag or 'ImageNet'} weights of timm: ")
    model.licence = source.license or UNKNOWN  # type: ignore[assignment]
    return model


def published(arch: str) -> PretrainedCfg | None:
    """What timm says of ``arch`` and its weights, such as mean and deviation; None if it says nothing.

    Raises UsageError for an unknown name.
    """
    if not timm.is_model(arch.partition(".")[0]):
        raise UsageError(f"timm {timm.__version__} has no model {arch!r}; choose one of timm.list_models().")
    try:
        return timm.get_pretrained_cfg(arch)
    except RuntimeError as error:
        raise UsageError(f"timm {timm.__version__} has no weights {arch!r}: {_line(error)}.") from error


def need_whole_width(arch: str, width: float, pretrained: str) -> None:
    """Raise UsageError where pretrained weights are asked for a network whose channels are multiplied by ``width``."""
    if width != 1 and pretrained != "none":
        raise UsageError(
            f"Pretrained weights of {arch} are of model.width 1, not {width:g}; set model.pretrained=none or the width "
            "to 1."
        )


def origin(model: nn.Module) -> str:
    """Where the weights of a model's parts come from, in words."""
    known = dict.fromkeys(str(part.origin) for part in model.modules() if hasattr(part, "origin"))
    return " and ".join(name for name in known if name != RANDOM) or RANDOM


def licence(model: nn.Module) -> str | None:
    """The licences of the weights of a model's parts, as timm names them; None if they are random."""
    known = dict.fromkeys(str(part.licence) for part in model.modules() if getattr(part, "licence", None))
    return " and ".join(known) or None


def width(backbone: nn.Module) -> int:
    """D of a timm model's pooled features."""
    return int(backbone.num_features)  # type: ignore[arg-type]


def _timm(arch: str, **options: Any) -> nn.Module:
    model: nn.Module = timm.create_model(arch, num_classes=0, **options)
    return model


def _from_file(arch: str, file: WeightsFile, options: dict[str, Any], said: str = "") -> nn.Module:
    model = _timm(arch, pretrained=False, **options)
    classifier = model.pretrained_cfg.get("classifier") or ()  # type: ignore[union-attr, operator]
    heads = (classifier,) if isinstance(classifier, str) else classifier
    taken = tensors.fill(model, file, name=arch, head=[f"{name}." for name in (*heads, *_HEADS)])
    model.origin = said + taken  # type: ignore[assignment]
    model.licence = UNKNOWN  # type: ignore[assignment]
    return model


def _cached(source: PretrainedCfg) -> str | None:
    """The file of timm's weights in the hub's cache or in torch's, if it is there."""
    if source.hf_hub_id:
        for name in ("model.safetensors", "pytorch_model.bin"):
            found = try_to_load_from_cache(source.hf_hub_id, name)
            if isinstance(found, str):
                return found
    file = Path(torch.hub.get_dir()) / "checkpoints" / str(source.url).rpartition("/")[2]
    return str(file) if file.is_file() else None


def _address(source: PretrainedCfg) -> str:
    """The URL from which timm would download the weights."""
    if source.hf_hub_id:
        return f"{constants.ENDPOINT}/{source.hf_hub_id}/resolve/main/model.safetensors"
    return str(source.url)


def _unreachable(url: str) -> str | None:
    """Why ``url`` cannot be reached, or None. timm and the hub themselves would retry for a minute."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE_S):
            return None
    except urllib.error.HTTPError as error:
        return None if error.code < 500 else f"status {error.code}"
    except (OSError, ValueError) as error:
        return _line(error)


def _advice(arch: str, url: str, fault: str) -> str:
    return (
        f"The pretrained weights of {arch} cannot be loaded from {url} ({fault}); pass a local file with "
        "--set model.pretrained=FILE, or start from random weights with --set model.pretrained=none."
    )


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__

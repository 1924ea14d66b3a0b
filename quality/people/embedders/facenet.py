"""facenet-pytorch's InceptionResnetV1 (Szegedy et al. 2017, Schroff et al. 2015): 512 numbers from a box of 160 px."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.manifests.errors import SemblanceError
from semblance.quality.people.embedders.alignment import Alignment
from semblance.quality.people.embedders.door import Distances, Embedder, Floats, described

SIDE: Final = 160
_LICENCE: Final = "MIT (facenet-pytorch); the terms of the data that it was trained on apply too"
# Not measured by us: the project's own verification errors are lowest near a Euclidean distance of 1.1 of unit vectors,
# which is a cosine distance of 0.6. Mean vectors are nearer.
DISTANCES: Final = Distances(linkage=0.5, attach=0.5, quarantine=0.5, raw=0.4)


def load(weights: str | Path) -> Embedder:
    """The network with weights from a local file (Path), or from facenet-pytorch's own loader by name (str).

    The loader downloads the file unless torch's cache has it. Raises SemblanceError if that fails, or if the file does
    not hold this network's weights.
    """
    import torch
    from facenet_pytorch import InceptionResnetV1

    torch.set_num_threads(1)  # two threads would split sums differently
    if isinstance(weights, Path):
        net = _from_file(InceptionResnetV1(), weights, torch)
        file = weights
    else:
        net, file = _downloaded(InceptionResnetV1, weights)
    net.eval()

    def embed(chips_BHWC: NDArray[np.uint8]) -> Floats:
        with torch.inference_mode():
            image_BCHW = torch.from_numpy(chips_BHWC.astype(np.float32)).permute(0, 3, 1, 2)
            return np.asarray(net((image_BCHW - 127.5) / 128).numpy(), np.float32)

    return Embedder(
        name="facenet",
        weights=described(file, _LICENCE),
        alignment=Alignment(side=SIDE, points=None, name="box 160"),
        distances=DISTANCES,
        embed=embed,
    )


def _from_file(net: Any, file: Path, torch: Any) -> Any:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        net.load_state_dict({key: value for key, value in state.items() if not key.startswith("logits.")})
    except Exception as error:  # unpickling text alone raises a dozen kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SemblanceError(
            f"{file} does not hold the weights of InceptionResnetV1 ({reason}); give the file of facenet-pytorch."
        ) from error
    return net


def _downloaded(kind: Any, name: str) -> tuple[Any, Path]:
    from facenet_pytorch.models.inception_resnet_v1 import get_torch_home

    folder = Path(get_torch_home()) / "checkpoints"
    try:
        net = kind(pretrained=name)
    except Exception as error:  # whatever the network, the proxy or the disk raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SemblanceError(
            f"facenet-pytorch cannot fetch its weights {name} to {folder} ({reason}); fetch the file yourself and give "
            "it as --weights FILE.pt."
        ) from error
    return net, next(iter(sorted(folder.glob(f"*{name}.pt"))))

"""What is attacked: a function from pictures to logits with a gradient, which is left as it was found.

B: pictures, C: colours, H, W: pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from semblance.manifests.errors import UsageError
from semblance.training.models import Model
from semblance.training.models.base import in_eval

Logits = Callable[[Tensor], Tensor]


class Target:
    """Logits (B,) of pictures (B, C, H, W) in [0, 1] by ``logits``, computed with ``modules`` in eval mode.

    ``logits`` is any differentiable function of the pictures: of one model, or the combined one of an ensemble. A
    picture is judged fake where its logit is above 0: who decides at another threshold takes its logit off. While it
    runs, the modules are in eval mode and their parameters need no gradient; then flags are as before. Buffers,
    gradients of parameters and torch's random numbers are not touched. It also works inside ``torch.inference_mode``.

    ``passes``: pictures that went through it so far, a gradient counted as two passes.
    """

    def __init__(self, logits: Logits, modules: Sequence[nn.Module] = ()) -> None:
        self.logits, self.modules = logits, tuple(modules)
        self.passes = 0

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        """The logits (B,), without a gradient."""
        self.passes += len(image_BCHW)
        with _still(self.modules, image_BCHW.device), torch.inference_mode(False), torch.no_grad():
            return self.logits(image_BCHW.detach().clone()).detach()

    def loss(self, image_BCHW: Tensor, target_B: Tensor) -> Tensor:
        """L = -(2y - 1) z of each picture, (B,); above 0 where it is judged wrongly."""
        return (1 - 2 * target_B) * self(image_BCHW)

    def gradient(self, image_BCHW: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
        """L of each picture, (B,), and its gradient by the picture, (B, C, H, W).

        Raises UsageError if the logits do not depend on the pictures by a differentiable path.
        """
        self.passes += 2 * len(image_BCHW)
        with _still(self.modules, image_BCHW.device), torch.inference_mode(False), torch.enable_grad():
            asked_BCHW = image_BCHW.detach().clone().requires_grad_()
            loss_B = (1 - 2 * target_B.clone()) * self.logits(asked_BCHW)
            if not loss_B.requires_grad:
                raise UsageError(
                    "This model passes no gradient to its pictures, so only attacks without gradients (square) can "
                    "be made on it."
                )
            (gradient_BCHW,) = torch.autograd.grad(loss_B.sum(), asked_BCHW)
        return loss_B.detach(), gradient_BCHW


def of_model(model: Model) -> Target:
    """The target that one model is. Raises UsageError for a model over clips, whose unit is not a picture."""
    if model.members > 1:
        raise UsageError(
            f"Attacks are made on single pictures, and this model scores clips of {model.members}; attack the frame "
            "model that it was made from."
        )
    return Target(lambda image_BCHW: model(image_BCHW).logit_B, (model,))


@contextmanager
def _still(modules: Sequence[nn.Module], device: torch.device) -> Iterator[None]:
    """Modules in eval mode and parameters without gradients; then all is as before, torch's random numbers too.

    Under autocast to float16 the block is in float32: a gradient of a picture, unscaled, would vanish in 16 bits.
    """
    learned = [one for module in modules for one in module.parameters() if one.requires_grad]
    devices = [device] if device.type == "cuda" else []
    tiny = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.float16
    exact = torch.autocast(device.type, enabled=False) if tiny else nullcontext()
    try:
        for one in learned:
            one.requires_grad_(False)
        with in_eval(*modules), torch.random.fork_rng(devices), exact:
            yield
    finally:
        for one in learned:
            one.requires_grad_()

"""Feed a plain PyTorch loop from a build: a few steps of a tiny network, without `training fit`.

Needs the training libraries (`make trainer`).
"""

from __future__ import annotations

import sys

import torch
from torch import nn

import semblance

STEPS = 20


def main(out: str = "out/demo-dfdc") -> None:
    """Train on the train split and print the loss of every step."""
    torch.manual_seed(0)
    selection = semblance.select([out], "train")
    loader = semblance.Loader(selection, batch=8, workers=0, size=112)
    print(f"{selection.counts}; {len(loader)} batches per epoch")

    network = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for step, batch in zip(range(STEPS), loader, strict=False):
        logit_B = network(batch.image_BCHW - 0.5)[:, 0]  # pictures are float32 in [0, 1]
        loss = nn.functional.binary_cross_entropy_with_logits(logit_B, batch.target_B)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        print(f"step {step + 1}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])

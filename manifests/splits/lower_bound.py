"""A proven lower bound on the fakes that any split of connected people loses, from the graph's spectrum."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

_GRID: Final = 1500  # steps of the grid along each axis
Edges = Mapping[tuple[int, int], int]  # (i, j) with i < j -> fakes


def lower_bound(weights: Sequence[int], edges: Edges, targets: Sequence[Fraction], lost: int) -> int:
    """A lower bound on lost fakes for all partitions whose parts are between half and twice their targets.

    Let v = w + d/2 be a node's weight and half its fakes, V their sum, L the graph's Laplacian. The second least
    eigenvalue of L x = k diag(v) x yields cut(S) >= k v(S) (V - v(S)) / V for every S (Fiedler's bound, with node
    weights as in Shi and Malik 2000). A part of size s has v(S) = s + cut(S)/2; every lost fake is in the cut of
    two parts, so the loss is half the sum of the parts' cuts. The least of that over all (v(val), v(test)) which
    the targets allow is taken on a grid; the function is concave, so its least value in a cell is at a corner.
    Nodes without edges may be in any part: they widen what the targets allow. The bound is 0 if nothing can be proven:
    the graph is not connected, or there is only one part. ``lost``: a loss that is known to be possible.
    """
    connected = sorted({i for pair in edges for i in pair})
    if len(connected) < 2 or len(targets) != 2 or min(targets) <= 0:
        return 0
    place = {i: k for k, i in enumerate(connected)}
    laplacian = np.zeros((len(connected), len(connected)))
    for (i, j), weight in edges.items():
        a, b = place[i], place[j]
        laplacian[a, b] -= weight
        laplacian[b, a] -= weight
        laplacian[a, a] += weight
        laplacian[b, b] += weight
    v = np.array([weights[i] for i in connected]) + np.diag(laplacian) / 2
    scale = 1 / np.sqrt(v)
    second = float(np.linalg.eigvalsh(laplacian * scale[:, None] * scale[None, :])[1]) * (1 - 1e-9)
    if second <= 1e-9:
        return 0
    total = float(v.sum())
    spare = sum(weights) - sum(weights[i] for i in connected)
    least = [max(float(target) / 2 - spare, 0.0) for target in targets]
    most = [2 * float(target) + lost / 2 for target in targets]

    def cut(part: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.clip(part, 0.0, total)
        return np.asarray(second * inside * (total - inside) / total)

    step = max(max(most) / _GRID, 0.5)
    val = np.arange(0.0, min(most[0], total) + 2 * step, step)
    test = np.arange(0.0, min(most[1], total) + 2 * step, step)
    slack = 2 * step  # a cell counts if any point of it may be allowed
    fits_val, fits_test = val - cut(val) / 2 >= least[0] - slack, test - cut(test) / 2 >= least[1] - slack
    together = val[:, None] - cut(val)[:, None] / 2 + test[None, :] - cut(test)[None, :] / 2
    both = max(sum(float(target) / 2 for target in targets) - spare, 0.0)
    allowed = fits_val[:, None] & fits_test[None, :] & (together >= both - 2 * slack)
    allowed &= val[:, None] + test[None, :] <= total + slack
    if not allowed.any():
        return 0
    loss = (cut(val)[:, None] + cut(test)[None, :] + cut(val[:, None] + test[None, :])) / 2
    return max(math.ceil(float(loss[allowed].min()) - 1e-6), 0)

"""Counts what torch is asked to do: operations, and those for which a GPU would make the host wait."""

from __future__ import annotations

from collections import Counter as Counts
from typing import Any, Final, Self

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Their result is a number or a shape on the host. A GPU must first finish all that it was asked before.
WAITS: Final = (
    *("aten._local_scalar_dense", "aten.item", "aten.equal", "aten.is_nonzero", "aten.nonzero", "aten.masked_select"),
    *("aten.unique_dim", "aten._unique2", "aten.unique_consecutive", "aten.repeat_interleave.Tensor", "aten.allclose"),
)


class Counter(TorchDispatchMode):
    """Every operation below autograd inside the block, by name, backward ones too.

    Indexing with booleans counts as ``nonzero``. Reading a tensor that was made on the host on purpose also counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: Counts[str] = Counts()
        self._calls = _Calls()

    @property
    def operations(self) -> int:
        return sum(count for name, count in self.names.items() if not name.startswith("profiler."))

    @property
    def waits(self) -> int:
        """Waits in operations, and copies to the host."""
        operations = sum(count for name, count in self.names.items() if name.startswith(WAITS))
        return operations + self._calls.copies

    def __enter__(self) -> Self:
        super().__enter__()
        self._calls.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._calls.__exit__(*error)
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[str(func)] += 1
        if str(func).startswith("aten.index") and _booleans(args):
            self.names["aten.nonzero"] += 1
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.copies = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.copies += getattr(func, "__name__", "") in ("cpu", "numpy", "tolist")
        return func(*args, **(kwargs or {}))


def _booleans(args: Any) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in indices)

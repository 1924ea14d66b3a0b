"""The registry class for everything that can be added by name: datasets, models, export formats, metrics."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

from semblance.manifests.errors import UsageError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Items of one kind by name, in the order in which they were added.

    ``kind`` and ``option`` appear in the error for an unknown name: "Unknown dataset 'x'; --dataset accepts a, b."
    """

    def __init__(self, kind: str, option: str) -> None:
        self._kind = kind
        self._option = option
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Register ``item`` and return it; raises ValueError if the name is taken."""
        if name in self._items:
            raise ValueError(f"there is already a {self._kind} called {name!r}")
        self._items[name] = item
        return item

    def remove(self, name: str) -> None:
        """Remove a name, for a notebook that defines its item again; raises KeyError for an unknown one."""
        del self._items[name]

    @contextmanager
    def added(self, name: str, item: T) -> Iterator[T]:
        """Register ``item`` for the duration of a block."""
        self.add(name, item)
        try:
            yield item
        finally:
            self.remove(name)

    def find(self, name: str) -> T:
        """The item of a name that a user wrote; raises UsageError with the known names."""
        if name not in self._items:
            raise UsageError(f"Unknown {self._kind} {name!r}; {self._option} accepts {', '.join(sorted(self))}.")
        return self._items[name]

    def discover(self, package: str, path: Iterable[str]) -> None:
        """Import every module of ``package``, whose ``__path__`` is ``path``, so that each registers its items.

        Called in the package's ``__init__``: adding an item then takes one new file and no change to a list.
        """
        for module in sorted(pkgutil.iter_modules(path), key=lambda module: module.name):
            importlib.import_module(f"{package}.{module.name}")

    def __getitem__(self, name: str) -> T:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

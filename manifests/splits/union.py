"""Names joined to groups, each known by its first name (union-find)."""

from __future__ import annotations


class Groups:
    """Every name begins as a group of its own."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The first name of the group of ``name``."""
        while self._parent.setdefault(name, name) != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        """Make one group of two."""
        a, b = self.of(one), self.of(other)
        self._parent[max(a, b)] = min(a, b)

    def names(self) -> list[str]:
        """Every name that was asked for or joined, in that order."""
        return list(self._parent)

"""Write the crops of a build into folders with a CSV, for code that reads folders."""

from __future__ import annotations

import sys

import semblance


def main(out: str = "out/demo-dfdc", to: str = "out/demo-pictures") -> None:
    """Verify the build, then export it; most dataset terms prohibit redistribution of the result."""
    problems = semblance.verify(out, deep=True).problems
    if problems:
        raise SystemExit("\n".join(problems))
    done = semblance.export(out, "folder", to)
    for split, count in sorted(done.pictures.items()):
        print(f"{split}: {count} pictures")
    for reason, count in done.left_out.items():
        print(f"left out: {count} {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])

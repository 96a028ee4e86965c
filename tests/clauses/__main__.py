"""List the settings that no test is named for, by what they wait for; the number comes last."""

from __future__ import annotations

from collections import defaultdict

from tests.clauses.areas import area_of
from tests.clauses.table import CLAUSES, UNTESTED


def main() -> None:
    """Print the list."""
    by_area: defaultdict[str, list[str]] = defaultdict(list)
    for key in UNTESTED:
        by_area[area_of(key)].append(key)
    for area, keys in by_area.items():
        print(f"{area}: {len(keys)}")
        for key in keys:
            print(f"  {key}")
    print(f"with a test: {len(CLAUSES)} keys and variables; keys without one:")
    print(len(UNTESTED))


if __name__ == "__main__":
    main()

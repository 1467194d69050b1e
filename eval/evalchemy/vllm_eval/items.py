"""A task's items as plain Python dicts, in the place of a ``datasets.Dataset`` and its typed columns."""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

Item = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where an item stands: its file, and its line or (in a file of rows) its row, both from 1."""

    path: Path
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.path}, {self.unit} {self.number}"


class Items(Sequence[Item]):
    """The items of a split, with as much of ``datasets.Dataset`` as lm_eval and ``process_docs`` functions use.

    Every access gives a fresh copy, as ``Dataset`` does, so that a task's
    functions may change what they get. ``origins`` is empty once the items are
    no longer those of their files.
    """

    def __init__(self, rows: Sequence[Item], origins: Sequence[Origin] = ()) -> None:
        self._rows = rows
        self._nested = any(isinstance(value, list | dict) for row in rows for value in row.values())
        self.origins = origins

    @property
    def features(self) -> dict[str, None]:
        """Every field that any item has, in the order in which they are met."""
        return dict.fromkeys(key for row in self._rows for key in row)

    @property
    def column_names(self) -> list[str]:
        """Names of the fields that any item has."""
        return list(self.features)

    @property
    def num_rows(self) -> int:
        """Number of items."""
        return len(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Item]:
        return (self._copy(row) for row in self._rows)

    @overload
    def __getitem__(self, key: int) -> Item: ...
    @overload
    def __getitem__(self, key: slice) -> Any: ...  # noqa: ANN401 - as Dataset has it
    @overload
    def __getitem__(self, key: str | Iterable[int]) -> Any: ...  # noqa: ANN401 - as Dataset has it
    def __getitem__(self, key: Any) -> Any:
        """Return one item by its number, one field of all items by its name, or the fields of several items."""
        if isinstance(key, str):
            return [self._field(row, key) for row in self]
        if isinstance(key, slice):
            chosen = [self._copy(row) for row in self._rows[key]]
        elif isinstance(key, Iterable):
            chosen = [self._copy(self._rows[int(number)]) for number in key]
        else:
            return self._copy(self._rows[int(key)])
        return {name: [self._field(row, name) for row in chosen] for name in self.features}

    def _field(self, row: Item, name: str) -> Any:  # noqa: ANN401 - an item's value has any type
        if name not in row:
            raise KeyError(f"the item {json.dumps(row, ensure_ascii=False, default=str)[:200]} has no field {name!r}")
        return row[name]

    def _copy(self, row: Item) -> Item:
        return copy.deepcopy(row) if self._nested else dict(row)

    def map(
        self,
        function: Callable[..., Item | None],
        *,
        with_indices: bool = False,
        remove_columns: str | Sequence[str] = (),
        fn_kwargs: Mapping[str, Any] | None = None,
        **options: Any,  # noqa: ANN401 - how Dataset.map computes, which changes no item
    ) -> "Items":
        """Lay what ``function`` returns over each item.

        Raises
        ------
        TypeError
            An option that changes what the function gets: ``batched``, ``input_columns``, ``with_rank``.
        """
        _refuse(options, {"batched", "input_columns", "with_rank", "batch_size"})
        removed = {remove_columns} if isinstance(remove_columns, str) else set(remove_columns)
        rows = []
        for number, row in enumerate(self):
            given = (self._copy(row), number) if with_indices else (self._copy(row),)
            result = function(*given, **(fn_kwargs or {}))
            rows.append({key: value for key, value in row.items() if key not in removed} | dict(result or {}))
        return Items(rows)

    def filter(
        self,
        function: Callable[..., bool],
        *,
        with_indices: bool = False,
        fn_kwargs: Mapping[str, Any] | None = None,
        **options: Any,  # noqa: ANN401 - see map
    ) -> "Items":
        """Keep the items for which ``function`` is true."""
        _refuse(options, {"batched", "input_columns", "with_rank", "batch_size"})
        given = (fn_kwargs or {}).items()
        keep = [
            number
            for number, row in enumerate(self)
            if function(*((row, number) if with_indices else (row,)), **dict(given))
        ]
        return self.select(keep)

    def select(self, indices: Iterable[int], **_: Any) -> "Items":  # noqa: ANN401 - see map
        """Keep the items of these numbers, in their order."""
        numbers = [int(number) for number in indices]
        return Items(
            [self._rows[number] for number in numbers],
            [self.origins[number] for number in numbers] if self.origins else (),
        )

    def shuffle(self, seed: int | None = None, **_: Any) -> "Items":  # noqa: ANN401 - see map
        """Put the items into the order that ``Dataset.shuffle`` gives for ``seed``.

        Raises
        ------
        TypeError
            Without a seed: every run would ask another order.
        """
        import numpy as np

        if seed is None:
            raise TypeError("shuffle without a seed gives other items at every run; pass seed=")
        return self.select(np.random.default_rng(seed).permutation(len(self)))

    def sort(self, column: str, reverse: bool = False) -> "Items":
        """Sort by a field."""
        order = sorted(range(len(self)), key=lambda number: self._rows[number][column], reverse=reverse)
        return self.select(order)

    def take(self, n: int) -> "Items":
        """Keep the first ``n`` items."""
        return self.select(range(min(n, len(self))))

    def skip(self, n: int) -> "Items":
        """Leave out the first ``n`` items."""
        return self.select(range(min(n, len(self)), len(self)))

    def unique(self, column: str) -> list[Any]:
        """Return the values of a field, each once."""
        return list(dict.fromkeys(self[column]))

    def rename_column(self, original_column_name: str, new_column_name: str) -> "Items":
        """Give a field another name."""
        return self.rename_columns({original_column_name: new_column_name})

    def rename_columns(self, column_mapping: Mapping[str, str]) -> "Items":
        """Give fields other names."""
        return Items([{column_mapping.get(key, key): value for key, value in row.items()} for row in self])

    def remove_columns(self, column_names: str | Sequence[str]) -> "Items":
        """Leave out fields."""
        removed = {column_names} if isinstance(column_names, str) else set(column_names)
        return Items([{key: value for key, value in row.items() if key not in removed} for row in self])

    def select_columns(self, column_names: str | Sequence[str]) -> "Items":
        """Keep these fields only."""
        kept = {column_names} if isinstance(column_names, str) else set(column_names)
        return Items([{key: value for key, value in row.items() if key in kept} for row in self])

    def add_column(self, name: str, column: Sequence[Any], **_: Any) -> "Items":  # noqa: ANN401 - see map
        """Give each item one more field."""
        return Items([{**row, name: value} for row, value in zip(self, column, strict=True)])

    def lacking(self, name: str) -> Origin | None:
        """Say where the first item without the field ``name`` stands; None if all have it."""
        return next((self.origin(number) for number, row in enumerate(self._rows) if name not in row), None)

    def origin(self, number: int) -> Origin:
        """Say where an item stands."""
        return self.origins[number] if self.origins else Origin(Path("item"), number + 1, "number")

    def to_list(self) -> list[Item]:
        """Return the items."""
        return list(self)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - nothing is returned
        known = ", ".join(sorted(key for key in vars(Items) if not key.startswith("_")))
        raise AttributeError(f"the items of a local file have no {name!r}; they have {known}")


def _refuse(options: Mapping[str, Any], names: set[str]) -> None:
    given = [name for name in names if options.get(name)]
    if given:
        raise TypeError(f"{', '.join(sorted(given))} is not supported on the items of a local file; handle one item")

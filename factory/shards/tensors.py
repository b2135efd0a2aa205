"""Samples as torch's readers hand them over: dicts of tensors, numbers and text.

Shapes: H height, W width, C classes.
"""

import pickle
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, get_args

import torch

from factory.errors import Problems, UserError, nearest
from factory.shards.columns import PICTURES, Column
from factory.shards.plan import Plan
from factory.shards.schema import Sample

Transform = Callable[[dict[str, Any]], Any]
MaskType = Literal["uint8", "int64"]
COLUMNS = ("key", "uncertainty")
"""The columns that come with image and mask where none are named."""


class TensorForm:
    """Which columns of a sample are handed over, in which types, and through which transform.

    Raises UserError for columns that the dataset does not have, for other types of masks, and for
    a transform that cannot be called.
    """

    def __init__(
        self,
        url: str,
        plan: Plan,
        columns: Sequence[str],
        mask_dtype: MaskType,
        transform: Transform | None,
    ) -> None:
        problems, known = Problems(), {column.name: column for column in plan.fields}
        is_one = isinstance(columns, str) or not isinstance(columns, Collection)
        names: list[Any] = [columns] if is_one else list(columns)
        for name in names:
            if not isinstance(name, str):
                problems.add(
                    f"columns: must be a list of names, such as ['key', 'labels'], got {name!r}."
                )
            elif name in {column.name for column in PICTURES}:
                problems.add(f"columns: {name} always comes. Leave it out.")
            elif name not in known:
                problems.add(f"columns: {name!r} is no column of {url}. {nearest(name, known)}")
        if mask_dtype not in get_args(MaskType):
            problems.add(f"mask_dtype = {mask_dtype!r}: must be 'uint8' or 'int64'.")
        if transform is not None and not callable(transform):
            problems.add(
                f"transform: must be a function of a sample's dict, got {type(transform).__name__}."
            )
        problems.raise_if_any()
        self._columns = [known[name] for name in names]
        self._num_classes = len(plan.class_names)
        self._mask_dtype = getattr(torch, mask_dtype)
        self._transform = transform

    def __getstate__(self) -> dict[str, Any]:
        """Raises UserError where the transform cannot be sent to another process."""
        try:
            pickle.dumps(self._transform)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UserError(
                f"transform: {self._transform!r} cannot be sent to a worker process ({error}). "
                "Define it at the top level of a module, not as a lambda or inside a function."
            ) from None
        return self.__dict__

    def of(self, sample: Sample) -> Any:
        """The dict of a sample, or what the transform makes of it."""
        row = {column.name: self._value(column, sample) for column in self._columns}
        # Copied: decoded pixels are read-only, and torch wants channels first.
        row["image"] = torch.from_numpy(sample.image.transpose(2, 0, 1).copy())
        row["mask"] = torch.from_numpy(sample.mask.copy()).to(self._mask_dtype)
        return row if self._transform is None else self._transform(row)

    def _value(self, column: Column, sample: Sample) -> Any:
        value = column.of(sample, self._num_classes)
        return torch.tensor(value, dtype=getattr(torch, column.dtype)) if column.is_list else value

"""Which of the images that are drawn become the samples of a dataset, as its plan tells it.

Each shard chooses among its own draws, so that no shard waits for another one.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer


class Choice(BaseModel, frozen=True, extra="forbid"):
    """What samples are chosen by; a part of a recipe."""

    min_distance: float | None = None
    """The least distance to the nearest training image; nearer ones are left out."""
    min_expected_iou: float | None = None
    """The least IoU to be expected of a mask; others are left out."""
    keep: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The share of the draws that is kept, the most certain ones; None: the first that are fit."""
    at_least: Mapping[str, int] = Field(default_factory=dict)
    """How many samples of the dataset as it was begun show a class at least, by its name."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value not in (None, {})}

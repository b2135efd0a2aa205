"""Pairs of a finished dataset on their way out, a shard at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from factory import png
from factory.errors import UserError, counted
from factory.exporting.options import ExportSplit, Options
from factory.images import UInt8
from factory.shards.packing import merged_rows
from factory.shards.plan import Plan
from factory.shards.schema import EncodedSample, Sample, sample_key


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and its mask, both PNG files; they are decoded only where a format asks for pixels.

    Shapes: H height, W width.
    """

    index: int
    """The pair's number in the dataset, from 0 on; its key says the same."""
    split: ExportSplit
    encoded: EncodedSample

    @property
    def key(self) -> str:
        """The pair's name."""
        return sample_key(self.index)

    @property
    def image_png(self) -> bytes:
        """The image's file."""
        return self.encoded.image_png

    @property
    def mask_png(self) -> bytes:
        """The file of the mask: 8-bit grey, value = class id, 255 = ignore."""
        return self.encoded.mask_png

    @cached_property
    def sample(self) -> Sample:
        """All of the pair, decoded. Raises DamagedShard."""
        return self.encoded.decoded()

    @cached_property
    def mask(self) -> UInt8:
        """(H, W) class ids, 255 = ignore. Raises UnreadableImage."""
        return png.decode_png(self.mask_png)


def pairs_of(
    plan: Plan,
    shard: int,
    files: Sequence[bytes],
    options: Options,
    max_uncertainty: float | None,
) -> list[Pair]:
    """The pairs of a shard that are exported, in order.

    files: the shard's that hold samples. max_uncertainty: nats, None for all pairs.
    Raises DamagedShard; UserError if the shard holds other keys than the plan says, since files are
    named by them.
    """
    spec = plan.shard(shard)
    rows = [row for row in merged_rows(plan, files) if isinstance(row, EncodedSample)]
    keys = [row.fields["key"] for row in rows]
    if keys != [sample_key(i) for i in range(spec.start, spec.stop)]:
        raise UserError(
            f"{spec.path}: holds other keys than those of its "
            f"{counted(spec.stop - spec.start, 'pair')}. "
            "Run `factory verify --level decode` on the dataset."
        )
    return [
        Pair(spec.start + i, split, row)
        for i, row in enumerate(rows)
        if (split := options.split_of(row.fields["key"])) in options.splits
        and (max_uncertainty is None or row.uncertainty <= max_uncertainty)
    ]

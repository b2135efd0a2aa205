"""Looks at all candidates, and chooses those that would teach most."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factory.calibration import Expected
from factory.data.duplicates import is_blank
from factory.data.loading import first_lines
from factory.diffusion.checkpoints import Model
from factory.errors import Problems, UserError, counted
from factory.generation.source_images import SourceImage
from factory.images import UInt8
from factory.labeling.head import Head
from factory.progress import tell, tracked
from factory.suggesting.candidates import Candidates
from factory.suggesting.choosing import Chosen, choose
from factory.suggesting.labelled_candidates import label_images, whole_square

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """Images that are not to be suggested."""

    images: UInt8
    """(M, S, S, C) those that are learned from: what is chosen is far from them."""
    names: tuple[str, ...]
    """The name of each of those."""
    kept_apart: UInt8
    """(N, S, S, C) those that are measured on."""


@dataclass(frozen=True)
class Ranked:
    """What is known of the candidates that were looked at."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    """The place of each among all candidates."""
    uncertainties: Floats
    features: Floats
    known_features: Floats
    num_left_out: int
    """Candidates that are known already, or occur twice."""

    def chosen(self, num: int, uncertainty_weight: float) -> list[Chosen]:
        """Those that would teach most; see `choose`. Raises UserError where there are too few."""
        if len(self.names) < num:
            raise UserError(
                f"suggest.num: {num:,} is more than the {counted(len(self.names), 'image')} that "
                f"are left without {self.num_left_out:,} that are of data.labelled or data.test, "
                f"or occur twice. Set it to {len(self.names):,} or less."
            )
        return choose(
            self.uncertainties,
            self.features,
            self.known_features,
            self.names,
            num,
            uncertainty_weight,
        )


def rank(model: Model, head: Head, candidates: Candidates, known: Known) -> Ranked:
    """Looks at all candidates. Raises UserError naming all that cannot be read."""
    problems, names = Problems(), candidates.names
    seen = _Seen([*known.images, *known.kept_apart])
    images = seen.new(candidates.read(problems))
    found = label_images(model, head, tracked(images, "suggest", len(names), "images"))
    kept = [(i, each) for i, each in enumerate(found) if each is not None]
    if problems.found:
        raise UserError(first_lines(problems.found))
    of_known = label_images(model, head, map(whole_square, known.images))
    known_features = [each.features for each in of_known if each is not None]
    width = len(kept[0][1].features) if kept else 0
    return Ranked(
        tuple(names[i] for i, _ in kept),
        tuple(i for i, _ in kept),
        np.array([each.uncertainty for _, each in kept]),
        np.array([each.features for _, each in kept]).reshape(len(kept), width),
        np.array(known_features).reshape(len(known_features), width),
        len(names) - len(kept),
    )


class _Seen:
    """Images by their pixels at the network's size."""

    def __init__(self, images: Sequence[UInt8]) -> None:
        self._keys = {image.tobytes() for image in images if not is_blank(image)}

    def new(self, images: Iterator[SourceImage | None]) -> Iterator[SourceImage | None]:
        """Yields the images, None in place of one that has a square of an image before it."""
        for image in images:
            keys = {
                square.tobytes()
                for square in (image.squares if image else ())
                if not is_blank(square)
            }
            yield None if keys & self._keys else image
            self._keys |= keys


@dataclass(frozen=True, eq=False)
class Suggestion:
    """An image that is suggested, with what the ensemble says of it."""

    name: str
    """In its source."""
    image: SourceImage
    """Whole."""
    mask: UInt8
    """(H, W) class ids, 255 where the network saw nothing."""
    uncertainty_maps: Sequence[npt.NDArray[np.float32]]
    """(S, S) of each square."""
    uncertainty: float
    expected: Expected | None
    chosen: Chosen
    nearest: str | None
    """The name of the nearest image that was labelled or chosen before; None if there was none."""
    more_uncertain_than: float
    """The share of the candidates that are more certain."""


def suggestions(
    model: Model,
    head: Head,
    candidates: Candidates,
    ranked: Ranked,
    chosen: Sequence[Chosen],
    known: Known,
) -> Iterator[Suggestion]:
    """Yields what is written of the chosen images, which are read and labelled once more."""
    tell(f"suggest | {counted(len(chosen), 'image')} chosen of {len(ranked.names):,}")
    nearby = [*known.names, *ranked.names]
    for each in chosen:
        image = candidates.whole(ranked.numbers[each.number])
        (labelled,) = label_images(model, head, [image])
        assert labelled is not None, "an image that was read is labelled"
        yield Suggestion(
            ranked.names[each.number],
            image,
            labelled.mask(image),
            labelled.uncertainties,
            labelled.uncertainty,
            labelled.expected,
            each,
            None if each.nearest is None else nearby[each.nearest],
            float((ranked.uncertainties < ranked.uncertainties[each.number]).mean()),
        )

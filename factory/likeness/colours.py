"""The colours of a set of images: how far each channel is from their grey."""

from dataclasses import dataclass

from factory.likeness.feature_space import Features


@dataclass(frozen=True)
class Colours:
    """The channels of images less their grey: means and deviations over images, of 255."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def __str__(self) -> str:
        parts = zip(self.means, self.deviations, strict=True)
        return ", ".join(
            f"{mean:+.1f} \N{PLUS-MINUS SIGN} {deviation:.1f}" for mean, deviation in parts
        )


def colours_of(found: Features) -> Colours:
    """The colours of images, by the first of their statistics: the means of channels in [-1, 1]."""
    means = found.statistics[:, :3] * 127.5
    apart = means - means.mean(dim=1, keepdim=True)
    deviations = apart.std(dim=0, correction=0)
    return Colours(tuple(apart.mean(dim=0).tolist()), tuple(deviations.tolist()))

"""What each kind of training learns from."""

from dataclasses import dataclass, replace

from factory.proving.conditions import BOTH, PSEUDO_BOTH, REAL, SYNTHETIC
from factory.segmentation.material import Material


@dataclass(frozen=True)
class Materials:
    """What all trainings learn from."""

    all: Material
    """The synthetic pairs, the real ones, and those to measure on."""
    pseudo_url: str
    """Unlabelled images with masks of the ensemble."""

    def of(self, kind: str) -> Material:
        """What a kind of training learns from."""
        synthetic_url = self.all.dataset_url
        url = {SYNTHETIC: synthetic_url, BOTH: synthetic_url}.get(kind, self.pseudo_url)
        return replace(
            self.all,
            dataset_url=None if kind == REAL else url,
            real=self.all.real if kind in (REAL, BOTH, PSEUDO_BOTH) else None,
        )

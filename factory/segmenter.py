"""A DDPM and an ensemble on its features, as programs use them.

Shapes: N images, S image size, C channels: 3 for RGB, 1 for grey.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from factory import storage
from factory.arguments import Images, Location, check_type, config_of, path_of, pixels_of, refuse
from factory.calibration import Expected
from factory.classes import Classes
from factory.config import EvaluateConfig
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import UserError, counted, some
from factory.images import UInt8
from factory.labeling import commands, evaluation
from factory.labeling.evaluation import Evaluation
from factory.labeling.fitting import label_in_batches
from factory.labeling.head import Head
from factory.labeling.heads import WEIGHTS, check_replaceable, save_head


@dataclass(frozen=True)
class Segmentation:
    """The labels and scores that a segmenter gives to N images."""

    masks: UInt8
    """(N, S, S) class ids."""
    uncertainty: npt.NDArray[np.float32]
    """(N, S, S): Jensen-Shannon divergence of the ensemble's members, nats."""
    expected: tuple[Expected, ...] = ()
    """The IoU that is expected of each mask and of its classes; empty where the ensemble was fitted
    without calibration."""

    def __repr__(self) -> str:
        num, size, _ = self.masks.shape
        return f"Segmentation({counted(num, 'image')} of {size} px)"


@dataclass(repr=False)
class Segmenter:
    """A frozen DDPM and an ensemble on its features: they label every pixel of an image."""

    ddpm: Model
    ensemble: Head
    url: str | None = None
    """The URL of the ensemble; None until it is saved."""

    @property
    def classes(self) -> Classes:
        """Names and colours of the classes."""
        return Classes(self.ensemble.config.class_names, self.ensemble.config.palette)

    @property
    def image_size(self) -> int:
        """Height and width of the images that it labels, in pixels."""
        return self.ddpm.image_size

    def __repr__(self) -> str:
        return (
            f"Segmenter(url={self.url!r}, {len(self.classes)} classes, "
            f"head={type(self.ensemble).__name__}, ddpm={self.ddpm!r})"
        )

    def segment(self, images: Images, vote: Literal["soft", "hard"] = "soft") -> Segmentation:
        """Labels images (N, S, S, C), or grey (N, S, S), uint8, of the DDPM's size.

        That is on the GPU if there is one.
        vote: "soft" = the mean of the members' probabilities, "hard" = a majority of the members.
        Raises UserError where images or vote are not of that kind.
        """
        pixels = pixels_of(images, self.image_size, self.ddpm.channels)
        if vote not in ("soft", "hard"):
            raise UserError(f"vote: must be 'soft' or 'hard', got {vote!r}.")
        self._use_available_device()
        calibration = self.ensemble.config.calibration
        masks, uncertainty, expected, step = [], [], list[Expected](), EvaluateConfig().batch_size
        for labels in label_in_batches(self.ddpm, self.ensemble, pixels, step):
            masks.append(labels.masks(vote).cpu().numpy())
            uncertainty.append(labels.uncertainty.cpu().numpy())
            if calibration is not None:
                scores = labels.image_uncertainty().tolist()
                overlaps = labels.overlaps(vote).cpu().numpy()
                expected += map(calibration.expected, scores, overlaps)
        return Segmentation(np.concatenate(masks), np.concatenate(uncertainty), tuple(expected))

    def evaluate(self, labelled: Labelled, **settings: Any) -> Evaluation:
        """Scores on labelled images of the DDPM's size, on the GPU if there is one.

        settings: section `evaluate`. Raises UserError where the images' classes are not those of
        the ensemble.
        """
        check_type("labelled", labelled, Labelled)
        pixels_of(labelled.images, self.image_size, self.ddpm.channels)
        refuse(settings, "evaluate", url="the scores are returned, and nothing is written")
        config = config_of("evaluate", evaluate=settings)
        evaluation.check_classes(self.ensemble, labelled, "labelled")
        self._use_available_device()
        return evaluation.evaluate(self.ddpm, self.ensemble, labelled, config)

    def save(self, url: Location) -> None:
        """Writes the ensemble. Raises UserError where something else lies there, OSError."""
        folder = storage.normalize(path_of(url, "url"))
        check_replaceable(folder)
        _check_own(folder)
        save_head(self.ensemble, folder)
        self.url = folder

    def _use_available_device(self) -> None:
        """Puts both models where images are labelled; fitting and sampling may have moved one."""
        device = commands.available_device()
        self.ddpm.unet.to(device)
        self.ensemble.to(device)


def _check_own(folder: str) -> None:
    """Raises UserError where a folder without an ensemble holds other files, or is a file."""
    if storage.is_file(folder):
        raise UserError(f"{folder}: is a file. Name a folder for the ensemble.")
    names = [storage.name_of(file) for file in storage.list_files(folder)]
    # An interrupted save leaves the weights alone.
    if "config.json" not in names and (others := [name for name in names if name != WEIGHTS]):
        raise UserError(f"{folder}: holds other files: {some(others)}. Name a folder of its own.")

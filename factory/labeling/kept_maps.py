"""Maps of images that several fits learn from: read from the network once, where they fit memory.

Shapes: N images, S image size, C_m channels of map m.
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch

from factory.config import FitConfig
from factory.diffusion.checkpoints import Model
from factory.images import UInt8
from factory.labeling.features import Places
from factory.labeling.fitting import images_of_pass, map_passes
from factory.labeling.head import Maps


class KeptMaps:
    """The maps of images (N, S, S, C) uint8, in the precision of fitting if its settings are given,
    else in float32."""

    def __init__(
        self,
        model: Model,
        places: Places,
        images: UInt8,
        settings: FitConfig | None,
        num_bytes: float,
    ) -> None:
        """num_bytes: the memory that they may take."""
        self._model, self._places, self._images, self._settings = model, places, images, settings
        self._kept: list[torch.Tensor] | None = None
        passes = map_passes(model, places, images, settings)
        first = next(passes)
        of_image = sum(m[0].nbytes for m in first)
        self.num_bytes = of_image * len(images) if of_image * len(images) <= num_bytes else 0
        """The memory that they take; 0 if they are not kept."""
        if self.num_bytes:
            self._kept = [torch.empty((len(images), *m.shape[1:])) for m in first]
            start = 0
            for maps in chain([first], passes):
                for kept, m in zip(self._kept, maps, strict=True):
                    kept[start : start + len(m)] = m.cpu()
                start += len(maps[0])

    def passes(self, numbers: npt.NDArray[np.int64]) -> Iterator[Maps]:
        """Yields the maps of some of the images, in this order, a few at a time, on the model's
        device."""
        if self._kept is None:
            yield from map_passes(self._model, self._places, self._images[numbers], self._settings)
            return
        device = next(self._model.unet.parameters()).device
        step = images_of_pass(self._model)
        for start in range(0, len(numbers), step):
            few = torch.from_numpy(numbers[start : start + step])
            yield [kept[few].to(device) for kept in self._kept]

"""Draws the images that `synthesizer` would, of a DDPM without an ensemble.

Shapes: B batch, C channels (3 for RGB, 1 for grey), S image size.
"""

import torch

from factory.diffusion import philox
from factory.diffusion.checkpoints import Model
from factory.diffusion.compilation import compiled_alike, one_first
from factory.generation.drawing import Drawing, Draws
from factory.generation.recipe import ImageRecipe
from factory.images import UInt8, to_channels_last_arrays
from factory.labeling.features import FeatureTap


class ImageSampler(Drawing[UInt8]):
    """Draws images (S, S, C) by a recipe.

    Raises as `Synthesizer` does.
    """

    def __init__(self, ddpm: Model, recipe: ImageRecipe) -> None:
        super().__init__(ddpm, recipe, "generate")
        self.draw = philox.normal
        if recipe.compiled:
            self._compile()

    @torch.inference_mode()
    def _compile(self) -> None:
        self.network, self.draw = compiled_alike(self.network), compiled_alike(self.draw)
        draws = self.draws(0, self.recipe.batch_size)
        x = torch.zeros((len(draws.indices), *self.shape), device=self.device)
        x = x.to(memory_format=self.layout)
        with one_first():
            if self.recipe.device_draws_noise:
                self.first_noise(draws)
            self.epsilon_and_features(x, x.new_zeros(len(x), dtype=torch.int64), ())

    @torch.inference_mode()
    def made(self, draws: Draws, x_t: torch.Tensor) -> list[UInt8 | None]:
        """Returns the images from x_T; None for those that are not finite."""
        tap = FeatureTap(self.epsilon_and_features, self.timesteps, (), ())
        x_0 = self.x_0(tap, draws, x_t)
        finite = x_0.flatten(1).isfinite().all(dim=1).tolist()
        images = to_channels_last_arrays(x_0)
        return [image if fit else None for image, fit in zip(images, finite, strict=True)]

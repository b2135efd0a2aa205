"""Where the members of the ensemble that labelled a dataset disagree, for single images of it.

Rows keep one number an image, so this is computed anew, from the models. Shapes: S image size.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factory.config import Config
from factory.diffusion.checkpoints import Model
from factory.errors import UserError
from factory.images import UInt8
from factory.labeling import commands
from factory.labeling.fitting import label_in_batches
from factory.labeling.head import Head
from factory.shards.plan import Plan


@dataclass(frozen=True)
class Voters:
    """The models that labelled a dataset, on the GPU where there is one."""

    ddpm: Model
    ensemble: Head

    def disagreement(self, image: UInt8) -> npt.NDArray[np.float32] | None:
        """(S, S) nats, of an image (S, S, C); None for one that is not of the models' size.

        In float32, and of noised images also where the dataset's labels were made on the way from
        noise to the image: so it is near what made its mask, and not the same.
        """
        size = self.ddpm.image_size
        if image.shape != (size, size, self.ddpm.channels):
            return None
        # A copy, as torch warns of pixels that may not be written to.
        (labels,) = label_in_batches(self.ddpm, self.ensemble, np.array(image)[None], 1)
        uncertainty: npt.NDArray[np.float32] = labels.uncertainty[0].cpu().numpy()
        return uncertainty


def load_voters(config: Config, plan: Plan) -> Voters:
    """The models of a config, which must be those of the plan. Raises UserError."""
    model, ensemble, ensemble_hash = commands.load_models(config)
    named = {
        "models.ddpm_url": (model.model_hash, plan.recipe.get("ddpm_sha256")),
        "models.ensemble_url": (ensemble_hash, plan.recipe.get("ensemble_sha256")),
    }
    if others := [key for key, (there, made_with) in named.items() if there != made_with]:
        raise UserError(f"{' and '.join(others)}: not the models that the dataset was made with.")
    device = commands.available_device()
    model.unet.to(device)
    return Voters(model, ensemble.to(device))

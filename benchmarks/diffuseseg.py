"""The other side of some benchmarks: DiffuseSeg's own code, imported from a checkout.

Nothing of it is copied. Its modules ask for packages that the functions called here hardly need;
where one is not installed, a stand-in takes its place while the module is imported. Its weights
are random: what a pass of the network costs does not depend on them.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import nn

TIMESTEPS = (50, 150, 250)
DESCRIPTOR_DIM = 624
NUM_MLPS = 10
NUM_CLASSES = 20


def load_module(path: Path, name: str) -> ModuleType:
    """The module utils/NAME.py of the checkout, such as "train_MLPs".

    Imported anew by every call, so classes of two calls differ; sys.modules is left as it was.
    """
    folder = (path / "utils").resolve()
    with _importable(folder):
        return importlib.import_module(name)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    paths = list(sys.path)
    absent = {
        name: module
        for name, module in _stand_ins().items()
        if importlib.util.find_spec(name.partition(".")[0]) is None
    }
    sys.path.insert(0, str(folder))
    sys.modules.update(absent)
    try:
        yield
    finally:
        sys.path[:] = paths
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name in absent or (file and Path(file).parent == folder):
                del sys.modules[name]


class _StandIn(ModuleType):
    """A package of which nothing is used: every name in it is a function that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **options: None


def _stand_ins() -> dict[str, ModuleType]:
    names = ("wandb", "huggingface_hub", "matplotlib", "sklearn", "torchvision")
    inner = ("matplotlib.pyplot", "sklearn.model_selection", "torchvision.transforms")
    modules: dict[str, ModuleType] = {name: _StandIn(name) for name in (*names, *inner)}
    for name in inner:
        package, _, attribute = name.partition(".")
        setattr(modules[package], attribute, modules[name])
    for transform in (Compose, Resize, ToTensor, Normalize, ToPILImage):
        setattr(modules["torchvision.transforms"], transform.__name__, transform)
    return modules


class Compose:
    """The transforms, one after another."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, value: Any) -> Any:
        for transform in self.transforms:
            value = transform(value)
        return value


class Resize:
    """An image at (height, width)."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        width_height = self.size[::-1]
        return image if image.size == width_height else image.resize(width_height)


class ToTensor:
    """An RGB image -> (3, H, W) in [0, 1]."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255


class Normalize:
    """(x - mean) / deviation, by channel."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self.mean = torch.tensor(mean)[:, None, None]
        self.deviation = torch.tensor(deviation)[:, None, None]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels - self.mean) / self.deviation


class ToPILImage:
    """(3, H, W) in [0, 1] -> an RGB image."""

    def __call__(self, pixels: torch.Tensor) -> Image.Image:
        return Image.fromarray((pixels * 255).byte().permute(1, 2, 0).numpy())


def random_unet(path: Path, seed: int) -> nn.Module:
    """Its U-Net at the size of its config, as torch initialises it, in eval mode."""
    torch.manual_seed(seed)
    unet: nn.Module = load_module(path, "UNet").Unet(_config(path)["model_params"])
    return unet.eval()


def random_mlps(path: Path, seed: int) -> list[nn.Module]:
    """Its ten pixel MLPs in eval mode; batch norms' statistics and weights random."""
    torch.manual_seed(seed)
    make = load_module(path, "train_MLPs").PixelMLP
    mlps = [make(DESCRIPTOR_DIM, NUM_CLASSES).eval() for _ in range(NUM_MLPS)]
    for norm in (module for mlp in mlps for module in mlp.modules()):
        if isinstance(norm, nn.BatchNorm1d):
            for values in (norm.weight.data, norm.running_var):
                values.uniform_(0.5, 2.0)
            for values in (norm.bias.data, norm.running_mean):
                values.normal_(0.0, 0.2)
    return mlps


def _config(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((path / "utils" / "config.yaml").read_text())
    return config


class EndToEnd:
    """Its DiffuseSeg_e2e.py on these models: one image, one mask."""

    def __init__(self, path: Path, unet: nn.Module, mlps: Sequence[nn.Module]) -> None:
        self.module = load_module(path, "DiffuseSeg_e2e")
        # No progress bar.
        self.module.__dict__["tqdm"] = lambda steps: steps
        config = _config(path)
        self.shape = config["model_params"]
        self.num_timesteps: int = config["diffusion_params"]["num_timesteps"]
        self.scheduler = self.module.NoiseScheduler(**config["diffusion_params"])
        self.unet, self.mlps = unet, mlps
        size = self.shape["im_size"]
        self.extractor = self.module.FeatureCaptureUnet(unet, target_resolution=(size, size))

    def sample(self, num_steps: int) -> Image.Image:
        """Its `sample` over the last so many of its timesteps: all cost the same."""
        image: Image.Image = self.module.sample(
            self.unet, self.scheduler, self.shape, {"num_timesteps": num_steps}, "cpu"
        )
        return image

    def label(
        self, image: Image.Image, extractor: Callable[..., torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Its `run_inference_on_img`: features, ten MLPs, the vote; (S, S) ids.

        extractor: (x_t, t) -> features (1, C, S, S); absent: its own, a pass of the U-Net.
        """
        mask, _ = self.module.run_inference_on_img(
            image,
            extractor or self.extractor,
            self.scheduler,
            self.mlps,
            self.shape,
            list(TIMESTEPS),
            self.module.ID_TO_COLOR,
            "cpu",
        )
        ids: torch.Tensor = mask
        return ids

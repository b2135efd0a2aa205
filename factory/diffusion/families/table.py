"""The networks that model folders may hold, by `_class_name` in their `unet/config.json`."""

from factory.diffusion.families import diffuseseg, unet2d
from factory.diffusion.network import Family

FAMILIES: dict[str, Family] = {
    "UNet2DModel": unet2d.FAMILY,
    "DiffuseSegUNet": diffuseseg.FAMILY,
}

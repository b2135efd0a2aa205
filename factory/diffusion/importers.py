# mypy: disable-error-code="operator, no-any-return, override"
"""DiffuseSeg's weights (github.com/harish-jhr/DiffuseSeg): its U-Net and its ten pixel MLPs.

The U-Net has attention at every level and one map a decoder block. Its modules have the names of
the published `.pth`; what it computes equals DiffuseSeg's own code up to rounding. The MLPs become
the weights of one `factory.labeling.ensemble.Ensemble`.

The files are pickles: they are read with torch's `weights_only`, which runs no code of theirs.

Shapes: B batch, C channels, H height, W width, N = H * W tokens.
"""

import hashlib
import io
import json
import pickle
import statistics
import struct
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from factory import storage
from factory.classes import Classes
from factory.config import DiffusionConfig
from factory.diffusion.checkpoints import Model, checked_tensors
from factory.diffusion.families.unet2d import UNet
from factory.errors import Problems, UserError

IMAGE_SIZE = 64
TIMESTEPS = (50, 150, 250)
BLOCKS = (0, 1, 2)
DESCRIPTOR_DIM = 624
NUM_MEMBERS = 10
HIDDEN = (128, 32)
_COLORS = {
    "skin": (204, 204, 255),
    "l_brow": (255, 0, 0),
    "r_brow": (255, 0, 85),
    "l_eye": (255, 0, 170),
    "r_eye": (255, 0, 255),
    "eye_g": (170, 0, 255),
    "l_ear": (85, 0, 255),
    "r_ear": (0, 0, 255),
    "ear_r": (0, 85, 255),
    "nose": (0, 170, 255),
    "mouth": (0, 255, 255),
    "u_lip": (0, 255, 170),
    "l_lip": (0, 255, 85),
    "hair": (0, 255, 0),
    "hat": (170, 255, 0),
    "neck": (255, 255, 0),
    "cloth": (255, 170, 0),
    "necklace": (255, 85, 0),
    "earring": (170, 0, 85),
    "bg": (255, 255, 255),
}
DIFFUSESEG_CLASSES = Classes(tuple(_COLORS), tuple(_COLORS.values()))
"""Its ids. Left and right are the subject's; earrings are "ear_r", the id "earring" is unused."""

NUM_HEADS = 4
NUM_GROUPS = 8
NORM_EPS = 1e-5
"""Of every normalisation: torch's default."""
MAX_WIDTH = 2**14
HEAD_DIM_STEP = 16
"""Heads are filled up with zeros to a multiple of this: narrower products are slower."""

_DAMAGED = (
    *(RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError),
    *(zipfile.BadZipFile, struct.error),
)
"""What zipfile and torch.load raise on a zip file cut short or with bytes changed."""


@dataclass(frozen=True)
class Shape:
    """Widths and depths of the U-Net; those of the published file where nothing is said."""

    down_channels: tuple[int, ...] = (64, 128, 256, 512)
    mid_channels: tuple[int, ...] = (512, 512, 256)
    last_channels: int = 16
    time_channels: int = 256
    num_down_layers: int = 2
    num_mid_layers: int = 2
    num_up_layers: int = 2


class Attention(nn.Module):
    """Self-attention; parameters as in `nn.MultiheadAttention`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, C) -> (B, N, C)."""
        qkv = F.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        attended = _attend(qkv.unflatten(2, (3, NUM_HEADS, -1)))
        projected: torch.Tensor = self.out_proj(attended.flatten(2))
        return projected


def _attend(qkv: torch.Tensor) -> torch.Tensor:
    """(B, N, 3, heads, D) -> (B, N, heads, D)."""
    head_dim = qkv.shape[-1]
    if qkv.device.type == "cpu":
        # There the fused kernel is fastest in float32, whatever the precision around it.
        qkv = qkv.float()
    if missing := -head_dim % HEAD_DIM_STEP:
        qkv = F.pad(qkv, (0, missing))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    with torch.autocast(qkv.device.type, enabled=False):
        attended = F.scaled_dot_product_attention(q, k, v, scale=head_dim**-0.5)
    return attended.transpose(1, 2)[..., :head_dim]


class Block(nn.Module):
    """Residual blocks, each but the mid's last with attention behind it."""

    def __init__(
        self, channels: tuple[int, int], time: int, num_resnets: int, num_attentions: int
    ) -> None:
        super().__init__()
        in_channels, out = channels
        inputs = [in_channels] + [out] * (num_resnets - 1)
        self.resnet_conv_first = nn.ModuleList(_norm_conv(width, out) for width in inputs)
        self.t_emb_layers = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(time, out)) for _ in inputs
        )
        self.resnet_conv_second = nn.ModuleList(_norm_conv(out, out) for _ in inputs)
        self.residual_input_conv = nn.ModuleList(nn.Conv2d(width, out, 1) for width in inputs)
        self.attention_norms = nn.ModuleList(
            nn.GroupNorm(NUM_GROUPS, out) for _ in range(num_attentions)
        )
        self.attentions = nn.ModuleList(Attention(out) for _ in range(num_attentions))

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W), (B, time) -> (B, out, H, W)."""
        for i in range(len(self.resnet_conv_first)):
            h = self.resnet_conv_first[i](x) + self.t_emb_layers[i](time)[:, :, None, None]
            x = self.resnet_conv_second[i](h) + self.residual_input_conv[i](x)
            if i < len(self.attentions):
                tokens = self.attention_norms[i](x).flatten(2).transpose(1, 2)
                x = x + self.attentions[i](tokens).transpose(1, 2).unflatten(2, x.shape[2:])
        return x


def _norm_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    norm = nn.GroupNorm(NUM_GROUPS, in_channels)
    return nn.Sequential(norm, nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1))


class DownBlock(Block):
    """Ends at half the resolution."""

    def __init__(self, channels: tuple[int, int], time: int, num_layers: int) -> None:
        super().__init__(channels, time, num_layers, num_layers)
        self.down_sample_conv = nn.Conv2d(channels[1], channels[1], 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W), (B, time) -> (B, out, H/2, W/2)."""
        return self.down_sample_conv(super().forward(x, time))


class UpBlock(Block):
    """Begins at twice the resolution, beside the map that its down block began with."""

    def __init__(self, channels: tuple[int, int], time: int, num_layers: int) -> None:
        skip, out = channels
        super().__init__((2 * skip, out), time, num_layers, num_layers)
        self.up_sample_conv = nn.ConvTranspose2d(skip, skip, 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor, skip: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """(B, skip, H/2, W/2), (B, skip, H, W), (B, time) -> (B, out, H, W)."""
        return super().forward(torch.cat([self.up_sample_conv(x), skip], dim=1), time)


class DiffuseSegUNet(nn.Module):
    """Predicts epsilon from (x_t, t); the maps of its decoder blocks, the lowest resolution first,
    are the descriptors' source. Used as `factory.diffusion.families.unet2d.UNet` is.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        time, down, last = shape.time_channels, shape.down_channels, shape.last_channels
        self.t_proj = nn.Sequential(nn.Linear(time, time), nn.SiLU(), nn.Linear(time, time))
        self.conv_in = nn.Conv2d(3, down[0], 3, padding=1)
        self.downs = nn.ModuleList(
            DownBlock(channels, time, shape.num_down_layers) for channels in pairwise(down)
        )
        self.mids = nn.ModuleList(
            Block(channels, time, shape.num_mid_layers + 1, shape.num_mid_layers)
            for channels in pairwise(shape.mid_channels)
        )
        ups = zip(down[-2::-1], (*down[-3::-1], last), strict=True)
        self.ups = nn.ModuleList(UpBlock(channels, time, shape.num_up_layers) for channels in ups)
        self.norm_out = nn.GroupNorm(NUM_GROUPS, last)
        self.conv_out = nn.Conv2d(last, 3, 3, padding=1)

    @property
    def num_blocks(self) -> int:
        """Decoder blocks, each with a map."""
        return len(self.ups)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) noisy images, (B,) integer timesteps -> predicted epsilon (B, 3, H, W)."""
        return self.epsilon_and_features(x_t, t, ())[0]

    def features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> dict[int, torch.Tensor]:
        """{block: its map (B, C_k, H_k, W_k)}."""
        maps = self._decode(x_t, t)
        return {block: maps[block] for block in blocks}

    def epsilon_and_features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Both from one pass."""
        maps = self._decode(x_t, t)
        epsilon = self.conv_out(F.silu(self.norm_out(maps[-1])))
        return epsilon, {block: maps[block] for block in blocks}

    def _decode(self, x_t: torch.Tensor, t: torch.Tensor) -> list[torch.Tensor]:
        """Every decoder block's map."""
        time = self.t_proj(_timestep_embedding(t, self.shape.time_channels))
        x = self.conv_in(x_t.contiguous(memory_format=torch.channels_last))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x, time)
        for mid in self.mids:
            x = mid(x, time)
        maps = []
        for up in self.ups:
            x = up(x, skips.pop(), time)
            maps.append(x)
        return maps


def _timestep_embedding(t: torch.Tensor, dim: int) -> torch.Tensor:
    """(B,) timesteps -> (B, dim): sine, then cosine, of t / 10000^(2 i / dim)."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t[:, None] / 10_000**exponent
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def load_diffuseseg_unet(url: str) -> Model:
    """The U-Net of a `.pth` file, such as DDPM_Celeb_151.pth; widths are read off its tensors.

    Raises UserError where the file is missing, damaged, not tensors alone, or of another network,
    naming every tensor that does not fit.
    """
    data = _read(url)
    tensors = _load_tensors(data, url)
    shape = _shape_of(tensors, url)
    with torch.device("meta"):
        unet = DiffuseSegUNet(shape)
    expected = {key: value.shape for key, value in unet.state_dict().items()}
    checked = checked_tensors(tensors, expected, url, "the rest of the file")
    unet.load_state_dict(checked, assign=True)
    unet.eval().requires_grad_(False)
    diffusion = DiffusionConfig(num_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    meaning = {"kind": "DiffuseSeg", "diffusion": diffusion.model_dump(), "heads": NUM_HEADS}
    identity = json.dumps({**meaning, "image_size": IMAGE_SIZE}, sort_keys=True).encode() + data
    # Not a UNet by class, but by what sampling and labelling ask of one.
    return Model(cast(UNet, unet), diffusion, IMAGE_SIZE, hashlib.sha256(identity).hexdigest())


def load_diffuseseg_mlps(urls: Sequence[str]) -> dict[str, torch.Tensor]:
    """The state dict of an Ensemble that equals the ten MLPs, mlp_1_best.pt to mlp_10_best.pt.

    The MLPs normalise before the ReLU, the Ensemble after it: normalisations are folded into the
    layers before them, and the Ensemble's own do nothing. The Ensemble: HIDDEN, DESCRIPTOR_DIM,
    TIMESTEPS, BLOCKS, NUM_MEMBERS and DIFFUSESEG_CLASSES of this module.

    Raises UserError with all that is wrong with any of the files, and where they are not ten.
    """
    if len(set(urls)) != NUM_MEMBERS:
        raise UserError(
            f"{len(set(urls))} different files of MLPs, DiffuseSeg's ensemble has {NUM_MEMBERS}: "
            f"name mlp_1_best.pt to mlp_{NUM_MEMBERS}_best.pt. Got: {', '.join(urls) or 'none'}."
        )
    problems, members = Problems(), []
    for url in urls:
        with problems.collected():
            members.append(_folded_mlp(url))
    problems.raise_if_any()
    weights_1, biases_1, weights_2, biases_2, weights_3, biases_3 = zip(*members, strict=True)
    return {
        "linear_1.weight": torch.cat(weights_1),
        "linear_1.bias": torch.cat(biases_1),
        "weight_2": torch.stack(weights_2).transpose(1, 2).contiguous(),
        "bias_2": torch.stack(biases_2)[:, None],
        "weight_3": torch.stack(weights_3).transpose(1, 2).contiguous(),
        "bias_3": torch.stack(biases_3)[:, None],
        **_identity_norm("norm_1", NUM_MEMBERS * HIDDEN[0]),
        **_identity_norm("norm_2", NUM_MEMBERS * HIDDEN[1]),
    }


def _folded_mlp(url: str) -> tuple[torch.Tensor, ...]:
    """Weight and bias of its three layers, the two normalisations folded into the first two."""
    widths = (DESCRIPTOR_DIM, *HIDDEN, len(DIFFUSESEG_CLASSES))
    expected: dict[str, torch.Size] = {}
    for layer, (fan_in, out) in zip(("fc1", "fc2", "fc_out"), pairwise(widths), strict=True):
        expected[f"{layer}.weight"] = torch.Size((out, fan_in))
        expected[f"{layer}.bias"] = torch.Size((out,))
    for norm, width in zip(("bn1", "bn2"), HIDDEN, strict=True):
        for name in ("weight", "bias", "running_mean", "running_var"):
            expected[f"{norm}.{name}"] = torch.Size((width,))
    tensors = {
        key: value
        for key, value in _load_tensors(_read(url), url).items()
        if not key.endswith(".num_batches_tracked")
    }
    checked = checked_tensors(tensors, expected, url, "DiffuseSeg")
    folded = [*_fold(checked, "fc1", "bn1", url), *_fold(checked, "fc2", "bn2", url)]
    return (*folded, checked["fc_out.weight"], checked["fc_out.bias"])


def _fold(
    tensors: Mapping[str, torch.Tensor], layer: str, norm: str, place: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a linear layer that does what it and the normalisation after it do."""
    weight, bias = (tensors[f"{layer}.{name}"].double() for name in ("weight", "bias"))
    gain, shift, mean, variance = (
        tensors[f"{norm}.{name}"].double()
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    if bool((variance < 0).any()):
        raise UserError(f"{place}: tensor {norm}.running_var holds negative values.")
    scale = gain / (variance + NORM_EPS).sqrt()
    return (scale[:, None] * weight).float(), ((bias - mean) * scale + shift).float()


def _identity_norm(name: str, width: int) -> dict[str, torch.Tensor]:
    """A BatchNorm1d that in eval mode returns what it is given."""
    return {
        f"{name}.weight": torch.ones(width),
        f"{name}.bias": torch.zeros(width),
        f"{name}.running_mean": torch.zeros(width),
        f"{name}.running_var": torch.full((width,), 1.0 - NORM_EPS),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def _read(url: str) -> bytes:
    try:
        return storage.read_bytes(url)
    except FileNotFoundError:
        raise UserError(f"{url}: is missing. Download the weights of DiffuseSeg again.") from None
    except OSError as error:
        raise UserError(
            f"{url}: cannot be read ({storage.reason(error)}). Download the weights of DiffuseSeg "
            "again."
        ) from None


def _load_tensors(data: bytes, place: str) -> dict[str, torch.Tensor]:
    """The tensors of a pickled state dict."""
    if not data.startswith(b"PK"):
        raise UserError(f"{place}: is no file of torch.save's. Name one of DiffuseSeg's weights.")
    try:
        compressed = _is_compressed(data)
        content = (
            None
            if compressed
            else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError:
        raise UserError(
            f"{place}: is not loaded: it holds more than tensors, such as code, or is damaged. "
            "Copy it again, or save the model's state_dict() alone."
        ) from None
    except _DAMAGED as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"{place}: damaged ({first_line}). Copy it again.") from None
    if compressed:
        raise UserError(
            f"{place}: is compressed, which files of torch.save's are not, and may inflate to any "
            "size. Save the model's state_dict() with torch.save."
        )
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise UserError(f"{place}: is no state dict. Save the model's state_dict() alone.")
    return dict(content)


def _is_compressed(data: bytes) -> bool:
    """Whether a zip file's members take more bytes than the file."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = file.infolist()
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    return packed or sum(member.file_size for member in members) > len(data)


def _shape_of(tensors: Mapping[str, torch.Tensor], place: str) -> Shape:
    """Each width is what most vectors of a block agree on, so that a bad tensor stands out."""

    def count(prefix: str) -> int:
        names = (key.removeprefix(prefix) for key in tensors if key.startswith(prefix))
        return len({name.partition(".")[0] for name in names})

    def width(*prefixes: str) -> int:
        found = [len(v) for k, v in tensors.items() if v.ndim == 1 and k.startswith(prefixes)]
        return statistics.mode(found) if found else 0

    stem = width("conv_in.", "downs.0.resnet_conv_first.0.0.")
    down = (stem, *(width(f"downs.{i}.") for i in range(count("downs."))))
    mid = (down[-1], *(width(f"mids.{i}.") for i in range(count("mids."))))
    shape = Shape(
        down,
        mid,
        width(f"ups.{count('ups.') - 1}.", "norm_out."),
        width("t_proj."),
        count("downs.0.resnet_conv_first."),
        count("mids.0.attentions."),
        count("ups.0.resnet_conv_first."),
    )
    widths = (*down, *mid, shape.last_channels, shape.time_channels)
    whole = (
        len(down) > 1
        and len(mid) > 1
        and all(0 < w <= MAX_WIDTH and w % NUM_GROUPS == 0 for w in widths)
    )
    if not whole or mid[-1] != down[-2]:
        raise UserError(
            f"{place}: is no U-Net of DiffuseSeg's: its tensors tell {shape}. Name a .pth file "
            "such as DDPM_Celeb_151.pth."
        )
    return shape

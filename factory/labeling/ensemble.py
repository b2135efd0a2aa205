"""K pixel classifiers as one network.

Each member is Linear-ReLU-BatchNorm-Linear-ReLU-BatchNorm-Linear (Baranchuk et al. 2022,
section 4).

Shapes: N pixels, D descriptor, K members, H1, H2 hidden, C classes.
"""

from collections.abc import Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from factory.diffusion.tensors import checked_tensors
from factory.errors import UserError
from factory.labeling.folded import FoldedEnsemble, by_member
from factory.labeling.head import HeadConfig, Labels, Maps
from factory.labeling.labels import View, label_maps
from factory.labeling.mirroring import partners
from factory.values import Width

_COUNTS = "norm_1.num_batches_tracked", "norm_2.num_batches_tracked"
"""Buffers that only training uses; they are not stored."""


class EnsembleConfig(HeadConfig):
    """The meaning of an ensemble's weights."""

    num_members: Annotated[int, Field(ge=1, le=1000)]
    hidden: tuple[Width, Width]


class Ensemble(nn.Module):
    """K MLPs over pixel descriptors."""

    def __init__(self, config: EnsembleConfig) -> None:
        super().__init__()
        self.config = config
        members, (hidden_1, hidden_2) = config.num_members, config.hidden
        num_classes = len(config.class_names)
        self.linear_1 = nn.Linear(config.descriptor_dim, members * hidden_1)
        self.norm_1 = nn.BatchNorm1d(members * hidden_1)
        self.weight_2 = nn.Parameter(torch.empty(members, hidden_1, hidden_2))
        self.bias_2 = nn.Parameter(torch.zeros(members, 1, hidden_2))
        self.norm_2 = nn.BatchNorm1d(members * hidden_2)
        self.weight_3 = nn.Parameter(torch.empty(members, hidden_2, num_classes))
        self.bias_3 = nn.Parameter(torch.zeros(members, 1, num_classes))
        if self.bias_2.is_meta:
            # Without memory there is nothing to draw; torch would import its compiler for it.
            return
        nn.init.kaiming_normal_(self.linear_1.weight, nonlinearity="relu")
        nn.init.zeros_(self.linear_1.bias)
        nn.init.normal_(self.weight_2, std=(2 / hidden_1) ** 0.5)
        nn.init.normal_(self.weight_3, std=(1 / hidden_2) ** 0.5)

    def forward(self, descriptors: torch.Tensor) -> torch.Tensor:
        """(N, D) -> logits (K, N, C)."""
        members = self.config.num_members
        h = by_member(self.norm_1(F.relu(self.linear_1(descriptors))), members)
        h = torch.baddbmm(self.bias_2, h, self.weight_2)
        h = F.relu(h).transpose(0, 1).flatten(1)
        h = by_member(self.norm_2(h), members)
        return torch.baddbmm(self.bias_3, h, self.weight_3)

    def folded(self) -> "FoldedEnsemble":
        """The network in eval mode, its normalisations folded into the layers that follow them."""
        members = self.config.num_members
        layers = []
        for norm, weight, bias in (
            (self.norm_1, self.weight_2, self.bias_2),
            (self.norm_2, self.weight_3, self.bias_3),
        ):
            scale, shift = (part.view(members, -1) for part in _scale_and_shift(norm))
            layers += [scale[:, :, None] * weight, bias + shift[:, None] @ weight]
        return FoldedEnsemble(self.linear_1.weight, self.linear_1.bias, *layers)

    def label(
        self,
        maps: Maps,
        image_size: int,
        mirrored: Maps | None = None,
        within: torch.Tensor | None = None,
    ) -> Labels:
        """Labels B images (S, S) from their maps, in the descriptor's order; in eval mode.

        mirrored, within: see `Head.label`.
        """
        views = [View(maps)]
        if mirrored is not None:
            views.append(View(mirrored, partners(self.config.classes)))
        return label_maps(self.folded(), views, image_size, within)

    def stored_tensors(self) -> dict[str, torch.Tensor]:
        """The tensors that its folder holds, by name."""
        return {key: value for key, value in self.state_dict().items() if key not in _COUNTS}

    def fold_standardisation(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Makes a network fitted on (x - mean) / deviation take x itself; mean, deviation (D,)."""
        with torch.no_grad():
            self.linear_1.weight /= deviation
            self.linear_1.bias -= self.linear_1.weight @ mean


def _scale_and_shift(norm: nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """The factor and the summand of a normalisation in eval mode."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def load_weights(config: EnsembleConfig, tensors: Mapping[str, torch.Tensor], url: str) -> Ensemble:
    """The ensemble of stored tensors, in eval mode and frozen.

    Raises UserError naming the tensors that do not fit. url: that of their file.
    """
    with torch.device("meta"):  # takes no memory before the shapes are known to be right
        ensemble = Ensemble(config)
    expected = {key: value.shape for key, value in ensemble.stored_tensors().items()}
    checked = checked_tensors(tensors, expected, url, "config.json")
    negative = [key for key in checked if key.endswith("_var") and bool((checked[key] < 0).any())]
    if negative:
        raise UserError(
            [f"{url}: tensor {key} holds negative values. Fit anew." for key in negative]
        )
    counts = {key: torch.tensor(0) for key in _COUNTS}
    ensemble.load_state_dict({**checked, **counts}, assign=True)
    return ensemble.eval().requires_grad_(False)

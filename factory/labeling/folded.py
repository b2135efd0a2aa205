"""An ensemble in eval mode as three linear layers a member.

Shapes: N pixels, D descriptor, K members, H1, H2 hidden, C classes.
"""

from dataclasses import dataclass

import torch


def by_member(rows: torch.Tensor, members: int) -> torch.Tensor:
    """(N, K * H) -> (K, N, H): the columns of each member."""
    columns: torch.Tensor = rows.unflatten(1, (members, -1))
    return columns.transpose(0, 1)


@dataclass(frozen=True)
class FoldedEnsemble:
    """The network in eval mode as three linear layers a member: the normalisations are in them."""

    weight_1: torch.Tensor
    """(K * H1, D)."""
    bias_1: torch.Tensor
    """(K * H1,)."""
    weight_2: torch.Tensor
    """(K, H1, H2)."""
    bias_2: torch.Tensor
    """(K, 1, H2)."""
    weight_3: torch.Tensor
    """(K, H2, C)."""
    bias_3: torch.Tensor
    """(K, 1, C)."""

    @property
    def num_members(self) -> int:
        """K."""
        return len(self.weight_2)

    @property
    def hidden_1(self) -> int:
        """H1."""
        return self.weight_2.shape[1]

    @property
    def num_classes(self) -> int:
        """C."""
        return self.weight_3.shape[2]

    def __getitem__(self, members: slice) -> "FoldedEnsemble":
        """The folded ensemble of some of the members."""
        first = slice(members.start * self.hidden_1, members.stop * self.hidden_1)
        rest = (self.weight_2, self.bias_2, self.weight_3, self.bias_3)
        return FoldedEnsemble(
            self.weight_1[first], self.bias_1[first], *(layer[members] for layer in rest)
        )

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(N, K * H1), what the first layer gives, is overwritten -> logits (K, N, C)."""
        h = by_member(hidden.relu_(), self.num_members)
        h = torch.baddbmm(self.bias_2, h, self.weight_2).relu_()
        return torch.baddbmm(self.bias_3, h, self.weight_3)

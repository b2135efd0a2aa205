"""Claims about factory.diffusion.muon."""

import pytest
import torch
from torch import nn

from factory.diffusion.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(16, 24), (8, 40), (40, 8), (3, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_directions_of_a_matrix_become_about_as_long(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) * torch.logspace(0, 1, shape[1])
    found = orthogonal(matrix, dtype)
    assert found.dtype == dtype and found.shape == matrix.shape
    lengths = torch.linalg.svdvals(found.float())
    assert 0.5 < float(lengths.min()) <= float(lengths.max()) < 1.3
    # They keep their directions: what is along a matrix stays along it.
    assert float((found.float() * matrix).sum()) > 0.6 * float(torch.linalg.svdvals(matrix).sum())


def test_a_gradient_of_zeros_moves_nothing() -> None:
    weight = nn.Parameter(torch.ones(4, 6))
    weight.grad = torch.zeros_like(weight)
    Muon([weight], lr=0.1, weight_decay=0.0, bf16=False).step()
    assert torch.equal(weight, torch.ones(4, 6))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_matrices_are_moved_as_by_the_one_of_torch(weight_decay: float) -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(12, 30), torch.randn(5, 12, 30)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    one = Muon([ours], lr=0.02, weight_decay=weight_decay, bf16=True)
    other = torch.optim.Muon(
        [theirs], lr=0.02, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.step()
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02 * 0.2 * 30**0.5 * 0.05)


def test_a_kernel_is_moved_as_the_matrix_of_its_rows_in_any_memory_format() -> None:
    torch.manual_seed(0)
    start, gradient = torch.randn(8, 4, 3, 3), torch.randn(8, 4, 3, 3)
    moved = []
    for shape, memory_format in [
        ((8, 36), torch.contiguous_format),
        ((8, 4, 3, 3), torch.contiguous_format),
        ((8, 4, 3, 3), torch.channels_last),
    ]:
        weight = nn.Parameter(start.clone().reshape(shape).contiguous(memory_format=memory_format))
        weight.grad = gradient.clone().reshape(shape).contiguous(memory_format=memory_format)
        optimizer = Muon([weight], lr=0.1, weight_decay=0.0, bf16=False)
        optimizer.step()
        assert optimizer.state[weight]["momentum"].stride() == weight.stride()
        moved.append(weight.detach().reshape(8, 36))
    assert torch.equal(moved[0], moved[1])
    torch.testing.assert_close(moved[0], moved[2])

"""Noise that a device draws itself: Philox4x32-10 and Box-Muller, in torch's own operations.

Philox (Salmon et al. 2011) is a counter-based generator: a number depends on a key and a counter
alone, so any of them can be drawn anywhere, in any order and any batch. The key is a sample's seed;
the counter holds the stream and the position.

Words are 32 bits in an int64, so that a product of two has room: it wraps where it takes the sign
bit, and what is masked out of it is right.
"""

import math
from collections.abc import Callable, Sequence

import torch

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Draw = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]

NAME = "philox4x32-10, box-muller"
_WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_NUM_ROUNDS = 10


def philox(counter: Words, key: tuple[torch.Tensor, torch.Tensor]) -> Words:
    """Four random words for each counter of four and key of two; all of them broadcast."""
    c_0, c_1, c_2, c_3 = counter
    k_0, k_1 = key
    for _ in range(_NUM_ROUNDS):
        product_0, product_1 = c_0 * _MULTIPLIERS[0], c_2 * _MULTIPLIERS[1]
        c_0, c_2 = (product_1 >> 32 & _WORD) ^ c_1 ^ k_0, (product_0 >> 32 & _WORD) ^ c_3 ^ k_1
        c_1, c_3 = product_1 & _WORD, product_0 & _WORD
        k_0, k_1 = k_0 + _KEY_STEPS[0] & _WORD, k_1 + _KEY_STEPS[1] & _WORD
    return c_0, c_1, c_2, c_3


def normal(seeds: torch.Tensor, stream: torch.Tensor, num: int) -> torch.Tensor:
    """Standard normal numbers (B, num) float32; each depends on seed, stream and column alone.

    seeds: (B,) int64 and stream: () int64 are at least 0. Column p is word p % 4 of block p // 4;
    pairs of words (a, b) become sqrt(-2 ln((a + 1/2) / 2^32)) times the cosine, then the sine, of
    2 pi b / 2^32, in float32.
    """
    block = torch.arange(-(-num // 4), device=seeds.device)
    key = (seeds & _WORD)[:, None], (seeds >> 32 & _WORD)[:, None]
    counter = block & _WORD, block >> 32, stream & _WORD, stream >> 32
    found = []
    words = philox(counter, key)
    for a, b in (words[:2], words[2:]):
        # Not below 0 where a device's logarithm is a little above it.
        radius = (((a.float() + 0.5) * 2.0**-32).log() * -2.0).clamp_min(0.0).sqrt()
        angle = b.float() * (2.0 * math.pi / 2.0**32)
        found += [radius * angle.cos(), radius * angle.sin()]
    return torch.stack(found, dim=-1).flatten(1)[:, :num]


class DeviceNoise:
    """Noise (len(seeds), *shape) float32 of these samples' streams, drawn on a device.

    All that it needs lies there beforehand, so that to ask for noise is not to wait for the device.
    draw: `normal`, or the same compiled.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        streams: Sequence[int],
        device: torch.device,
        draw: Draw = normal,
    ) -> None:
        self.seeds = torch.tensor(seeds, dtype=torch.int64).to(device)
        self.streams = dict(zip(streams, torch.tensor(streams).to(device).unbind(), strict=True))
        self.shape = tuple(shape)
        self.draw = draw

    def __call__(self, stream: int) -> torch.Tensor:
        """The noise of one of the streams."""
        numbers = self.draw(self.seeds, self.streams[stream], math.prod(self.shape))
        return numbers.view(-1, *self.shape)

"""The lowest and highest hashes of the keys of a dataset, by its number of samples.

They tell at once by which shares one of two splits would have nothing. Each row is a sample whose
key has a hash below, or above, those of all samples before it: its number, and the first eight
bytes of the SHA-256 of its key, as a whole number with the most significant byte first.
"""

from bisect import bisect_left

NUM_SEARCHED = 1_000_000_000
"""So many samples were hashed for the rows."""
_LOWEST = (
    (0, 0xF120BB5698D520C5),
    (1, 0x7E09D41E8E197927),
    (2, 0x085F9E390A6D8EF9),
    (30, 0x032FBB5456082AFA),
    (106, 0x006F7BB55A3B0469),
    (1_346, 0x0013B1FAA1D7209B),
    (10_595, 0x000392FC220EB416),
    (29_955, 0x000162200A43E580),
    (97_969, 0x0000DEB2FDBD246B),
    (270_376, 0x0000D2ED5059B9F3),
    (346_215, 0x0000965702071E99),
    (350_280, 0x0000335EA76E3E53),
    (640_510, 0x000028E83BDC273E),
    (714_981, 0x00001C80D02242B8),
    (1_292_679, 0x000018E534AA9FBC),
    (2_492_962, 0x000014D4EAFF3492),
    (2_649_461, 0x00000FF687A25D5A),
    (3_040_358, 0x00000FD502F5BDB3),
    (3_835_903, 0x000003D0494E190F),
    (9_723_554, 0x000001A188029BE0),
    (10_823_660, 0x000000C2E5F086DE),
    (16_183_188, 0x000000294B66E208),
    (16_404_576, 0x00000011C7B51201),
    (426_479_724, 0x00000000690ED426),
)
_HIGHEST = (
    (0, 0xF120BB5698D520C5),
    (6, 0xFF3ED743A902E42B),
    (356, 0xFFE4962FC0B6E9C1),
    (4_370, 0xFFE5B2481B5F8E9D),
    (5_280, 0xFFF825ACF8C0B41E),
    (6_855, 0xFFFF6C6658ED7F52),
    (160_351, 0xFFFF8AEDD24AB3F0),
    (181_600, 0xFFFF9D6F68C999DB),
    (184_939, 0xFFFFE46B9CC09CB5),
    (1_110_448, 0xFFFFE857B1CC4DB6),
    (2_610_873, 0xFFFFF727938BB067),
    (5_740_115, 0xFFFFF727F4682502),
    (5_899_949, 0xFFFFFF4785D52D9B),
    (96_110_008, 0xFFFFFFE5318B3D0A),
    (99_242_241, 0xFFFFFFE7C162F7A5),
    (181_091_571, 0xFFFFFFFE3ED11A74),
)


def lowest(num: int) -> int:
    """The lowest hash of the keys of the first num samples, of the first NUM_SEARCHED at most."""
    return _LOWEST[bisect_left(_LOWEST, (num,)) - 1][1]


def highest(num: int) -> int:
    """The highest hash of the keys of the first num samples, of the first NUM_SEARCHED at most."""
    return _HIGHEST[bisect_left(_HIGHEST, (num,)) - 1][1]

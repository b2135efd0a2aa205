"""The toy domain's faces: cartoon faces as records of parameters, and their classes.

Lengths are in face units: the origin is the centre of the head, x points right and y down, and the
head is 1 unit from centre to side. At 32 pixels a unit is about 9 pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]  # a colour is (3,) in 0..255, a shape is (corners, 2) in face units

CLASSES: tuple[str, ...] = (
    "background", "skin", "hair", "eye", "brow", "nose", "mouth", "neck", "clothes",
    "glasses", "hat"
)  # fmt: skip
BACKGROUND, SKIN, HAIR, EYE, BROW, NOSE, MOUTH, NECK, CLOTHES, GLASSES, HAT = range(len(CLASSES))
PALETTE: tuple[tuple[int, int, int], ...] = (
    (38, 42, 54), (255, 205, 168), (146, 94, 70), (250, 250, 250), (84, 48, 110), (255, 140, 66),
    (230, 57, 86), (214, 156, 122), (66, 135, 245), (40, 190, 170), (255, 210, 63)
)  # fmt: skip

SKINS = "ffe0cf fbd0b0 f2bd94 e3a577 c98a5e a76b45 83502f 6b4029"
HAIRS = "2b2433 40292a 6a3f2c 94592f c9803a e8b95c b7452f 8f8c99 e9e2d6 3b4a7a d9688a 3f8f88"
IRISES = "4a2f23 7a4a26 3c7a57 2f6fb0 5a8fb8 6c5a9e"
BACKDROPS = "bfe3e0 cfe0f5 d9d2f0 f6d9dd f7e6b5 d5ebc8 8fc7c9 93b3e0 b5a3dc f2c866 9ccb93 4f6d8f"
CLOTHS = "e4572e f3a712 2e86ab 2a9d8f 6a4c93 ef6f8e 264653 f4f1ea 8ab17d d1495b 3d405b 7fb7e6"
FRAMES = "2d2a32 b23a48 2f5d8a 1f7a72 5b3b8f"


@dataclass(frozen=True, eq=False)
class Face:
    """Everything that tells one face from another; lengths in face units."""

    centre: Array  # of the head, in image sides
    scale: float  # image sides per face unit
    tilt: float  # radians
    turn: float  # sideways shift of the features
    light: Array  # unit vector towards the light
    jaw: Array  # narrowing, height of the chin
    eye: Array  # half width, half height
    gaze: Array
    brow: Array  # bend, slant
    nose: Array  # half width, half height
    smile: float  # half width
    side: float  # -1 or 1: the side on which the hair parts
    colours: dict[str, Array]
    backdrop: str
    hair: str
    fringe: str
    mouth: str
    outfit: str
    glasses: str
    hat: str


def sample_face(rng: np.random.Generator) -> Face:
    """Draw the parameters of one face."""

    def pick(**odds: float) -> str:
        return str(rng.choice(list(odds), p=list(odds.values())))

    def dye(codes: str, *names: str) -> dict[str, Array]:
        chosen = rng.choice(codes.split(), size=len(names), replace=False)
        dyes = zip(names, chosen, strict=True)
        return {name: rgb(code) + rng.normal(0.0, 4.0, 3) for name, code in dyes}

    angle = rng.uniform(-2.6, -0.54)
    return Face(
        centre=rng.uniform((0.465, 0.46), (0.535, 0.505)),
        scale=rng.uniform(0.26, 0.292),
        tilt=rng.uniform(-0.12, 0.12),
        turn=rng.uniform(-0.1, 0.1),
        light=np.array([np.cos(angle), np.sin(angle)]),
        jaw=rng.uniform((0.02, 1.02), (0.2, 1.14)),
        eye=rng.uniform((0.25, 0.27), (0.28, 0.34)),
        gaze=rng.uniform((-0.06, -0.02), (0.06, 0.04)),
        brow=rng.uniform((0.05, 0.0), (0.13, 0.08)),
        nose=rng.uniform((0.15, 0.14), (0.19, 0.17)),
        smile=rng.uniform(0.38, 0.48),
        side=rng.choice((-1.0, 1.0)),
        colours=dye(SKINS, "skin") | dye(HAIRS, "hair") | dye(IRISES, "iris") | dye(FRAMES, "frame")
        | dye(BACKDROPS, "back", "accent") | dye(CLOTHS, "cloth", "trim", "hat"),
        backdrop=pick(plain=0.55, disc=0.25, diagonal=0.2),
        hair=pick(short=0.2, spiky=0.13, bob=0.17, long=0.2, bun=0.12, curly=0.13, bald=0.05),
        fringe=pick(bangs=0.34, swept=0.33, parted=0.33),
        mouth=pick(smile=0.4, neutral=0.2, open=0.4),
        outfit=pick(crew=0.25, vee=0.2, shirt=0.25, striped=0.3),
        glasses=pick(none=0.78, round=0.13, square=0.09),
        hat=pick(none=0.78, beanie=0.09, cap=0.08, brim=0.05),
    )  # fmt: skip


def rgb(code: str) -> Array:
    return np.array(list(bytes.fromhex(code)), dtype=np.float64)

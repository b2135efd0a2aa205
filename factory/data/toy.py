"""Procedural cartoon faces with exact pixel labels: the toy domain of the factory.

A face is a frozen record of parameters, `Face`, sampled from (seed, index). It becomes a stack of
coloured shapes, each with a class, painted back to front onto ONE canvas of layer numbers at a
multiple of the wanted resolution. Looking a layer number up as a colour gives the image, looking it
up as a class gives the mask, so the two cannot disagree.

Shapes live in face units: the origin is the centre of the head, x points right and y down, and the
head is 1 unit from centre to side. At 32 pixels a unit is about 9 pixels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

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
WARMTH = np.array([1.15, 1.0, 0.8])  # lit sides turn warm, shaded sides cool
SHADING = np.array([0.06, 0.09, 0.15, 0.0, 0.1, 0.07, 0.0, 0.07, 0.1, 0.0, 0.12])  # per class
SUPERSAMPLING = 4

ANGLES = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
SPAN = np.linspace(-1.0, 1.0, 33)
DOME = np.sqrt(1.0 - SPAN**2)


class Layer(NamedTuple):
    """A filled polygon; with `inside` it paints only over what already has its class."""

    label: int
    colour: Array
    shape: Array
    inside: bool = False


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
    side: float  # -1 or 1: where the hair parts
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
        return {name: _rgb(code) + rng.normal(0.0, 4.0, 3) for name, code in dyes}

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


def _rgb(code: str) -> Array:
    return np.array(list(bytes.fromhex(code)), dtype=np.float64)


def _mix(colour: Array, code: str, amount: float) -> Array:
    return colour + amount * (_rgb(code) - colour)


def _tone(colour: Array, amount: float) -> Array:
    """Lighter (amount above 0) or darker (below 0)."""
    return _mix(colour, "fff8e8" if amount > 0.0 else "3e163a", abs(amount))


def _ellipse(x: float, y: float, rx: float, ry: float, power: float = 1.0) -> Array:
    """An ellipse, or with power below 1 a box with round corners."""
    outline: Array = np.sign(CIRCLE) * np.abs(CIRCLE) ** power * (rx, ry) + (x, y)
    return outline


def _between(x: Array, top: Array, bottom: Array) -> Array:
    """What lies between two curves over the same x."""
    upper, lower = np.stack([x, top], axis=1), np.stack([x, bottom], axis=1)
    return np.concatenate([upper, lower[::-1]])


def _stroke(x: float, y: float, half: float, bend: float, thick: float, slant: float = 0) -> Array:
    """A tapered stroke of width 2 * half whose middle is lifted by `bend`."""
    middle = y - bend * DOME**2 + slant * SPAN
    reach = 0.5 * thick * DOME**0.6
    return _between(x + half * SPAN, middle - reach, middle + reach)


def _cloud(x: float, y: float, radius: float, bumps: int, depth: float) -> Array:
    angle = np.linspace(0.0, 2.0 * np.pi, 12 * bumps, endpoint=False)
    length = radius * (1.0 - depth + depth * np.abs(np.sin(0.5 * bumps * angle)) ** 0.7)
    return np.stack([x + length * np.cos(angle), y + length * np.sin(angle)], axis=1)


def _backdrop(face: Face) -> list[Layer]:
    back, accent = face.colours["back"], face.colours["accent"]
    second = {
        "plain": [],
        "disc": [_ellipse(0.0, 0.1, 1.62, 1.62)],
        "diagonal": [np.array([(-6.0, 1.5 * face.side), (6.0, -1.5 * face.side), (0.0, 9.0)])],
    }[face.backdrop]
    everywhere = Layer(BACKGROUND, back, _ellipse(0.0, 0.0, 9.0, 9.0))
    return [
        everywhere,
        *(Layer(BACKGROUND, (back + accent) / 2, shape) for shape in second),
    ]


def _back_hair(face: Face) -> list[Layer]:
    colour = face.colours["hair"]
    shade, glow = _tone(colour, -0.16), _tone(colour, 0.2)
    if face.hair == "long":
        shapes = (_ellipse(0.0, -0.1, 1.24, 1.25), _ellipse(0.0, 0.85, 1.3, 1.15, 0.55))
        return [Layer(HAIR, shade, shape) for shape in shapes]
    if face.hair == "bob":
        return [Layer(HAIR, shade, _ellipse(0.0, 0.0, 1.28, 1.2, 0.8))]
    if face.hair == "curly":
        return [Layer(HAIR, shade, _cloud(0.0, -0.2, 1.45, 13, 0.13))]
    if face.hair == "bun" and face.hat == "none":
        spots = ((-0.85, -1.12), (0.85, -1.12)) if face.fringe == "bangs" else ((0.0, -1.38),)
        buns = [Layer(HAIR, colour, _ellipse(x, y, 0.42, 0.4)) for x, y in spots]
        return buns + [Layer(HAIR, glow, _stroke(x, y - 0.1, 0.24, 0.1, 0.12)) for x, y in spots]
    return []


def _body(face: Face) -> list[Layer]:
    cloth, trim, skin = (
        face.colours["cloth"],
        face.colours["trim"],
        face.colours["skin"],
    )
    shapes = [Layer(CLOTHES, cloth, _ellipse(0.0, 2.5, 1.6, 1.18, 0.75))]
    if face.outfit == "striped":
        bands = [_stroke(0.0, y, 2.0, 0.12, 0.17) for y in (1.6, 1.95, 2.3)]
        shapes += [Layer(CLOTHES, trim, band, inside=True) for band in bands]
    if face.outfit == "crew":
        shapes.append(Layer(CLOTHES, trim, _ellipse(0.0, 1.36, 0.62, 0.4)))
    bare = _tone(skin, -0.07)
    opening = _ellipse(0.0, 1.36, 0.44, 0.26)
    if face.outfit in ("vee", "shirt"):
        opening = np.array([(-0.44, 1.3), (0.44, 1.3), (0.0, 1.72)])
    shadow = _head(face) * (0.9, 1.0) + (-0.1 * face.light[0], 0.2)
    shapes += [
        Layer(NECK, bare, _ellipse(0.0, 1.1, 0.4, 0.48, 0.5)),
        Layer(NECK, bare, opening),
        Layer(NECK, _tone(skin, -0.27), shadow, inside=True),
    ]
    if face.outfit == "shirt":
        flap = np.array([(0.36, 1.18), (0.66, 1.34), (0.42, 1.82), (0.0, 1.7)])
        shapes += [Layer(CLOTHES, _tone(cloth, 0.45), flap * (s, 1.0)) for s in (-1.0, 1.0)]
    return shapes


def _head(face: Face) -> Array:
    x, y = _ellipse(0.0, 0.0, 1.0, 1.0, 0.93).T
    narrowing, chin = face.jaw
    width = x * (1.0 - narrowing * np.maximum(y, 0.0) ** 1.5)
    return np.stack([width, np.where(y > 0.0, chin, 1.1) * y], axis=1)


def _skull(face: Face) -> list[Layer]:
    skin, head = face.colours["skin"], _head(face)
    shade, blush = _tone(skin, -0.16), _mix(skin, "ec5c5c", 0.2)
    lit = head * 0.97 + face.light * (0.1, 0.07)
    cheeks = [_ellipse(face.turn + s * 0.64, 0.54, 0.19, 0.12) for s in (-1.0, 1.0)]
    return [
        *(Layer(SKIN, skin, _ellipse(s, 0.14, 0.2, 0.26)) for s in (-1.0, 1.0)),
        *(Layer(SKIN, shade, _ellipse(s * 1.02, 0.14, 0.1, 0.15)) for s in (-1.0, 1.0)),
        Layer(SKIN, shade, head),
        Layer(SKIN, skin, lit, inside=True),
        *(Layer(SKIN, blush, cheek, inside=True) for cheek in cheeks),
    ]


def _nose_and_mouth(face: Face) -> list[Layer]:
    skin, x, half = face.colours["skin"], face.turn, face.smile
    tip = _mix(_tone(skin, -0.1), "e05a44", 0.36)
    lips = _mix(_tone(skin, -0.2), "cf3450", 0.65)
    gleam = _ellipse(1.3 * x + 0.05 * face.light[0], 0.44, 0.06, 0.045)
    shapes = [
        Layer(NOSE, tip, _ellipse(1.3 * x, 0.48, *face.nose)),
        Layer(NOSE, _tone(tip, 0.3), gleam),
    ]
    if face.mouth == "smile":
        return [*shapes, Layer(MOUTH, lips, _stroke(x, 0.7, half, -0.18, 0.16))]
    if face.mouth == "neutral":
        return [*shapes, Layer(MOUTH, lips, _stroke(x, 0.8, 0.85 * half, -0.05, 0.17))]
    across, rim = x + half * SPAN, np.full_like(SPAN, 0.7)
    return [
        *shapes,
        Layer(MOUTH, _rgb("6e1a2c"), _between(across, rim, rim + 0.28 * DOME)),
        Layer(MOUTH, _rgb("fffcf6"), _between(across, rim, rim + 0.11 * DOME), inside=True),
        Layer(MOUTH, _rgb("e86068"), _ellipse(x, 0.97, 0.24, 0.12), inside=True),
    ]


def _eyes_and_brows(face: Face) -> list[Layer]:
    (wide, high), (bend, slant), hair = face.eye, face.brow, face.colours["hair"]
    brow = _tone(hair, -0.4) if hair.sum() > 260 else hair
    shapes = []
    for s in (-1.0, 1.0):
        x, y = face.turn + 0.43 * s, 0.01 - high - slant
        gx, gy = face.gaze + np.array([x, 0.12])
        shapes += [
            Layer(EYE, _rgb("33202c"), _ellipse(x, 0.06, wide + 0.03, high + 0.02)),
            Layer(EYE, _rgb("fcfbf8"), _ellipse(x, 0.14, wide, high)),
            Layer(EYE, face.colours["iris"], _ellipse(gx, gy, 0.19, 0.22), inside=True),
            Layer(EYE, _rgb("1c1622"), _ellipse(gx, gy, 0.11, 0.13), inside=True),
            Layer(
                EYE,
                _rgb("ffffff"),
                _ellipse(gx - 0.07, gy - 0.09, 0.07, 0.075),
                inside=True,
            ),
            Layer(BROW, brow, _stroke(x + 0.02 * s, y, 0.28, bend, 0.15, s * slant)),
        ]
    return shapes


def _fringe(face: Face) -> Array:
    """The hair on top of the head: a crown with a hairline below."""
    angle = np.linspace(np.pi, 2.0 * np.pi, 49)
    x = np.linspace(-1.0, 1.0, 49)
    lean = x * face.side
    radius = np.ones_like(x)
    if face.hair == "spiky":
        radius += 0.16 * np.abs((angle * 9.0 / np.pi) % 2.0 - 1.0) * -np.sin(angle)
        line = -0.7 + 0.22 * np.abs((4.0 * x) % 2.0 - 1.0)
    elif face.hair == "curly":
        radius += 0.1 * np.abs(np.sin(7.0 * angle)) ** 0.7
        line = -0.66 + 0.13 * np.abs(np.sin(9.0 * x))
    elif face.fringe == "bangs":
        line = -0.5 - 0.08 * x**2 + 0.04 * np.abs((5.0 * x) % 2.0 - 1.0)
    elif face.fringe == "swept":
        line = -0.66 + 0.28 * np.abs(lean + 0.45) ** 1.4
    else:
        line = -0.97 + 0.55 * np.abs(lean - 0.2) ** 0.8
    line += np.clip((np.abs(x) - 0.78) / 0.2, 0.0, 1.0) ** 2 * (0.02 - line)
    crown = np.stack([1.09 * radius * np.cos(angle), 1.18 * radius * np.sin(angle) - 0.08], axis=1)
    return np.concatenate([crown, np.stack([1.09 * x, line], axis=1)[::-1]])


def _front_hair(face: Face) -> list[Layer]:
    if face.hair == "bald":
        return []
    colour, fringe = face.colours["hair"], _fringe(face)
    length = {"long": 1.0, "bob": 0.7}.get(face.hair, 0.0)
    locks = [_ellipse(s * 1.05, length - 0.45, 0.19, length, 1.15) for s in (-1.0, 1.0) if length]
    glow = _stroke(0.3 * face.light[0], -0.78, 0.62, 0.22, 0.13)
    return [
        Layer(
            SKIN,
            _tone(face.colours["skin"], -0.24),
            fringe + np.array([0.0, 0.1]),
            inside=True,
        ),
        *(Layer(HAIR, colour, shape) for shape in (*locks, fringe)),
        Layer(HAIR, _tone(colour, 0.22), glow, inside=True),
    ]


def _glasses(face: Face) -> list[Layer]:
    if face.glasses == "none":
        return []
    power = 1.0 if face.glasses == "round" else 0.6
    shapes = [_ellipse(face.turn, 0.06, 0.16, 0.07, 0.5)]
    for s in (-1.0, 1.0):
        x, ear = face.turn + 0.44 * s, 1.02 * s
        outer, inner = (_ellipse(x, 0.12, r, 0.94 * r, power) for r in (0.44, 0.31))
        shapes.append(np.concatenate([outer, outer[:1], inner[:1], inner[::-1]]))
        shapes.append(_ellipse((x + 0.36 * s + ear) / 2, 0.06, abs(ear - x) / 2 - 0.18, 0.07, 0.5))
    return [Layer(GLASSES, face.colours["frame"], shape) for shape in shapes]


def _hat(face: Face) -> list[Layer]:
    colour, trim = face.colours["hat"], face.colours["trim"]
    dome = np.minimum(_ellipse(0.0, -0.6, 1.17, 0.95), (9.0, -0.6))
    if face.hat == "beanie":
        return [
            Layer(HAT, _tone(trim, 0.2), _cloud(0.0, -1.56, 0.27, 9, 0.2)),
            Layer(HAT, colour, dome),
            Layer(HAT, trim, _ellipse(0.0, -0.7, 1.22, 0.21, 0.5)),
        ]
    if face.hat == "cap":
        return [
            Layer(HAT, colour, dome),
            Layer(HAT, _tone(colour, 0.25), _ellipse(0.0, -0.7, 0.5, 0.8), inside=True),
            Layer(
                HAT,
                _tone(trim, -0.1),
                _ellipse(0.35 * face.side, -0.64, 1.14, 0.17, 0.8),
            ),
        ]
    if face.hat == "brim":
        return [
            Layer(
                HAT,
                colour,
                np.minimum(_ellipse(0.0, -0.8, 0.98, 0.75, 0.7), (9.0, -0.7)),
            ),
            Layer(HAT, trim, _ellipse(0.0, -0.82, 0.98, 0.2, 0.5)),
            Layer(HAT, _tone(colour, 0.1), _ellipse(0.0, -0.68, 1.55, 0.17)),
        ]
    return []


def layers(face: Face) -> list[Layer]:
    """The shapes of a face in face units, back to front."""
    cos, sin = np.cos(face.tilt), np.sin(face.tilt)
    rotation, nape = np.array([(cos, sin), (-sin, cos)]), np.array([0.0, 0.9])

    def tilted(*parts: list[Layer]) -> list[Layer]:
        shapes = [shape for part in parts for shape in part]
        return [s._replace(shape=(s.shape - nape) @ rotation + nape) for s in shapes]

    head = _skull(face), _nose_and_mouth(face), _front_hair(face), _eyes_and_brows(face)
    front = tilted(*head, _glasses(face), _hat(face))
    return [*_backdrop(face), *tilted(_back_hair(face)), *_body(face), *front]


def _paint(stack: list[Layer], face: Face, side: int) -> NDArray[np.uint8]:
    """The number of the topmost layer at every pixel of a (side, side) canvas."""
    canvas = Image.new("L", (side, side))
    for number, layer in enumerate(stack):
        corners = ((layer.shape * face.scale + face.centre) * side - 0.5).ravel().tolist()
        if not layer.inside:
            ImageDraw.Draw(canvas).polygon(corners, fill=number)
            continue
        stencil = Image.new("L", (side, side))
        ImageDraw.Draw(stencil).polygon(corners, fill=255)
        same = [255 if other.label == layer.label else 0 for other in stack]
        allowed = canvas.point(same + [0] * (256 - len(stack)))
        canvas.paste(number, mask=ImageChops.darker(stencil, allowed))
    return np.array(canvas)


def _majority(labels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The commonest class of every factor x factor block; of equals the lowest."""
    size = len(labels) // factor
    blocks = labels.reshape(size, factor, size, factor)
    counts = np.stack([(blocks == label).sum(axis=(1, 3)) for label in range(len(CLASSES))])
    winner: NDArray[np.intp] = counts.argmax(axis=0)
    return winner.astype(np.uint8)


def draw(seed: int, index: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw face `index` of `seed`; the same face at every size, up to pixel noise.

    Returns the image, (size, size, 3) uint8 in 0..255, and the mask, (size, size) uint8 of ids into
    `CLASSES`. Both depend on (seed, index, size) alone.
    """
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
    face = sample_face(rng)
    stack = layers(face)
    side = SUPERSAMPLING * size
    numbers = _paint(stack, face, side)
    labels = np.array([layer.label for layer in stack], dtype=np.uint8)
    colours = np.array([layer.colour for layer in stack], dtype=np.float32)

    x, y = ((np.arange(side) / side - face.centre[:, None]) / face.scale) * face.light[:, None]
    glow = np.clip(x + y[:, None], -1.5, 1.5)[..., None].astype(np.float32)
    gain = SHADING[labels, None] * WARMTH * colours
    shaded = colours[numbers] + glow * gain.astype(np.float32)[numbers]
    image = shaded.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean(axis=(1, 3))
    image += rng.normal(0.0, 1.5, image.shape)
    return image.round().clip(0, 255).astype(np.uint8), _majority(labels[numbers], SUPERSAMPLING)


def draw_many(
    seed: int, num: int, size: int, start: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Faces `start` .. `start + num - 1`: images (num, size, size, 3), masks (num, size, size)."""
    images = np.empty((num, size, size, 3), dtype=np.uint8)
    masks = np.empty((num, size, size), dtype=np.uint8)
    for row in range(num):
        images[row], masks[row] = draw(seed, start + row, size)
    return images, masks

"""The shapes of a toy face: coloured polygons with a class each, in face units, back to front."""

from typing import NamedTuple

import numpy as np

from factory.data.toy.faces import (
    BACKGROUND,
    BROW,
    CLOTHES,
    EYE,
    GLASSES,
    HAIR,
    HAT,
    MOUTH,
    NECK,
    NOSE,
    SKIN,
    Array,
    Face,
    rgb,
)

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


def _mix(colour: Array, code: str, amount: float) -> Array:
    return colour + amount * (rgb(code) - colour)


def _tone(colour: Array, amount: float) -> Array:
    """Lighter (amount above 0) or darker (below 0)."""
    return _mix(colour, "fff8e8" if amount > 0.0 else "3e163a", abs(amount))


def _ellipse(x: float, y: float, rx: float, ry: float, power: float = 1.0) -> Array:
    """An ellipse, or with power below 1 a box with round corners."""
    outline: Array = np.sign(CIRCLE) * np.abs(CIRCLE) ** power * (rx, ry) + (x, y)
    return outline


def _between(x: Array, top: Array, bottom: Array) -> Array:
    """The area between two curves over the same x."""
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
        Layer(MOUTH, rgb("6e1a2c"), _between(across, rim, rim + 0.28 * DOME)),
        Layer(MOUTH, rgb("fffcf6"), _between(across, rim, rim + 0.11 * DOME), inside=True),
        Layer(MOUTH, rgb("e86068"), _ellipse(x, 0.97, 0.24, 0.12), inside=True),
    ]


def _eyes_and_brows(face: Face) -> list[Layer]:
    (wide, high), (bend, slant), hair = face.eye, face.brow, face.colours["hair"]
    brow = _tone(hair, -0.4) if hair.sum() > 260 else hair
    shapes = []
    for s in (-1.0, 1.0):
        x, y = face.turn + 0.43 * s, 0.01 - high - slant
        gx, gy = face.gaze + np.array([x, 0.12])
        shapes += [
            Layer(EYE, rgb("33202c"), _ellipse(x, 0.06, wide + 0.03, high + 0.02)),
            Layer(EYE, rgb("fcfbf8"), _ellipse(x, 0.14, wide, high)),
            Layer(EYE, face.colours["iris"], _ellipse(gx, gy, 0.19, 0.22), inside=True),
            Layer(EYE, rgb("1c1622"), _ellipse(gx, gy, 0.11, 0.13), inside=True),
            Layer(
                EYE,
                rgb("ffffff"),
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

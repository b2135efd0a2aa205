"""Toy faces as pixels: cartoon faces with exact labels, drawn from a seed.

The shapes of a face are painted back to front onto ONE canvas of layer numbers at a multiple of the
wanted resolution. Looking a layer number up as a colour gives the image, looking it up as a class
gives the mask, so the two cannot disagree.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from factory.data.toy.faces import CLASSES, Face, sample_face
from factory.data.toy.shapes import Layer, layers

WARMTH = np.array([1.15, 1.0, 0.8])  # lit sides turn warm, shaded sides cool
SHADING = np.array([0.06, 0.09, 0.15, 0.0, 0.1, 0.07, 0.0, 0.07, 0.1, 0.0, 0.12])  # per class
SUPERSAMPLING = 4


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

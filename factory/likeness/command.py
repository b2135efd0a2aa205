"""`factory fingerprint`: what a DDPM's folder keeps of its training images, for DDPMs that were
trained elsewhere or by an older version."""

from collections.abc import Iterator

from factory import storage
from factory.config import Config, required
from factory.data.items import Source
from factory.data.loading import first_lines
from factory.data.passes import Pass
from factory.diffusion.checkpoints import Model, load_model
from factory.errors import UserError
from factory.images import UInt8
from factory.likeness.training_images import FILE, kept, write_training_images
from factory.progress import tracked
from factory.values import EMBEDDED


def check(config: Config) -> tuple[Model, Source]:
    """The DDPM and its training images; neither reads these nor writes. Raises UserError."""
    url = required(config, "models.ddpm_url", "data.unlabelled")
    source = required(config, "data.unlabelled")
    if url in EMBEDDED:
        raise UserError(
            f"models.ddpm_url: {url} is an embedded model, whose folder is the package's. Name a "
            "copy of it."
        )
    model = load_model(url)
    storage.check_writable(model.url)
    return model, source


def fingerprint(config: Config) -> str:
    """Writes the features of data.unlabelled into the DDPM's folder; returns the file's URL.

    Raises UserError with all images that cannot be read, and nothing is written; OSError.
    """
    model, source = check(config)
    reading = Pass(source, model.image_size, labelled=False, channels=model.channels)
    total = len(reading.items)
    write_training_images(model.url, _images(reading), total)
    return storage.join(model.url, FILE)


def _images(reading: Pass) -> Iterator[UInt8]:
    """Yields the images that are kept. Raises UserError in the end if any cannot be read."""
    total, numbers = len(reading.items), kept(len(reading.items))
    for i, pair in enumerate(tracked(reading.pairs(), "fingerprint", total, "images")):
        if i in numbers:
            yield pair.image
    _, problems = reading.outcome()
    if problems:
        raise UserError(first_lines(problems))

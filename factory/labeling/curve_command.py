"""What labels get better by more labelled images, as a command: `factory curve`."""

from factory import storage
from factory.config import Config, required
from factory.data.inspection import check_disjoint
from factory.data.loading import Labelled, read_labelled
from factory.diffusion.checkpoints import Model
from factory.errors import Problems, counted
from factory.labeling.commands import available_device, load_ddpm, room_on, tell_reading
from factory.labeling.curve import Material, fingerprint, material_of, measured
from factory.labeling.curve_outcome import (
    Curve,
    curve_of,
    read_fits,
    table,
    write_curve,
    write_fits,
)
from factory.labeling.curve_picture import picture
from factory.progress import tell


def check_curve(config: Config) -> Material:
    """Returns what a curve is measured with; writes nothing. Raises UserError."""
    model = load_ddpm(config, "data.labelled")
    problems = Problems()
    with problems.collected():
        labelled = read_labelled(
            required(config, "data.labelled"), model.image_size, model.channels
        )
    test = None
    with problems.collected():
        test = _test(model, config)
    with problems.collected():
        storage.check_writable(config.curve.url)
    problems.raise_if_any()
    with problems.collected():
        material = material_of(model, labelled, test, config)
    if test is not None:
        with problems.collected():
            check_disjoint(labelled, test)
    problems.raise_if_any()
    return material


def _test(model: Model, config: Config) -> Labelled | None:
    if config.data.test is None:
        return None
    return read_labelled(config.data.test, model.image_size, model.channels)


def curve(config: Config) -> list[str]:
    """Fits on few and on more labelled images, writes what it found; returns it as lines.

    Scores are kept as they come, and none is measured again. Raises UserError; OSError while
    writing.
    """
    found = measured_curve(check_curve(config), config)
    return [*table(found), *found.sentences(), config.curve.url]


def measured_curve(material: Material, config: Config) -> Curve:
    """Measures what is not known yet, and writes all. Raises UserError; OSError while writing."""
    tell_reading("curve | data.labelled", material.labelled, config)
    device, num_seeds = available_device(), config.curve.num_seeds
    identity = fingerprint(material, config, device)
    known, are_others = read_fits(config, identity)
    if are_others:
        tell(
            f"curve | the scores in {config.curve.url} are of other images, of another DDPM or "
            "other settings: all are measured anew"
        )
    numbers = ", ".join(f"{num:,}" for num in material.nums)
    tell(
        f"curve | {numbers} of {counted(len(material.labelled), 'labelled image')}, "
        f"{num_seeds} times each | measured on {len(material.test):,} of {material.test_key} | "
        f"on {device}"
    )
    with room_on(device, "curve.features_gib"):
        material.model.unet.to(device)
        for key, fit in measured(material, config, known):
            known[key] = fit
            write_fits(config, identity, known)
    found = curve_of(material, known, num_seeds)
    write_curve(config, found, picture(found, material.labelled.classes, in_page=False))
    return found

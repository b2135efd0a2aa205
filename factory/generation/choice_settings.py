"""What samples are chosen by, as a config and its models mean it."""

from collections.abc import Iterator

from factory import embedded
from factory.calibration import Calibration
from factory.config import GenerateConfig
from factory.errors import UserError, nearest
from factory.labeling.head import HeadConfig
from factory.likeness.nearest import unusual_distance
from factory.likeness.training_images import TrainingImages
from factory.shards.choice import Choice


def choice_of(
    generate: GenerateConfig,
    ensemble: HeadConfig,
    training: TrainingImages | None,
    is_embedded: bool = False,
) -> Choice | None:
    """What samples are chosen by; None if all that is drawn is taken. Raises UserError with all
    that could never be met.

    training: what is known of the images that the DDPM learned from. is_embedded: True of the
    DDPM of the package.
    """
    select, asked = generate.select, generate.min_training_distance
    if problems := [*_problems(generate, ensemble, training, is_embedded)]:
        raise UserError(problems)
    least = asked if asked != "unusual" else None
    if asked == "unusual":
        assert training is not None, "that is a problem"
        least = round(unusual_distance(training.own), 4)
    found = Choice(
        min_distance=least,
        min_expected_iou=select.min_expected_iou,
        keep=select.keep,
        at_least=select.at_least,
    )
    return None if found == Choice() else found


def _problems(
    generate: GenerateConfig,
    ensemble: HeadConfig,
    training: TrainingImages | None,
    is_embedded: bool,
) -> Iterator[str]:
    select = generate.select
    if generate.min_training_distance is not None and training is None:
        remedy = "Run `factory fingerprint` with them, then begin a dataset at another --out."
        if is_embedded:
            remedy = (
                "The embedded one lies in the package, which is not written to: name a DDPM of "
                f"your own, or copy {embedded.DDPM_URL}, run `factory fingerprint` with the copy "
                "as models.ddpm_url, and begin a dataset at another --out."
            )
        yield (
            "generate.min_training_distance: nothing is known of the images that the DDPM learned "
            f"from. {remedy}"
        )
    if select.keep is not None and select.keep * generate.max_draws < 1:
        yield (
            f"generate.select.keep: {select.keep:g} needs more than generate.max_draws = "
            f"{generate.max_draws} images a pair. Raise that."
        )
    yield from _iou_problems(select.min_expected_iou, ensemble)
    for name in sorted(set(select.at_least) - set(ensemble.class_names)):
        yield (
            f"generate.select.at_least: {name!r} is no class of the ensemble. "
            f"{nearest(name, ensemble.class_names)}"
        )
    if (total := sum(select.at_least.values())) > generate.num:
        yield (
            f"generate.select.at_least: asks for {total:,} pairs together, of generate.num = "
            f"{generate.num:,}. Raise that, or ask for less."
        )


def _iou_problems(asked: float | None, ensemble: HeadConfig) -> Iterator[str]:
    key, known = "generate.select.min_expected_iou", ensemble.calibration
    if asked is None:
        return
    if known is None:
        yield (
            f"{key}: the ensemble does not know which IoU to expect. Fit it anew with --set "
            "fit.calibration_folds=3, or keep a share with generate.select.keep."
        )
    elif (best := _best(known)) < asked:
        yield f"{key}: {asked:g} is more than the {best:.3g} that is expected at best. Lower it."


def _best(known: Calibration) -> float:
    """The largest IoU that is expected of any mask."""
    return known.iou_of_uncertainty(0.0) if known.classes is None else known.iou_of_classes([1.0])

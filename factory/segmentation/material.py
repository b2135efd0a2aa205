"""What a training of a segmentation network learns from, and is measured on."""

from dataclasses import dataclass, replace

from factory import storage
from factory.classes import Classes
from factory.config import Config, check_section, required
from factory.config.segment import SegmentConfig
from factory.data.inspection import check_disjoint
from factory.data.loading import Labelled, read_labelled
from factory.errors import Problems, UserError, counted
from factory.shards.columns import EXPECTED_IOU
from factory.shards.plan import Plan
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest, read_plan
from factory.shards.splits import TRAIN


@dataclass(frozen=True)
class Material:
    """All pairs of a training, real ones as they are, synthetic ones by the URL of their shards."""

    classes: Classes
    image_size: int
    num_channels: int
    dataset_url: str | None
    """The shards of synthetic pairs; None: none are learned from."""
    real: Labelled | None
    """Real pairs to learn from; None: none are."""
    test: Labelled | None
    """Real pairs to measure on; None: nothing is measured."""
    num_synthetic: int = 0
    """The synthetic pairs that are learned from: those of the split and within the bound."""

    def identity(self) -> dict[str, str]:
        """Hashes of what is learned from, by name. Raises UserError without the dataset."""
        return {
            "dataset": "none" if self.dataset_url is None else read_manifest(self.dataset_url).root,
            "data.labelled": "none" if self.real is None else self.real.digest(),
        }

    def copied(self) -> "Material":
        """The same with arrays that may be written to, which those that Ray hands over may not."""
        real, test = (each and each.copied() for each in (self.real, self.test))
        return replace(self, real=real, test=test)


def read_material(config: Config) -> Material:
    """Reads what the config names. Raises UserError for all that is wrong with it."""
    settings = config.segment
    check_section(config, "segment")
    has_labelled = config.data.labelled is not None
    plan = _plan(config) if settings.learns_from("synthetic", has_labelled) else None
    if plan is None:
        required(config, "data.labelled", "data.image_size")
    size = config.data.side if plan is None else int(plan.recipe["image_size"])
    channels = config.data.num_channels if plan is None else plan.channels
    problems, real, test = Problems(), None, None
    if settings.learns_from("real", has_labelled):
        with problems.collected():
            real = read_labelled(required(config, "data.labelled"), size, channels)
    if config.data.test is not None:
        with problems.collected():
            test = read_labelled(config.data.test, size, channels)
    problems.raise_if_any()
    classes = _classes(settings, plan, real)
    for name, labelled in (("data.labelled", real), ("data.test", test)):
        if labelled is not None and labelled.classes.names != classes.names:
            problems.add(
                f"{name}: its classes {list(labelled.classes.names)} are not those of "
                f"{settings.dataset_url}, {list(classes.names)}. Name what belongs together."
            )
    problems.raise_if_any()
    if real is not None and test is not None:
        check_disjoint(real, test)
    url = None if plan is None else settings.dataset_url
    material = Material(classes, size, channels, url, real, test)
    shards = open_shards(settings, material, 0, settings.num_workers)
    return material if shards is None else replace(material, num_synthetic=shards.num_kept)


def _plan(config: Config) -> Plan:
    """The plan of the finished dataset, whose pairs must be of one size. Raises UserError."""
    settings = config.segment
    url = settings.dataset_url
    plan = read_manifest(url).plan
    if plan.recipe.get("at") == "original":
        raise UserError(
            f"segment.dataset_url: images and masks of {url} have sizes of their own. Label them "
            "with label.at=model, or export them and train elsewhere."
        )
    if storage.lies_in(settings.url, url):
        raise UserError(
            f"segment.url: {settings.url} lies in the dataset {url}. Name a place beside it."
        )
    return plan


def _classes(settings: SegmentConfig, plan: Plan | None, real: Labelled | None) -> Classes:
    if plan is not None:
        return plan.classes
    assert real is not None, "without shards, real pairs are learned from"
    return real.classes


def open_shards(
    settings: SegmentConfig, material: Material, rank: int, num_ranks: int
) -> ShardDataset | None:
    """The synthetic pairs of a rank, shuffled; None if none are learned from. Raises UserError."""
    if (url := material.dataset_url) is None:
        return None
    plan = read_plan(url)
    knows = plan.calibration is not None
    return ShardDataset(
        url,
        split=None if plan.val_fraction is None else TRAIN,
        columns=[EXPECTED_IOU] if knows else [],
        min_expected_iou=settings.min_expected_iou,
        shuffle=True,
        seed=settings.seed,
        rank=rank,
        world_size=num_ranks,
    )


def described(material: Material) -> str:
    """What is learned from, in words."""
    parts = []
    if material.dataset_url is not None:
        pairs = counted(material.num_synthetic, "synthetic pair")
        parts.append(f"{pairs} of {material.dataset_url}")
    if material.real is not None:
        parts.append(f"{counted(len(material.real), 'real pair')}")
    return " and ".join(parts)

"""`factory prove`: whether the pairs of a dataset are worth training on, by training on them."""

import hashlib
import json
from dataclasses import dataclass, replace

from factory import storage, worker_group
from factory.config import Config, SegmentConfig, required
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import Problems, UserError, counted, shown
from factory.generation import command as datasets
from factory.labeling import commands, evaluation
from factory.labeling.head import Head
from factory.progress import tell
from factory.proving.conditions import ENSEMBLE, TRAINED
from factory.proving.materials import Materials
from factory.proving.proof import Proof
from factory.proving.runs import run_of, settings_of
from factory.proving.trainings import scores_of
from factory.scores import Score
from factory.segmentation.material import Material, open_shards, read_material
from factory.segmentation.networks import check_network
from factory.shards.layout import PROOF
from factory.shards.plan import Plan
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest, read_plan

_FOUND = "proof.json"


@dataclass(frozen=True)
class Given:
    """What is proven, and with what."""

    plan: Plan
    material: Material
    test: Labelled
    model: Model
    ensemble: Head
    pseudo: Config
    """The config by which unlabelled images get masks of the ensemble."""


def check(config: Config) -> Given:
    """Returns what is needed; raises UserError for all that would stop `prove`, and starts
    nothing."""
    required(
        config,
        *("data.labelled", "data.test", "data.unlabelled"),
        *("models.ddpm_url", "models.ensemble_url"),
    )
    problems, material = Problems(), None
    model, ensemble, ensemble_hash = commands.load_models(config)
    with problems.collected():
        storage.check_writable(config.prove.url)
    learned = config.model_copy(
        update={
            "segment": config.segment.model_copy(
                update={"pairs": "both", "dataset_url": config.prove.dataset_url}
            )
        }
    )
    with problems.collected():
        material = read_material(learned)
    problems.raise_if_any()
    assert material is not None and material.test is not None and material.dataset_url is not None
    plan = read_plan(material.dataset_url)
    if plan.recipe.get("ensemble_sha256") != ensemble_hash:
        raise UserError(
            f"prove.dataset_url: the masks of {material.dataset_url} are of another ensemble than "
            f"models.ensemble_url = {config.models.ensemble_url}. Name the one that labelled it, "
            "or a dataset that this one labelled."
        )
    evaluation.check_classes(ensemble, material.test)
    num_classes, size = len(material.classes), material.image_size
    check_network(config.segment, material.num_channels, num_classes, size)
    if config.prove.workers == "ray":
        worker_group.check_capacity(settings_of(config, 0))
    pseudo = _pseudo_config(config, plan)
    datasets.check(pseudo, "label")
    return Given(plan, material, material.test, model, ensemble, pseudo)


def prove(config: Config) -> list[str]:
    """Trains and measures what is not there yet, writes the proof; returns it as lines.

    Raises UserError before anything is started, TrainingFailed, GenerationFailed and OSError.
    """
    given = check(config)
    for note in given.test.notes:
        tell(f"prove | data.test: {shown(note)}")
    pseudo = datasets.label(given.pseudo)
    pseudo_url = given.pseudo.label.url
    _check_unseen(pseudo_url, given.test)
    materials = Materials(given.material, pseudo_url)
    scores = scores_of(config, materials, _hashes(materials, given.test, config.segment))
    whole = {**scores, ENSEMBLE: (_of_ensemble(config, given),)}
    assert given.material.real is not None and given.material.dataset_url is not None
    proof = Proof(
        dataset=read_manifest(given.material.dataset_url).root,
        classes=given.material.classes,
        num_real=len(given.material.real),
        num_synthetic=given.material.num_synthetic,
        num_pseudo=_num_used(config, given, pseudo.rows),
        num_test=len(given.test),
        num_steps=config.prove.num_steps,
        scores=whole,
    )
    _write(config, given.material.dataset_url, proof)
    test = counted(proof.num_test, "real image")
    told = f"Measured on {test} that none of them has seen, after {proof.num_steps:,} steps each."
    return [*proof.table(), told, *proof.verdict(), storage.join(config.prove.url, _FOUND)]


def _num_used(config: Config, given: Given, num: int) -> int:
    """How many of the unlabelled images are learned from."""
    if config.segment.min_expected_iou is None:
        return num
    material = replace(given.material, dataset_url=given.pseudo.label.url)
    shards = open_shards(config.segment, material, 0, 1)
    return num if shards is None else shards.num_kept


def _check_unseen(pseudo_url: str, test: Labelled) -> None:
    """Raises UserError where images to measure on are among those that are learned from."""
    known = {image.transpose(2, 0, 1).tobytes() for image in test.images}
    pairs = ShardDataset(pseudo_url, columns=[])
    if num := sum(row["image"].numpy().tobytes() in known for row in pairs):
        raise UserError(
            f"data.unlabelled: {counted(num, 'image')} of it are among data.test, and would be "
            "measured on though they were learned from. Leave them out, with names_url for one."
        )


def _pseudo_config(config: Config, plan: Plan) -> Config:
    """The config by which as many unlabelled images as there are pairs get masks, by the rules of
    the dataset's own; images or models that are others get a folder of their own."""
    source, num = required(config, "data.unlabelled"), plan.num
    few = min(num, source.num) if source.num is not None else num
    told = [source.model_dump_json(), few, plan.recipe, plan.class_names]
    name = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    label = config.label.model_copy(
        update={
            "url": storage.join(config.prove.url, f"pseudo-{name}"),
            "vote": plan.recipe["vote"],
            "precision": plan.recipe["precision"],
            "ignore_uncertainty": plan.recipe.get("ignored_above"),
            "source": source.model_copy(update={"num": few}),
            "at": "model",
            "format": "parquet",
            "score": False,
            "unreadable": "skip",
            "workers": config.prove.workers,
            "mask_column": "mask",
        }
    )
    return config.model_copy(update={"label": label})


def _hashes(
    materials: Materials, test: Labelled, settings: SegmentConfig
) -> dict[str, dict[str, str]]:
    """By kind of training, hashes of what it learns from and is measured on."""
    # A score depends on the precision, which the identity of a run leaves out.
    same = {"data.test": test.digest(), "segment.precision": settings.precision}
    return {kind: {**materials.of(kind).identity(), **same} for kind in TRAINED}


def _of_ensemble(config: Config, given: Given) -> Score:
    """The scores of the ensemble's own masks, kept as those of trainings are."""
    found = {"data.test": given.test.digest(), "ensemble": given.plan.recipe["ensemble_sha256"]}
    run = run_of(config, ENSEMBLE, 0, found)
    if (kept := run.kept) is not None:
        return kept
    device = commands.available_device()
    given.model.unet.to(device)
    given.ensemble.to(device)
    score = evaluation.evaluate(given.model, given.ensemble, given.test, config).soft
    run.keep(score)
    return score


def _write(config: Config, dataset_url: str, proof: Proof) -> None:
    """Writes the proof, and a copy to the dataset, for its report and its exports."""
    data = (json.dumps(proof.as_json(), indent=1) + "\n").encode()
    storage.write(storage.join(config.prove.url, _FOUND), data)
    try:
        storage.write(storage.join(dataset_url, PROOF), data)
    except OSError as error:
        tell(
            f"prove | {dataset_url}: takes no copy of the proof, so that its report does not show "
            f"it ({storage.describe(error)})"
        )

"""The table of the commands of `factory`: what each is for, its arguments, and what runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from factory import commands, dataset_commands
from factory.config import Config
from factory.config.presets import PRESETS

Options = Mapping[str, Mapping[str, Any]]
"""Arguments by name, each with what `ArgumentParser.add_argument` takes beside it."""


@dataclass(frozen=True)
class Command:
    """One command of `factory`."""

    name: str
    about: str
    run: Callable[..., int]
    """Does it and returns the exit code. Takes the config, or without check the arguments."""
    arguments: Options = field(default_factory=dict)
    check: Callable[[Config], object] | None = None
    """The check of --dry-run; it raises UserError for all that would stop the command."""
    takes_file: bool = False
    """True if run takes the file of the config, too, None without one."""


def _key(key: str, about: str) -> dict[str, Any]:
    """A flag that is the short name of a config key."""
    return {"dest": key, "metavar": "VALUE", "help": f"{about} ({key})"}


def _switch(key: str, about: str) -> dict[str, Any]:
    """A flag without a value that sets a config key to true."""
    return {"dest": key, "action": "store_const", "const": True, "help": f"{about} ({key})"}


def _option(about: str) -> dict[str, Any]:
    """A flag without a value that is not of a config."""
    return {"action": "store_const", "const": True, "help": about}


def _workers(section: str) -> Options:
    """The flags of a command that writes shards."""
    return {
        "--samples-per-shard": _key(f"{section}.samples_per_shard", "pairs a shard"),
        "--workers": _key(f"{section}.workers", "ray: a pool of actors; here: this process alone"),
        "--min-actors": _key(f"{section}.min_actors", "actors kept at least"),
        "--max-actors": _key(f"{section}.max_actors", "actors at most"),
    }


def _folder(url: str) -> dict[str, str]:
    """A source of all images below a folder."""
    return {"kind": "folder", "url": url}


_DDPM = _key("models.ddpm_url", "the DDPM's model folder")
_ENSEMBLE = _key("models.ensemble_url", "the ensemble's folder")
_PRESET = _key("preset", "image size, network and training: toy, 32px, 64px, 128px or 256px")
_DATASET: Options = {"url": {"help": "the dataset's folder or URL"}}
_LEVEL: Options = {
    "--level": {
        "choices": ("size", "hash", "decode"),
        "default": "hash",
        "help": "how closely shards are looked at",
    }
}
_LIST = [
    Command(
        "init",
        "look at folders of images and masks, and write a config for them",
        commands.init,
        {
            "folders": {
                "nargs": "*",
                "metavar": "FOLDER",
                "help": "folders, .zip archives or URLs; what they hold tells which is which",
            },
            "--out": {"required": True, "metavar": "FILE", "help": "the config: my.yaml"},
            "--unlabelled": {"metavar": "FOLDER", "help": "images that the DDPM learns from"},
            "--labelled": {"metavar": "FOLDER", "help": "images and masks to learn from"},
            "--test": {"metavar": "FOLDER", "help": "images and masks to measure on"},
            "--preset": {
                "choices": tuple(PRESETS),
                "help": "image size, network and training; absent: 64px, or 32px of small images",
            },
        },
    ),
    Command(
        "inspect",
        "check the images and masks of a config, naming every bad file",
        commands.inspect,
        {"--preset": _PRESET},
        commands.inspect,
        takes_file=True,
    ),
    Command(
        "train",
        "stage 1: fit the DDPM on unlabelled images with Ray Train",
        commands.train,
        {
            "--preset": _PRESET,
            "--out": _key("train.url", "the run's folder or URL"),
            "--num-steps": _key("train.num_steps", "optimiser steps"),
            "--num-workers": _key("train.num_workers", "Ray Train workers"),
            "--batch-size": _key("train.batch_size", "images a step, over all workers"),
            "--resume-anyway": _switch(
                "train.resume_anyway",
                "go on with other workers, precision or rates; no longer bit-equal",
            ),
        },
        commands.check_train,
    ),
    Command(
        "fingerprint",
        "keep in a DDPM's folder how its training images look, for generate to find copies",
        commands.fingerprint,
        {"--ddpm": _DDPM},
        commands.check_fingerprint,
    ),
    Command(
        "probe",
        "find the timesteps and blocks of the DDPM that carry the labels, for fit",
        commands.probe,
        {
            "--ddpm": _DDPM,
            "--out": _key("probe.url", "where scores, heat map and config are written"),
            "--num-passes": _key("probe.num_passes", "timesteps that are chosen at most"),
        },
        commands.check_probe,
    ),
    Command(
        "fit",
        "stage 2: fit the ensemble on few labelled images",
        commands.fit,
        {
            "--ddpm": _DDPM,
            "--out": _key("models.ensemble_url", "where the ensemble is written"),
            "--num-members": _key("fit.num_members", "members of the ensemble"),
        },
        commands.check_fit,
    ),
    Command(
        "evaluate",
        "measure the ensemble on labelled images that it has not seen",
        commands.evaluate,
        {
            "--ddpm": _DDPM,
            "--ensemble": _ENSEMBLE,
            "--out": _key("evaluate.url", "where scores and pictures are written"),
        },
        commands.check_evaluate,
    ),
    Command(
        "sample",
        "draw images of a DDPM without an ensemble, as PNG files and a sheet",
        commands.sample,
        {
            "--ddpm": _DDPM,
            "--num": _key("sample.num", "images to draw: 16, 10k"),
            "--out": _key("sample.url", "the folder or URL of the images"),
            "--seed": _key("generate.seed", "with the index, an image's identity"),
        },
        commands.check_sample,
    ),
    Command(
        "generate",
        "stage 3: make image/mask pairs with Ray Data actors",
        commands.generate,
        {
            "--ddpm": _DDPM,
            "--ensemble": _ENSEMBLE,
            "--num": _key("generate.num", "pairs to make: 1000, 1e6, 10k"),
            "--out": _key("generate.url", "the dataset's folder or URL"),
            "--format": _key("generate.format", "parquet or webdataset"),
            "--val-fraction": _key("generate.val_fraction", "the share for validation, by key"),
            **_workers("generate"),
            "--seed": _key("generate.seed", "with the index, a pair's identity"),
            "--extend": _switch(
                "generate.extend", "let a smaller dataset of this plan grow to --num"
            ),
        },
        commands.check_generate,
    ),
    Command(
        "label",
        "make masks, uncertainty and class shares for images of one's own",
        commands.label,
        {
            "label.source": {
                "metavar": "IMAGES",
                "nargs": "?",
                "type": _folder,
                "help": "a folder, a .zip, or a finished dataset of this factory (label.source)",
            },
            "--ddpm": _DDPM,
            "--ensemble": _ENSEMBLE,
            "--out": _key("label.url", "the dataset's folder or URL"),
            "--at": _key("label.at", "size of images and masks: model or original"),
            "--as": _key("label.format", "parquet, webdataset, or png: mask files alone"),
            **_workers("label"),
        },
        commands.check_label,
    ),
    Command(
        "segment",
        "train a small network on pairs with Ray Train: synthetic ones, real ones, or both",
        commands.segment,
        {
            "--dataset": _key("segment.dataset_url", "the finished dataset to learn from"),
            "--out": _key("segment.url", "the run's folder or URL"),
            "--pairs": _key("segment.pairs", "synthetic, real or both"),
            "--num-steps": _key("segment.num_steps", "optimiser steps"),
            "--num-workers": _key("segment.num_workers", "Ray Train workers"),
            "--batch-size": _key("segment.batch_size", "pairs a step, over all workers"),
            "--resume-anyway": _switch(
                "segment.resume_anyway",
                "go on with other workers, precision or rates; no longer bit-equal",
            ),
        },
        commands.check_segment,
    ),
    Command(
        "prove",
        "train on real pairs, synthetic ones and both, and tell whether the synthetic ones help",
        commands.prove,
        {
            "--ddpm": _DDPM,
            "--ensemble": _ENSEMBLE,
            "--dataset": _key("prove.dataset_url", "the finished dataset"),
            "--out": _key("prove.url", "where scores and verdict are written"),
            "--num-seeds": _key("prove.num_seeds", "trainings of each kind"),
            "--num-steps": _key("prove.num_steps", "optimiser steps of each training"),
            "--workers": _key("prove.workers", "ray: trainings side by side; here: one by one"),
        },
        commands.check_prove,
    ),
    Command(
        "import",
        "make a model folder of published weights (DiffuseSeg's network, or its ten MLPs)",
        commands.import_weights,
        {
            "source": {"help": "the network's file, or the folder of mlp_1_best.pt and so on"},
            "--out": {"required": True, "metavar": "FOLDER", "help": "the new folder or URL"},
            "--ddpm": {
                "metavar": "FOLDER",
                "help": "of MLPs: the imported network they belong to",
            },
            "--dry-run": {"action": "store_true", "help": "check everything, write nothing"},
        },
    ),
    Command(
        "report",
        "write report/index.html into a finished dataset",
        commands.report,
        {
            **_DATASET,
            "--num": {"default": "64", "help": "samples shown"},
            "--config": {
                "metavar": "FILE",
                "help": "compare with the unlabelled and labelled images of this config",
            },
        },
    ),
    Command(
        "export",
        "write a finished dataset as another tool reads it: folders, COCO, YOLO and others",
        commands.export,
        {
            **_DATASET,
            "--to": {
                "required": True,
                "metavar": "FORMAT",
                "help": "folder, imagefolder, coco, yolo, voc, cityscapes, parquet, webdataset "
                "or hub",
            },
            "--out": {"required": True, "metavar": "URL", "help": "an empty folder or URL"},
            "--val": {"metavar": "SHARE", "help": "the share for validation, by the pairs' keys"},
            "--keep": {"metavar": "SHARE", "help": "the share that is exported, by certainty"},
            "--min-expected-iou": {
                "metavar": "IOU",
                "help": "only masks of which this IoU is expected at least, such as 0.8",
            },
            "--split": {"metavar": "SPLIT", "help": "train or validation: that split alone"},
            "--polygons": _option("coco: polygons instead of runs of pixels"),
            "--instances": _option("coco: each connected region is an object of its own"),
            "--background": _option("coco, yolo: class 0 is a category, too, if it is background"),
            "--jpeg": _option("voc: images as JPEG, which loses detail, instead of PNG"),
            "--mask-column": {
                "metavar": "NAME",
                "help": "imagefolder, parquet, webdataset, hub: mask, label or annotation",
            },
            "--samples-per-shard": {
                "metavar": "NUM",
                "help": "parquet, webdataset, hub: pairs a file, instead of those of a shard",
            },
            "--shard-megabytes": {
                "metavar": "MB",
                "help": "parquet, webdataset, hub: what a file has at most, in 10^6 bytes",
            },
        },
    ),
    Command("status", "tell how far a dataset has come", dataset_commands.status, _DATASET),
    Command(
        "verify",
        "prove a dataset whole, or name every file that is not as it was written",
        dataset_commands.verify,
        {**_DATASET, **_LEVEL},
    ),
    Command(
        "repair",
        "make exactly the bad or missing files of a dataset again, byte for byte",
        dataset_commands.repair,
        {
            **_DATASET,
            **_LEVEL,
            "--config": {"metavar": "FILE", "help": "absent: the dataset's own config"},
            "--set": {
                "action": "append",
                "default": [],
                "metavar": "A.B=C",
                "help": "override a config key",
            },
        },
    ),
    Command(
        "gc",
        "delete what killed processes left behind, but no data",
        dataset_commands.gc,
        {**_DATASET, "--dry-run": {"action": "store_true", "help": "list, delete nothing"}},
    ),
]
COMMANDS = {command.name: command for command in _LIST}
"""All commands by name, in the order of the help."""

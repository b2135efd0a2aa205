"""The table of the commands of `factory`: what each is for, its arguments, and what runs it."""

from typing import Any

from factory import commands
from factory.command import Command, Options
from factory.config.presets import PRESETS
from factory.dataset_command_table import DATASET_COMMANDS


def _key(key: str, about: str) -> dict[str, Any]:
    """A flag that is the short name of a config key."""
    return {"dest": key, "metavar": "VALUE", "help": f"{about} ({key})"}


def _switch(key: str, about: str) -> dict[str, Any]:
    """A flag without a value that sets a config key to true."""
    return {"dest": key, "action": "store_const", "const": True, "help": f"{about} ({key})"}


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
        "curve",
        "measure what more labelled images are worth: fit on few, on more, on all",
        commands.curve,
        {
            "--ddpm": _DDPM,
            "--out": _key("curve.url", "where scores and the picture are written"),
            "--num-seeds": _key("curve.num_seeds", "times that each number is drawn and fitted"),
        },
        commands.check_curve,
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
        "suggest",
        "choose the images whose masks would teach most, packed for CVAT and Label Studio",
        commands.suggest,
        {
            "--ddpm": _DDPM,
            "--ensemble": _ENSEMBLE,
            "--num": _key("suggest.num", "images to suggest"),
            "--out": _key("suggest.url", "where images, masks and packages are written"),
        },
        commands.check_suggest,
    ),
    Command(
        "adopt",
        "take corrected masks of suggested images as labels, and tell what they teach",
        commands.adopt,
        {
            "adopt.masks": {
                "metavar": "MASKS",
                "nargs": "?",
                "help": "CVAT's or Label Studio's export, or a folder of PNG masks (adopt.masks)",
            },
            "--suggestions": _key("suggest.url", "the folder that suggest wrote"),
            "--ddpm": _DDPM,
            "--ensemble": _ENSEMBLE,
            "--out": _key("adopt.url", "where all labelled images and the ensemble are written"),
        },
        commands.check_adopt,
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
    *DATASET_COMMANDS,
]
COMMANDS = {command.name: command for command in _LIST}
"""All commands by name, in the order of the help."""

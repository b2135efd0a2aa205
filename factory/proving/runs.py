"""Trainings that are compared: each runs by itself, and its score is kept once it is there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from factory import storage
from factory.config import Config
from factory.config.segment import SegmentConfig
from factory.proving.proof import score_from, score_json
from factory.scores import Score
from factory.segmentation.alone import train_alone
from factory.segmentation.material import Material
from factory.segmentation.run_identity import identity
from factory.segmentation.scoring import score_of


@dataclass(frozen=True)
class Run:
    """One training, and where its score is kept."""

    kind: str
    seed: int
    url: str
    """The file of its score."""
    fingerprint: str
    """What tells it from a training on other pairs, or with other settings."""

    @property
    def kept(self) -> Score | None:
        """Its score if it is finished; None if it is not. Raises OSError."""
        try:
            content = json.loads(storage.read_bytes(self.url))
            return score_from(content) if content["fingerprint"] == self.fingerprint else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def keep(self, score: Score) -> None:
        """Writes its score. Raises OSError."""
        content = {"fingerprint": self.fingerprint, **score_json(score)}
        storage.write(self.url, (json.dumps(content) + "\n").encode())


def settings_of(config: Config, seed: int) -> SegmentConfig:
    """The settings of a training, the same for all kinds but for the seed."""
    return config.segment.model_copy(
        update={"num_steps": config.prove.num_steps, "seed": seed, "num_workers": 1}
    )


def run_of(config: Config, kind: str, seed: int, found: Mapping[str, str]) -> Run:
    """The run of a kind and a seed. found: hashes of what it learns from and is measured on."""
    content = identity(settings_of(config, seed), found)
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    url = storage.join(config.prove.url, "runs", f"{kind}-{seed}.json")
    return Run(kind, seed, url, fingerprint)


def score(settings: SegmentConfig, material: Material, device: torch.device) -> Score:
    """Trains, and measures on material.test."""
    assert material.test is not None, "it is checked before"
    return score_of(train_alone(settings, material, device), material.test)

"""Every key of the factory, with its default and what it means.

A config is one YAML file over the defaults; `--set a.b=c` and the short flags override it. Unknown
keys are refused, and all problems are reported at once. `data`, and the modules of the stages hold
the keys. Nothing here imports torch, so that a mistake is answered at once.
"""

from factory.config.curve import CurveConfig
from factory.config.data import DataConfig
from factory.config.fit import EvaluateConfig, FitConfig, ModelsConfig
from factory.config.generate import GenerateConfig
from factory.config.label import LabelConfig
from factory.config.loading import (
    config_tree,
    dump_config,
    load_config,
    parse_config,
    parse_override,
    parse_tree,
    read_tree,
)
from factory.config.probe import ProbeConfig
from factory.config.prove import ProveConfig
from factory.config.sample import SampleConfig
from factory.config.schema import Config, check_section, required, unet_problems
from factory.config.segment import SegmentConfig
from factory.config.shards import ShardsConfig
from factory.config.suggest import AdoptConfig, SuggestConfig
from factory.config.train import DiffusionConfig, PredictionType, TrainConfig, UNetConfig

__all__ = [
    "AdoptConfig",
    "Config",
    "CurveConfig",
    "DataConfig",
    "DiffusionConfig",
    "EvaluateConfig",
    "FitConfig",
    "GenerateConfig",
    "LabelConfig",
    "ModelsConfig",
    "PredictionType",
    "ProbeConfig",
    "ProveConfig",
    "SampleConfig",
    "SegmentConfig",
    "ShardsConfig",
    "SuggestConfig",
    "TrainConfig",
    "UNetConfig",
    "check_section",
    "config_tree",
    "dump_config",
    "load_config",
    "parse_config",
    "parse_override",
    "parse_tree",
    "read_tree",
    "required",
    "unet_problems",
]

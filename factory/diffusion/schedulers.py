"""Reads a model's `scheduler_config.json`: the noise schedule that it was trained with.

Samplers are ours: how a scheduler of diffusers would sample (its steps, their spacing, its solver)
decides nothing here. What it says of the training, and of clipping, is kept or refused.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from factory.config import DiffusionConfig, PredictionType
from factory.diffusion.fields import KIND, refuse_differences, validated
from factory.diffusion.folders import COPY
from factory.errors import Problems, UserError


@dataclass(frozen=True)
class _Defaults:
    """The values that diffusers assumes for a scheduler whose config leaves them out."""

    betas: tuple[float, float] = (1e-4, 0.02)
    clips: bool = True
    """True also for schedulers without a setting for it: our samplers clip."""


_SHARP = _Defaults(betas=(0.00085, 0.012))
_SCHEDULERS = {
    "DDIMInverseScheduler": _Defaults(),
    "DDIMParallelScheduler": _Defaults(),
    "DDIMScheduler": _Defaults(),
    "DDPMParallelScheduler": _Defaults(),
    "DDPMScheduler": _Defaults(),
    "DEISMultistepScheduler": _Defaults(),
    "DPMSolverMultistepInverseScheduler": _Defaults(),
    "DPMSolverMultistepScheduler": _Defaults(),
    "DPMSolverSDEScheduler": _SHARP,
    "DPMSolverSinglestepScheduler": _Defaults(),
    "EulerAncestralDiscreteScheduler": _Defaults(),
    "EulerDiscreteScheduler": _Defaults(),
    # The name of DDPMScheduler in diffusers' first months.
    "GaussianDDPMScheduler": _Defaults(),
    "HeunDiscreteScheduler": _Defaults(_SHARP.betas, clips=False),
    "KDPM2AncestralDiscreteScheduler": _SHARP,
    "KDPM2DiscreteScheduler": _SHARP,
    "LMSDiscreteScheduler": _Defaults(),
    "PNDMScheduler": _Defaults(),
    "RePaintScheduler": _Defaults(),
    "SASolverScheduler": _Defaults(),
    "UniPCMultistepScheduler": _Defaults(),
}
"""Schedulers whose models are DDPMs over a table of betas. Others have the same fields, but mean
something else by them."""

_FIELDS: dict[str, tuple[Any, Any]] = {
    "beta_schedule": ("linear", "linear"),
    "trained_betas": (None, None),
    "rescale_betas_zero_snr": (False, False),
    "timestep_type": ("discrete", "discrete"),
    "use_flow_sigmas": (False, False),
}
_WRITTEN = ("beta_schedule", "trained_betas", "rescale_betas_zero_snr")
"""The fields that diffusers' DDPMScheduler has, which are written to model folders."""
_READ_FIELDS = {
    "prediction_type",
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "thresholding",
    "variance_type",
    "clip_sample",
    "clip_sample_range",
    # The names of diffusers' first months.
    "timesteps",
    "clip_predicted_image",
}
_SAMPLING_FIELDS = {
    *("steps_offset", "timestep_spacing", "set_alpha_to_one", "set_alpha_to_zero", "eta"),
    *("skip_prk_steps", "interpolation_type", "sigma_min", "sigma_max", "noise_sampler_seed"),
    *("solver_order", "solver_type", "solver_p", "algorithm_type", "lower_order_final"),
    *("euler_at_final", "final_sigmas_type", "lambda_min_clipped", "predict_x0", "tau_func"),
    *("predictor_order", "corrector_order", "disable_corrector"),
    *("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"),
    # Of thresholding and of flows, both of which are refused.
    *("sample_max_value", "dynamic_thresholding_ratio"),
    *("flow_shift", "use_dynamic_shifting", "time_shift_type", "shift_terminal"),
    # Of distilled models' schedulers, from whose configs others were made.
    *("original_inference_steps", "timestep_scaling"),
    # Of diffusers' first months.
    *("tensor_format", "timestep_values"),
}
"""Fields that say how diffusers would sample, or how it held its tables; they are passed over."""
_VARIANCES = (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")


def read_schedule(content: Mapping[str, Any], url: str) -> tuple[DiffusionConfig, float | None]:
    """The schedule, and the bound that x_0 is clipped to, as `Model` has both.

    Raises UserError with all that asks for something else than a DDPM's linear betas.
    """
    name = content.get("_class_name")
    if not isinstance(name, str) or name not in _SCHEDULERS:
        raise UserError(
            f"{url}: _class_name = {name!r} is not known to be the scheduler of a DDPM over a "
            f"table of betas. {KIND}"
        )
    defaults, problems = _SCHEDULERS[name], Problems()
    refuse_differences(content, _FIELDS, _READ_FIELDS | _SAMPLING_FIELDS, url, problems)
    kinds = get_args(PredictionType)
    if (kind := content.get("prediction_type", kinds[0])) not in kinds:
        problems.add(
            f"{url}: prediction_type = {kind!r} is another convention than ours "
            f"({' or '.join(map(repr, kinds))}). {KIND}"
        )
    if content.get("thresholding"):
        problems.add(
            f"{url}: thresholding = {content['thresholding']!r} is not implemented. Set it to "
            "false, and x_0 is clipped instead, which gives other images. Or use another model."
        )
    if content.get("variance_type") not in _VARIANCES:
        problems.add(
            f"{url}: variance_type = {content['variance_type']!r} needs a network that predicts "
            f"variances. {KIND}"
        )
    clip = _clip(content, defaults, url, problems)
    problems.raise_if_any()
    return _diffusion(content, defaults, url), clip


def _clip(
    content: Mapping[str, Any], defaults: _Defaults, url: str, problems: Problems
) -> float | None:
    # The second name is that of diffusers' first months.
    clips = content.get("clip_sample", content.get("clip_predicted_image", defaults.clips))
    reach = content.get("clip_sample_range", 1.0)
    if clips not in (True, False, None):
        problems.add(f"{url}: clip_sample = {clips!r} must be true or false. {COPY}")
    if type(reach) not in (int, float) or not 0 < reach <= sys.float_info.max:
        problems.add(f"{url}: clip_sample_range = {reach!r} must be a number above 0. {COPY}")
        return None
    return float(reach) if clips else None


def _diffusion(content: Mapping[str, Any], defaults: _Defaults, url: str) -> DiffusionConfig:
    fields = {
        "num_timesteps": content.get("num_train_timesteps", content.get("timesteps", 1000)),
        "beta_start": content.get("beta_start", defaults.betas[0]),
        "beta_end": content.get("beta_end", defaults.betas[1]),
        "prediction_type": content.get("prediction_type", "epsilon"),
    }
    diffusion = validated(DiffusionConfig, fields, url)
    if max(diffusion.beta_start, diffusion.beta_end) >= 1:
        raise UserError(f"{url}: beta_start and beta_end must be below 1. {COPY}")
    return diffusion


def schedule_json(diffusion: DiffusionConfig) -> dict[str, Any]:
    """The content of the file for a model that was trained here."""
    return {
        "_class_name": "DDPMScheduler",
        "_diffusers_version": "0.36.0",
        "num_train_timesteps": diffusion.num_timesteps,
        "beta_start": diffusion.beta_start,
        "beta_end": diffusion.beta_end,
        "prediction_type": diffusion.prediction_type,
        "variance_type": "fixed_small",
        "clip_sample": True,
        **{name: _FIELDS[name][0] for name in _WRITTEN},
    }

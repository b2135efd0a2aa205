"""Claims about factory.diffusion.schedulers, held against every scheduler that diffusers has."""

import inspect
import json
from types import ModuleType
from typing import Any

import pytest
import torch

from factory.config import DiffusionConfig
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.schedulers import read_schedule, schedule_json
from factory.errors import UserError

FILE = "scheduler_config.json"
READ = {
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "RePaintScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
}
"""Those whose networks are a DDPM's."""
REFUSED = (
    "CMStochasticIterativeScheduler",
    "CogVideoXDDIMScheduler",
    "DDPMWuerstchenScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "IPNDMScheduler",
    "KarrasVeScheduler",
    "LCMScheduler",
    "ScoreSdeVeScheduler",
    "ScoreSdeVpScheduler",
    "TCDScheduler",
    "UnCLIPScheduler",
    "VQDiffusionScheduler",
)
"""Some of the others, by name: the rest are those that diffusers has besides."""


def parameters(diffusers: ModuleType, name: str) -> dict[str, Any]:
    """{parameter: default}; empty where the class needs a package that is not there."""
    found = inspect.signature(getattr(diffusers, name).__init__).parameters
    defaults = {key: value.default for key, value in found.items() if key not in ("self", "kwargs")}
    return {} if "args" in defaults else defaults


def written(name: str, **fields: Any) -> dict[str, Any]:
    """A config of that class; its parameters' defaults are left out."""
    return {"_class_name": name, **fields}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(READ))
def test_a_ddpms_scheduler_that_says_nothing_means_what_it_means_to_diffusers(
    name: str, diffusers: ModuleType
) -> None:
    diffusion, clip = read_schedule(written(name), FILE)
    if not (defaults := parameters(diffusers, name)):
        pytest.skip(f"{name} needs a package that is not installed")
    assert diffusion.num_timesteps == defaults["num_train_timesteps"]
    assert (diffusion.beta_start, diffusion.beta_end) == (
        defaults["beta_start"],
        defaults["beta_end"],
    )
    # Where diffusers' own solver knows no clipping, ours clips.
    assert (clip is not None) == defaults.get("clip_sample", True)
    theirs = getattr(diffusers, name)()
    assert read_schedule(json.loads(theirs.to_json_string()), FILE) == (
        diffusion,
        clip,
    )
    ours = linear_schedule(diffusion).alpha_bars
    table = getattr(theirs, "alphas_cumprod", None)
    torch.testing.assert_close(ours.float(), table, atol=1e-6, rtol=1e-6)


def test_every_other_scheduler_of_diffusers_is_refused_by_name(diffusers: ModuleType) -> None:
    names = {name for name in dir(diffusers.schedulers) if name.endswith("Scheduler")}
    assert names >= READ
    others = sorted(names - READ | set(REFUSED))
    assert len(others) > 25
    for name in others:
        # With all that would make it look like a DDPM's.
        with pytest.raises(UserError, match=f"_class_name = '{name}' is not known"):
            read_schedule(schedule_json(DiffusionConfig()) | written(name), FILE)


@pytest.mark.parametrize("name", [None, "", "DDPM", "MyScheduler", 5, ["DDPMScheduler"]])
def test_an_unknown_or_missing_scheduler_is_refused(name: object) -> None:
    content = schedule_json(DiffusionConfig()) | {"_class_name": name}
    with pytest.raises(UserError, match="is not known to be the scheduler of a DDPM"):
        read_schedule(content, FILE)


@pytest.mark.parametrize("name", sorted(READ))
def test_no_parameter_that_concerns_the_training_is_overlooked(
    name: str, diffusers: ModuleType
) -> None:
    """Of each scheduler's parameters, the others only say how diffusers would sample."""
    concern_sampling = {
        "steps_offset", "timestep_spacing", "set_alpha_to_one", "skip_prk_steps", "kwargs", "eta",
        "solver_order", "solver_type", "solver_p", "algorithm_type", "lower_order_final",
        "euler_at_final", "final_sigmas_type", "lambda_min_clipped", "predict_x0",
        "disable_corrector", "predictor_order", "corrector_order", "tau_func",
        "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas",
        "interpolation_type", "sigma_min", "sigma_max", "noise_sampler_seed",
        # Of flows, whose sigmas are refused.
        "flow_shift", "use_dynamic_shifting", "time_shift_type", "shift_terminal",
        # Of thresholding, which is refused.
        "sample_max_value", "dynamic_thresholding_ratio",
    }  # fmt: skip
    kept_or_refused = {
        "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
        "prediction_type", "rescale_betas_zero_snr", "timestep_type", "use_flow_sigmas",
        "thresholding", "variance_type", "clip_sample", "clip_sample_range",
    }  # fmt: skip
    assert set(parameters(diffusers, name)) <= concern_sampling | kept_or_refused


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"beta_schedule": "scaled_linear"}, "beta_schedule = 'scaled_linear'"),
        ({"prediction_type": "sample"}, "prediction_type = 'sample'"),
        ({"trained_betas": [0.1, 0.2]}, r"trained_betas = \[0.1, 0.2\]"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr = True"),
        ({"timestep_type": "continuous"}, "timestep_type = 'continuous'"),
        ({"use_flow_sigmas": True}, "use_flow_sigmas = True"),
        ({"variance_type": "learned_range"}, "variance_type = 'learned_range'"),
        ({"thresholding": True}, "thresholding = True is not implemented. Set it to false"),
        ({"clip_sample": "no"}, "clip_sample = 'no' must be true or false"),
        ({"clip_sample_range": 0}, "clip_sample_range = 0 must be a number above 0"),
        ({"clip_sample_range": float("nan")}, "clip_sample_range = nan must be a number"),
        ({"clip_sample_range": None}, "clip_sample_range = None must be a number"),
        ({"clip_sample_range": 10**400}, "clip_sample_range = 10+ must be a number"),
    ],
)
def test_what_would_give_other_images_is_refused_by_name(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        read_schedule(schedule_json(DiffusionConfig()) | fields, FILE)
    assert len(refusal.value.problems) == 1


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ({"num_train_timestep": 1000}, "num_train_timesteps"),
        ({"beta_strat": 0.1}, "beta_start"),
        ({"predction_type": "sample"}, "prediction_type"),
        ({"clip_samples": False}, "clip_sample"),
        ({"beta_shedule": "scaled_linear"}, "beta_schedule"),
    ],
)
def test_a_misspelt_field_is_not_taken_for_an_absent_one(
    misspelt: dict[str, Any], meant: str
) -> None:
    with pytest.raises(UserError, match=f"is not implemented. If {meant} is meant, write that"):
        read_schedule(written("DDPMScheduler", **misspelt), FILE)


def test_a_field_that_nobody_knows_is_refused_and_one_that_is_off_is_not() -> None:
    with pytest.raises(UserError, match=r"betas = \[0.1, 0.2\] is not implemented"):
        read_schedule(written("DDPMScheduler", betas=[0.1, 0.2]), FILE)
    off = {"betas": None, "rescale_betas_zero_snr": None, "use_flow_sigmas": None}
    known = {"_diffusers_version": "0.1.1", "tensor_format": "pt", "skip_prk_steps": True}
    silent = read_schedule(written("DDPMScheduler"), FILE)
    assert read_schedule(written("DDPMScheduler", **off, **known), FILE) == silent


def test_all_that_is_wrong_is_told_at_once() -> None:
    content = written("DDIMScheduler", thresholding=True, prediction_type="sample", clip_sample=2)
    with pytest.raises(UserError) as refusal:
        read_schedule(content, FILE)
    assert len(refusal.value.problems) == 3


@pytest.mark.parametrize(
    ("fields", "clip"),
    [
        ({}, 1.0),
        ({"clip_sample": True}, 1.0),
        ({"clip_sample": False}, None),
        ({"clip_sample": None}, None),
        ({"clip_sample_range": 2}, 2.0),
        ({"clip_sample": False, "clip_sample_range": 2.0}, None),
        ({"clip_predicted_image": False}, None),
        # They say how x_0 is bounded where thresholding is on.
        ({"thresholding": False, "sample_max_value": 3.0}, 1.0),
    ],
)
def test_clipping_is_as_the_model_has_it(fields: dict[str, Any], clip: float | None) -> None:
    assert read_schedule(written("DDPMScheduler", **fields), FILE)[1] == clip

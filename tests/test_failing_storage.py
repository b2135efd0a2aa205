"""Claims about models and reports behind storage that fails now and then."""

import errno
from collections.abc import Callable

import pytest

from factory.diffusion.checkpoints import load_model, save_model
from factory.errors import UserError
from factory.generation.command import generate
from factory.labeling.heads import load_head, save_head
from factory.report import write_report
from tests.failing_storage import fail_calls


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """The first calls at each URL, so many of them, fail; returns the pauses between tries."""
    return lambda *arguments: fail_calls(monkeypatch, *arguments).pauses


def test_models_are_read_and_written_again_after_failed_calls(
    tiny_models, tmp_path, failing
) -> None:
    model = load_model(tiny_models["ddpm_url"])
    _, ensemble_hash = load_head(tiny_models["ensemble_url"], model.model_hash)
    pauses = failing(2)
    assert load_model(tiny_models["ddpm_url"]).model_hash == model.model_hash
    ensemble, again = load_head(tiny_models["ensemble_url"], model.model_hash)
    assert again == ensemble_hash and pauses
    save_model(model.unet, model.diffusion, 16, str(tmp_path / "ddpm"))
    save_head(ensemble, str(tmp_path / "ensemble"))
    assert load_model(str(tmp_path / "ddpm")).model_hash == model.model_hash
    assert load_head(str(tmp_path / "ensemble"), model.model_hash)[1] == ensemble_hash


def test_an_outage_is_no_mistake_of_the_model(tiny_models, failing) -> None:
    failing(99)
    message = r"cannot be reached now \(503 SlowDown\)\. .*same command again"
    with pytest.raises(UserError, match=message):
        load_model(tiny_models["ddpm_url"])
    with pytest.raises(UserError, match=message):
        load_head(tiny_models["ensemble_url"], "any")


def test_a_model_that_may_not_be_read_is_told_at_once(tiny_models, failing) -> None:
    pauses = failing(99, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        load_model(tiny_models["ddpm_url"])
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        load_head(tiny_models["ensemble_url"], "any")
    assert not pauses


@pytest.mark.slow
def test_a_report_is_written_in_spite_of_failed_calls(tiny_config, shards_made, failing) -> None:
    config = tiny_config(generate={"workers": "here", "num": 4})
    generate(config)
    pauses = failing(1)
    assert write_report(config.generate.url).endswith("index.html")
    assert pauses

"""Claims about factory.labeling.ensemble: K pixel classifiers as one network."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from factory import embedded
from factory.errors import UserError
from factory.labeling.ensemble import Ensemble
from factory.labeling.ensemble_fitting import members_loss
from factory.labeling.heads import WEIGHTS, load_head, save_head

MEMBERS, CLASSES = 3, 5
DDPM_HASH = "ab" * 32


def separate_mlps(ensemble: Ensemble) -> list[nn.Sequential]:
    """The paper's K networks, with the same weights."""
    config = ensemble.config
    h1, h2 = config.hidden
    members = []
    for k in range(MEMBERS):
        mlp = nn.Sequential(
            nn.Linear(config.descriptor_dim, h1), nn.ReLU(), nn.BatchNorm1d(h1),
            nn.Linear(h1, h2), nn.ReLU(), nn.BatchNorm1d(h2),
            nn.Linear(h2, CLASSES),
        )  # fmt: skip
        first, second = slice(k * h1, (k + 1) * h1), slice(k * h2, (k + 1) * h2)
        with torch.no_grad():
            mlp[0].weight.copy_(ensemble.linear_1.weight[first])
            mlp[0].bias.copy_(ensemble.linear_1.bias[first])
            for norm, ours, part in (
                (mlp[2], ensemble.norm_1, first),
                (mlp[5], ensemble.norm_2, second),
            ):
                for name, value in norm.state_dict().items():
                    if value.dim():
                        value.copy_(ours.state_dict()[name][part])
            mlp[3].weight.copy_(ensemble.weight_2[k].T)
            mlp[3].bias.copy_(ensemble.bias_2[k, 0])
            mlp[6].weight.copy_(ensemble.weight_3[k].T)
            mlp[6].bias.copy_(ensemble.bias_3[k, 0])
        members.append(mlp.train(ensemble.training))
    return members


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_grouped_network_equals_k_separate_mlps(ensemble: Ensemble, training: bool) -> None:
    ensemble.train(training)
    members = separate_mlps(ensemble)
    x = torch.randn(40, ensemble.config.descriptor_dim, generator=torch.Generator().manual_seed(2))
    logits = ensemble(x)
    assert logits.shape == (MEMBERS, 40, CLASSES)
    for k, mlp in enumerate(members):
        torch.testing.assert_close(logits[k], mlp(x), rtol=1e-4, atol=1e-4)
    for ours, index in ((ensemble.norm_1, 2), (ensemble.norm_2, 5)):
        for statistic in ("running_mean", "running_var"):
            theirs = torch.cat([getattr(mlp[index], statistic) for mlp in members])
            torch.testing.assert_close(getattr(ours, statistic), theirs)


def test_folding_the_normalisations_changes_nothing(ensemble: Ensemble) -> None:
    x = torch.randn(40, ensemble.config.descriptor_dim, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        folded = ensemble.folded()
        some = folded[1:3]
        torch.testing.assert_close(folded.logits(ensemble.linear_1(x)), ensemble(x))
        torch.testing.assert_close(
            some.logits(F.linear(x, some.weight_1, some.bias_1)), ensemble(x)[1:3]
        )


def test_every_member_gets_the_gradient_of_its_own_mean_loss(ensemble: Ensemble) -> None:
    ensemble.train()
    members = separate_mlps(ensemble)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, ensemble.config.descriptor_dim, generator=generator)
    labels = torch.randint(CLASSES, (40,), generator=generator)
    labels[::7] = 255
    members_loss(ensemble(x), labels).backward()
    for k, mlp in enumerate(members):
        F.cross_entropy(mlp(x), labels, ignore_index=255).backward()
        pairs = {
            "linear_1": (ensemble.linear_1.weight.grad.chunk(MEMBERS)[k], mlp[0].weight.grad),
            "norm_1": (ensemble.norm_1.weight.grad.chunk(MEMBERS)[k], mlp[2].weight.grad),
            "weight_2": (ensemble.weight_2.grad[k], mlp[3].weight.grad.T),
            "norm_2": (ensemble.norm_2.bias.grad.chunk(MEMBERS)[k], mlp[5].bias.grad),
            "weight_3": (ensemble.weight_3.grad[k], mlp[6].weight.grad.T),
            "bias_3": (ensemble.bias_3.grad[k, 0], mlp[6].bias.grad),
        }
        for name, (ours, theirs) in pairs.items():
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=name)
            assert ours.abs().max() > 0, name


def test_members_start_different(ensemble: Ensemble) -> None:
    fresh = Ensemble(ensemble.config).eval()
    logits = fresh(torch.randn(10, ensemble.config.descriptor_dim))
    assert not torch.allclose(logits[0], logits[1], atol=1e-2)


def test_folding_the_standardisation_equals_standardising_the_input(ensemble: Ensemble) -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(30, ensemble.config.descriptor_dim, generator=generator) * 3 + 2
    mean, deviation = x.mean(dim=0), x.std(dim=0)
    with torch.no_grad():
        wanted = ensemble((x - mean) / deviation)
        assert not torch.allclose(ensemble(x), wanted, atol=1e-2)
        ensemble.fold_standardisation(mean, deviation)
        torch.testing.assert_close(ensemble(x), wanted, rtol=1e-4, atol=1e-4)


def test_saved_and_loaded_it_is_the_same_to_the_bit(ensemble: Ensemble, tmp_path: Path) -> None:
    save_head(ensemble, str(tmp_path / "e"))
    loaded, content_hash = load_head(str(tmp_path / "e"), DDPM_HASH)
    assert loaded.config == ensemble.config and len(loaded.config.classes) == CLASSES
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    x = torch.randn(20, ensemble.config.descriptor_dim)
    with torch.no_grad():
        assert torch.equal(loaded(x), ensemble(x))
    assert content_hash == load_head(str(tmp_path / "e"), DDPM_HASH)[1]
    assert {p.name for p in (tmp_path / "e").iterdir()} == {"config.json", WEIGHTS}


def test_other_weights_have_another_hash(ensemble: Ensemble, tmp_path: Path) -> None:
    save_head(ensemble, str(tmp_path / "a"))
    with torch.no_grad():
        ensemble.bias_3[0, 0, 0] += 1e-3
    save_head(ensemble, str(tmp_path / "b"))
    hashes = {load_head(str(tmp_path / name), DDPM_HASH)[1] for name in "ab"}
    assert len(hashes) == 2


def test_bfloat16_halves_the_file_and_stays_close(ensemble: Ensemble, tmp_path: Path) -> None:
    save_head(ensemble, str(tmp_path / "full"))
    save_head(ensemble, str(tmp_path / "half"), torch.bfloat16)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.75 * sizes[0]
    loaded, _ = load_head(str(tmp_path / "half"), DDPM_HASH)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    x = torch.randn(200, ensemble.config.descriptor_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ours, theirs = loaded(x), ensemble(x)
    assert not torch.equal(ours, theirs)
    assert (ours - theirs).abs().mean() < 0.02 * theirs.abs().mean()


def test_another_ddpm_is_refused_naming_both(ensemble: Ensemble, tmp_path: Path) -> None:
    save_head(ensemble, str(tmp_path))
    with pytest.raises(UserError, match="another DDPM") as refusal:
        load_head(str(tmp_path), "cd" * 32)
    assert DDPM_HASH[:12] in str(refusal.value) and ("cd" * 6) in str(refusal.value)


@pytest.mark.parametrize("lost", ["config.json", WEIGHTS, "both"])
def test_a_folder_without_both_files_is_refused(
    ensemble: Ensemble, tmp_path: Path, lost: str
) -> None:
    save_head(ensemble, str(tmp_path))
    for name in ("config.json", WEIGHTS) if lost == "both" else (lost,):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"no ensemble.*factory fit"):
        load_head(str(tmp_path), DDPM_HASH)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe", b'{"class_names": ["a", "b"]}', b"[1, 2]"]
)
def test_a_config_that_is_no_ensembles_is_refused(
    ensemble: Ensemble, tmp_path: Path, data: bytes
) -> None:
    save_head(ensemble, str(tmp_path))
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(UserError, match=r"config\.json: not an ensemble's"):
        load_head(str(tmp_path), DDPM_HASH)


def test_an_unknown_key_in_the_config_is_refused(ensemble: Ensemble, tmp_path: Path) -> None:
    save_head(ensemble, str(tmp_path))
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "normalisation": "layer"}))
    with pytest.raises(UserError, match="not an ensemble's"):
        load_head(str(tmp_path), DDPM_HASH)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_truncated_weight_file_is_refused(ensemble: Ensemble, tmp_path: Path, cut: int) -> None:
    save_head(ensemble, str(tmp_path))
    file = tmp_path / WEIGHTS
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(UserError, match=f"{WEIGHTS}: damaged"):
        load_head(str(tmp_path), DDPM_HASH)


def test_every_bad_tensor_is_named_at_once(ensemble: Ensemble, tmp_path: Path) -> None:
    save_head(ensemble, str(tmp_path))
    tensors = load_file(tmp_path / WEIGHTS)
    del tensors["bias_2"]
    tensors["weight_3"] = tensors["weight_3"][:2].clone()
    tensors["linear_1.bias"][3] = float("nan")
    tensors["norm_2.running_var"][0] = float("inf")
    tensors["stranger"] = torch.zeros(1)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(UserError) as refusal:
        load_head(str(tmp_path), DDPM_HASH)
    problems = {line.split("tensor ")[1].split()[0]: line for line in refusal.value.problems}
    assert set(problems) == {
        "bias_2",
        "weight_3",
        "linear_1.bias",
        "norm_2.running_var",
        "stranger",
    }
    assert "is missing" in problems["bias_2"] and "is unknown" in problems["stranger"]
    assert "config.json says (3, 8, 5)" in problems["weight_3"]
    for name in ("linear_1.bias", "norm_2.running_var"):
        assert "not finite" in problems[name]


def test_the_embedded_ensemble_is_written_as_it_lies_there_byte_for_byte(tmp_path: Path) -> None:
    folder = Path(embedded.ENSEMBLE_URL)
    ddpm_hash = json.loads((folder / "config.json").read_text())["ddpm_hash"]
    head, content_hash = load_head(str(folder), ddpm_hash)
    save_head(head, str(tmp_path), torch.bfloat16)
    assert (tmp_path / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    weights = [load_file(path / WEIGHTS) for path in (tmp_path, folder)]
    assert weights[0].keys() == weights[1].keys() and len(content_hash) == 64


def test_a_folder_of_a_kind_of_head_that_nobody_knows_is_refused(
    ensemble: Ensemble, tmp_path: Path
) -> None:
    save_head(ensemble, str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"kind": "forest", **config}))
    with pytest.raises(UserError, match=r"not an ensemble's .* kind"):
        load_head(str(tmp_path), DDPM_HASH)

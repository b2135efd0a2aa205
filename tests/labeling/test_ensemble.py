"""Claims about factory.labeling.ensemble: K pixel classifiers as one network."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from factory.errors import UserError
from factory.labeling.ensemble import (
    WEIGHTS,
    Ensemble,
    EnsembleConfig,
    Labels,
    hard_vote,
    jensen_shannon,
    label_maps,
    load_ensemble,
    save_ensemble,
    soft_vote,
)
from factory.labeling.fitting import members_loss

MEMBERS, CLASSES, SIZE = 3, 5, 16
CHANNELS, HEIGHTS = (6, 4, 3, 6), (4, 8, 16, 8)  # maps out of order, resolutions repeated
DDPM_HASH = "ab" * 32

CONFIG = EnsembleConfig(
    class_names=("background", "skin", "hair", "eye", "mouth"),
    palette=((0, 0, 0), (250, 0, 0), (0, 250, 0), (0, 0, 250), (9, 9, 9)),
    image_size=SIZE,
    timesteps=(10, 40),
    blocks=(0, 1),
    noise_seed=0,
    descriptor_dim=sum(CHANNELS),
    num_members=MEMBERS,
    hidden=(12, 8),
    ddpm_hash=DDPM_HASH,
)


@pytest.fixture
def ensemble() -> Ensemble:
    """With biases and batch statistics that are not those of a fresh network."""
    torch.manual_seed(0)
    ensemble = Ensemble(CONFIG)
    for norm in (ensemble.norm_1, ensemble.norm_2):
        nn.init.normal_(norm.weight, 1.0, 0.3)
        nn.init.normal_(norm.bias, 0.0, 0.3)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    for bias in (ensemble.linear_1.bias, ensemble.bias_2, ensemble.bias_3):
        nn.init.normal_(bias)
    return ensemble.eval()


def random_maps(num_images: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = zip(CHANNELS, HEIGHTS, strict=True)
    return [torch.randn(num_images, c, h, h, generator=generator) for c, h in shapes]


def upsampled(maps: list[torch.Tensor]) -> torch.Tensor:
    """(B * S * S, D), as the paper's code makes them."""
    big = [F.interpolate(m, SIZE, mode="bilinear", align_corners=False) for m in maps]
    return torch.cat(big, dim=1).permute(0, 2, 3, 1).flatten(0, 2)


def separate_mlps(ensemble: Ensemble) -> list[nn.Sequential]:
    """The paper's K networks, with the same weights."""
    h1, h2 = CONFIG.hidden
    members = []
    for k in range(MEMBERS):
        mlp = nn.Sequential(
            nn.Linear(CONFIG.descriptor_dim, h1), nn.ReLU(), nn.BatchNorm1d(h1),
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


def test_project_then_upsample_equals_upsample_then_classify(ensemble: Ensemble) -> None:
    maps = random_maps(2)
    with torch.no_grad():
        wanted = ensemble(upsampled(maps))
        given = ensemble.logits_of_maps(maps, SIZE)
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)
    assert (given.argmax(-1) == wanted.argmax(-1)).double().mean() >= 0.9999
    assert len(wanted.argmax(-1).unique()) > 1


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_grouped_network_equals_k_separate_mlps(ensemble: Ensemble, training: bool) -> None:
    ensemble.train(training)
    members = separate_mlps(ensemble)
    x = torch.randn(40, CONFIG.descriptor_dim, generator=torch.Generator().manual_seed(2))
    logits = ensemble(x)
    assert logits.shape == (MEMBERS, 40, CLASSES)
    for k, mlp in enumerate(members):
        torch.testing.assert_close(logits[k], mlp(x), rtol=1e-4, atol=1e-4)
    for ours, index in ((ensemble.norm_1, 2), (ensemble.norm_2, 5)):
        for statistic in ("running_mean", "running_var"):
            theirs = torch.cat([getattr(mlp[index], statistic) for mlp in members])
            torch.testing.assert_close(getattr(ours, statistic), theirs)


def test_every_member_gets_the_gradient_of_its_own_mean_loss(ensemble: Ensemble) -> None:
    ensemble.train()
    members = separate_mlps(ensemble)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, CONFIG.descriptor_dim, generator=generator)
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
    fresh = Ensemble(CONFIG).eval()
    logits = fresh(torch.randn(10, CONFIG.descriptor_dim))
    assert not torch.allclose(logits[0], logits[1], atol=1e-2)


def test_folding_the_standardisation_equals_standardising_the_input(ensemble: Ensemble) -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(30, CONFIG.descriptor_dim, generator=generator) * 3 + 2
    mean, deviation = x.mean(dim=0), x.std(dim=0)
    with torch.no_grad():
        wanted = ensemble((x - mean) / deviation)
        assert not torch.allclose(ensemble(x), wanted, atol=1e-2)
        ensemble.fold_standardisation(mean, deviation)
        torch.testing.assert_close(ensemble(x), wanted, rtol=1e-4, atol=1e-4)


def test_the_hard_vote_is_the_majority_with_ties_to_the_smallest_id() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(4, 500, CLASSES, generator=generator)  # an even number: many ties
    forced = F.one_hot(torch.tensor([[4, 0], [2, 3], [4, 3], [2, 0]]), CLASSES).float() * 9
    logits = torch.cat([logits, forced], dim=1)
    wanted, ties = [], 0
    for ballots in logits.argmax(-1).T.tolist():
        counted = Counter(ballots)
        winners = [c for c, num in counted.items() if num == max(counted.values())]
        ties += len(winners) > 1
        wanted.append(min(winners))
    assert ties > 50 and wanted[-2:] == [2, 0]
    assert hard_vote(logits).tolist() == wanted


def test_the_soft_vote_is_the_largest_mean_probability() -> None:
    logits = torch.randn(4, 300, CLASSES, generator=torch.Generator().manual_seed(6)) * 3
    wanted = np.exp(logits.double().log_softmax(-1).numpy()).mean(axis=0).argmax(axis=-1)
    assert soft_vote(logits).tolist() == wanted.tolist()
    # One sure member outweighs two that hesitate; by majority it would lose.
    p = torch.tensor([[[0.02, 0.98]], [[0.55, 0.45]], [[0.55, 0.45]]])
    assert soft_vote(p.log()).tolist() == [1] and hard_vote(p.log()).tolist() == [0]


def test_members_that_agree_are_certain() -> None:
    one = torch.randn(1, 200, CLASSES, generator=torch.Generator().manual_seed(7)) * 4
    assert float(jensen_shannon(one.expand(6, -1, -1)).abs().max()) < 1e-6


def test_two_members_certain_of_different_classes_disagree_by_ln_2() -> None:
    logits = torch.full((2, 1, CLASSES), -200.0)
    logits[0, 0, 1] = logits[1, 0, 3] = 200.0
    assert float(jensen_shannon(logits)) == pytest.approx(math.log(2), abs=1e-6)


def test_disagreement_equals_a_reference_in_float64_and_stays_in_bounds() -> None:
    generator = torch.Generator().manual_seed(8)
    for scale in (0.1, 2.0, 30.0, 1000.0):
        logits = torch.randn(7, 300, CLASSES, generator=generator) * scale
        shifted = logits.double().numpy()
        shifted = shifted - shifted.max(axis=-1, keepdims=True)
        p = np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)

        def entropy(p: np.ndarray) -> np.ndarray:
            return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)

        given = jensen_shannon(logits).numpy()
        np.testing.assert_allclose(given, entropy(p.mean(0)) - entropy(p).mean(0), atol=3e-6)
        assert given.min() >= 0 and given.max() <= math.log(CLASSES) + 1e-6


def test_an_images_uncertainty_is_the_mean_of_its_most_uncertain_tenth() -> None:
    pixels = torch.randperm(200, generator=torch.Generator().manual_seed(9)).float()
    both = torch.stack([pixels.view(20, 10), 3 * pixels.view(20, 10)])
    labels = Labels(torch.zeros(2, 20, 10, dtype=torch.uint8), both)
    wanted = float(np.mean(range(180, 200)))
    assert labels.image_uncertainty().tolist() == pytest.approx([wanted, 3 * wanted])


@pytest.mark.parametrize("vote", ["hard", "soft"])
def test_a_batch_is_labelled_as_its_images_one_by_one(ensemble: Ensemble, vote: str) -> None:
    maps = random_maps(3)
    with torch.no_grad():
        together = label_maps(ensemble, maps, SIZE, vote)
        logits = ensemble.logits_of_maps(maps, SIZE)
    chosen = (hard_vote if vote == "hard" else soft_vote)(logits).view(3, SIZE, SIZE)
    assert together.masks.dtype == torch.uint8 and together.masks.shape == (3, SIZE, SIZE)
    assert (together.masks == chosen).double().mean() >= 0.999
    torch.testing.assert_close(
        together.uncertainty, jensen_shannon(logits).view(3, SIZE, SIZE), rtol=1e-4, atol=1e-5
    )
    for i in range(3):
        with torch.no_grad():
            alone = label_maps(ensemble, [m[i : i + 1] for m in maps], SIZE, vote)
        assert torch.equal(alone.masks[0], together.masks[i])
        assert torch.equal(alone.uncertainty[0], together.uncertainty[i])


def test_saved_and_loaded_it_is_the_same_to_the_bit(ensemble: Ensemble, tmp_path: Path) -> None:
    save_ensemble(ensemble, str(tmp_path / "e"))
    loaded, content_hash = load_ensemble(str(tmp_path / "e"), DDPM_HASH)
    assert loaded.config == CONFIG and loaded.config.classes.names == CONFIG.class_names
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    x = torch.randn(20, CONFIG.descriptor_dim)
    with torch.no_grad():
        assert torch.equal(loaded(x), ensemble(x))
    assert content_hash == load_ensemble(str(tmp_path / "e"), DDPM_HASH)[1]
    assert {p.name for p in (tmp_path / "e").iterdir()} == {"config.json", WEIGHTS}


def test_other_weights_have_another_hash(ensemble: Ensemble, tmp_path: Path) -> None:
    save_ensemble(ensemble, str(tmp_path / "a"))
    with torch.no_grad():
        ensemble.bias_3[0, 0, 0] += 1e-3
    save_ensemble(ensemble, str(tmp_path / "b"))
    hashes = {load_ensemble(str(tmp_path / name), DDPM_HASH)[1] for name in "ab"}
    assert len(hashes) == 2


def test_bfloat16_halves_the_file_and_stays_close(ensemble: Ensemble, tmp_path: Path) -> None:
    save_ensemble(ensemble, str(tmp_path / "full"))
    save_ensemble(ensemble, str(tmp_path / "half"), torch.bfloat16)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.75 * sizes[0]
    loaded, _ = load_ensemble(str(tmp_path / "half"), DDPM_HASH)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    x = torch.randn(200, CONFIG.descriptor_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ours, theirs = loaded(x), ensemble(x)
    assert not torch.equal(ours, theirs)
    assert (ours - theirs).abs().mean() < 0.02 * theirs.abs().mean()


def test_another_ddpm_is_refused_naming_both(ensemble: Ensemble, tmp_path: Path) -> None:
    save_ensemble(ensemble, str(tmp_path))
    with pytest.raises(UserError, match="another DDPM") as refusal:
        load_ensemble(str(tmp_path), "cd" * 32)
    assert DDPM_HASH[:12] in str(refusal.value) and ("cd" * 6) in str(refusal.value)


@pytest.mark.parametrize("lost", ["config.json", WEIGHTS, "both"])
def test_a_folder_without_both_files_is_refused(
    ensemble: Ensemble, tmp_path: Path, lost: str
) -> None:
    save_ensemble(ensemble, str(tmp_path))
    for name in ("config.json", WEIGHTS) if lost == "both" else (lost,):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"no ensemble.*factory fit"):
        load_ensemble(str(tmp_path), DDPM_HASH)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe", b'{"class_names": ["a", "b"]}', b"[1, 2]"]
)
def test_a_config_that_is_no_ensembles_is_refused(
    ensemble: Ensemble, tmp_path: Path, data: bytes
) -> None:
    save_ensemble(ensemble, str(tmp_path))
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(UserError, match=r"config\.json: not an ensemble's"):
        load_ensemble(str(tmp_path), DDPM_HASH)


def test_an_unknown_key_in_the_config_is_refused(ensemble: Ensemble, tmp_path: Path) -> None:
    save_ensemble(ensemble, str(tmp_path))
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "normalisation": "layer"}))
    with pytest.raises(UserError, match="not an ensemble's"):
        load_ensemble(str(tmp_path), DDPM_HASH)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_truncated_weight_file_is_refused(ensemble: Ensemble, tmp_path: Path, cut: int) -> None:
    save_ensemble(ensemble, str(tmp_path))
    file = tmp_path / WEIGHTS
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(UserError, match=f"{WEIGHTS}: damaged"):
        load_ensemble(str(tmp_path), DDPM_HASH)


def test_every_bad_tensor_is_named_at_once(ensemble: Ensemble, tmp_path: Path) -> None:
    save_ensemble(ensemble, str(tmp_path))
    tensors = load_file(tmp_path / WEIGHTS)
    del tensors["bias_2"]
    tensors["weight_3"] = tensors["weight_3"][:2].clone()
    tensors["linear_1.bias"][3] = float("nan")
    tensors["norm_2.running_var"][0] = float("inf")
    tensors["stranger"] = torch.zeros(1)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(UserError) as refusal:
        load_ensemble(str(tmp_path), DDPM_HASH)
    told = {line.split("tensor ")[1].split()[0]: line for line in refusal.value.problems}
    assert set(told) == {"bias_2", "weight_3", "linear_1.bias", "norm_2.running_var", "stranger"}
    for name in ("bias_2", "weight_3", "stranger"):
        assert "does not fit config.json" in told[name]
    for name in ("linear_1.bias", "norm_2.running_var"):
        assert "not finite" in told[name]

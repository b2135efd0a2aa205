import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from factory.cli import main
from factory.config import Config, dump_config
from factory.errors import UserError
from factory.segmentation.folder import load_network
from factory.segmentation.material import read_material
from factory.segmentation.scoring import score_of
from factory.segmentation.training import check, segment
from tests.diffusion.test_training import assert_equal, wait_until
from tests.documents import ROOT
from tests.ray_processes import TRAIN_WORKER


def tensors(config: Config) -> dict:
    """All tensors of the newest checkpoint and of the result."""
    folder = sorted((Path(config.segment.url) / "checkpoints").iterdir())[-1]
    assert json.loads((folder / "state.json").read_text())["step"] == config.segment.num_steps
    files = [*folder.glob("*.safetensors"), Path(config.segment.url) / "model/model.safetensors"]
    return {f"{file.stem}.{key}": value for file in files for key, value in load_file(file).items()}


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_run_that_loses_a_worker_ends_bit_equal_to_an_undisturbed_one_and_tells_true_scores(
    ray_session, ray_processes, segment_config, tmp_path
) -> None:
    keys = {"num_workers": 2, "num_steps": 40, "checkpoint_steps": 4}
    undisturbed = segment_config(url=str(tmp_path / "undisturbed"), **keys)
    url = segment(undisturbed)
    killed, hit = segment_config(url=str(tmp_path / "killed"), **keys), list[int]()

    def kill_a_worker() -> None:
        checkpoints = Path(killed.segment.url) / "checkpoints"
        wait_until(lambda: any(checkpoints.glob("step-*/sha256.json")))
        worker = ray_processes(TRAIN_WORKER)[-1]
        hit.append(worker.pid)
        worker.kill()

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    segment(killed)
    killer.join()
    assert hit
    assert_equal(tensors(undisturbed), tensors(killed))

    trained, test = load_network(url), read_material(undisturbed).test
    assert test is not None
    metrics = json.loads((Path(url) / "metrics.json").read_text())
    score = score_of(trained.network, test)
    assert metrics == {"num_images": 5, **score.as_json(test.classes)}
    assert np.array_equal(score.truth, np.bincount(test.masks.ravel(), minlength=len(test.classes)))
    assert {"README.md", "sheet.png"} <= {file.name for file in Path(url).iterdir()}


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_shards_on_s3_are_learned_from_as_they_are(ray_session, s3_bucket, segment_config) -> None:
    import fsspec

    local = segment_config()
    place = f"{s3_bucket}/segment/pairs"
    fsspec.filesystem("s3").put(local.segment.dataset_url, place, recursive=True)
    there = segment_config(
        dataset_url=place, url=f"{s3_bucket}/segment/run", num_steps=2, pairs="synthetic"
    )
    assert segment(there) == f"{s3_bucket}/segment/run/model"
    assert load_network(f"{s3_bucket}/segment/run/model").config.image_size == 16


def test_all_that_is_wrong_is_told_at_once_and_nothing_written(segment_config, tmp_path) -> None:
    config = segment_config(network="no_such_module:make", dataset_url=str(tmp_path / "none"))
    with pytest.raises(UserError) as refused:
        check(config)
    assert "no_such_module" in str(refused.value) and "no dataset" in str(refused.value)
    assert not Path(config.segment.url).exists()


def test_another_run_in_the_same_place_is_refused_by_what_differs(segment_config) -> None:
    from factory.segmentation.run_identity import note_beginning

    config = segment_config()
    note_beginning(config.segment, check(config).identity(), 0)
    check(config)
    other = segment_config(seed=1, real_share=0.25)
    with pytest.raises(UserError, match=r"(?s)real_share: there 0.5, here 0.25.*seed"):
        check(other)
    check(segment_config(pairs="both"))
    with pytest.raises(UserError, match=r'data\.labelled: there "[0-9a-f]+", here "none"'):
        check(segment_config(pairs="synthetic"))


def test_real_pairs_alone_need_no_dataset(segment_config, tmp_path) -> None:
    config = segment_config(pairs="real", dataset_url=str(tmp_path / "none"))
    material = check(config)
    assert material.dataset_url is None and material.image_size == 16


def test_the_command_refuses_with_exit_code_2(segment_config, tmp_path, capsys) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(segment_config(batch_size=1)))
    assert main(["segment", "--config", str(file), "--dry-run"]) == 2
    assert "segment.batch_size: must be at least 2" in capsys.readouterr().err


def test_the_example_in_plain_torch_trains_on_the_shards(pairs_url, tmp_path) -> None:
    out = tmp_path / "network.pt"
    script, steps = ROOT / "examples" / "train_on_shards.py", ["--steps=3", "--batch-size=2"]
    subprocess.run([sys.executable, script, pairs_url, out, *steps], check=True)
    assert torch.load(out, weights_only=True)["last.weight"].isfinite().all()

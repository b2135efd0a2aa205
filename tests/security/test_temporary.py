"""Claims about temporary files: what lies in temporary folders is nobody else's to read."""

import os
import stat
import tempfile
from pathlib import Path

import pytest
import torch

from factory import storage
from factory.config import parse_config
from factory.diffusion import run_checkpoints
from factory.diffusion.train_state import CHECKPOINT_FILES, new_state
from tests.folders import contents


def test_checkpoints_on_their_way_are_kept_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = {"block_out_channels": [8], "attention_levels": [], "norm_num_groups": 4}
    config = parse_config({"data": {"image_size": 16}, "train": {"unet": unet}})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []

    def ours() -> list[Path]:
        # Others, such as torch, put caches of their own beside.
        return list(tmp_path.glob("tmp*"))

    def look(*rest: object) -> None:
        seen.extend(stat.S_IMODE(folder.stat().st_mode) for folder in ours())

    original = storage.write
    monkeypatch.setattr(storage, "write", lambda url, data: (look(), original(url, data)))
    before = os.umask(0)
    try:
        run_checkpoints.save_checkpoint(
            new_state(config, torch.device("cpu")), "memory://box/checkpoints", num_to_keep=1
        )
        with run_checkpoints.on_this_machine("memory://box/checkpoints/step-0000000") as folder:
            look()
            assert set(contents(folder)) == set(CHECKPOINT_FILES)
    finally:
        os.umask(before)
    assert len(seen) > 1 and set(seen) == {0o700}
    assert not ours()

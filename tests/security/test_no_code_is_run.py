"""Claims about foreign files: nothing that one brings is ever run, whatever it is called."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from factory import embedded, png, report
from factory.config import load_config, parse_override
from factory.data import inspection
from factory.data.classes.class_files import read_rules
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.pairs import PairsSource
from factory.data.loading import read_images, read_labelled
from factory.diffusion.checkpoints import load_model
from factory.errors import DamagedShard, UnreadableImage, UserError
from factory.importing import import_weights
from factory.labeling.diffuseseg_mlps import load_mlps
from factory.labeling.heads import load_head
from factory.png import encode_png
from factory.shards import parquet, reading, webdataset
from factory.shards.ledger import Ledger
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_hardware, read_plan
from factory.values import EMBEDDED
from tests.security.artefacts import Artefact, make_all

MIN_ARTEFACTS = 20
IMAGE = encode_png(np.full((8, 8), 90, np.uint8))
MASK = encode_png(np.zeros((8, 8), np.uint8))


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "sings"


@pytest.fixture(scope="module")
def live(canary: Path) -> list[Artefact]:
    """The artefacts; each was seen to go off where it is read without care."""
    made = make_all(canary)
    assert len({artefact.data for artefact in made}) == len(made) >= MIN_ARTEFACTS
    for artefact in made:
        # What comes back need be nothing that its reader can use.
        with suppress(TypeError, AttributeError):
            artefact.careless(artefact.data)
        assert canary.is_dir(), f"{artefact.name} is a dud"
        canary.rmdir()
    return made


Quiet = Callable[..., None]
Tiny = dict[str, str]


@pytest.fixture
def quiet(canary: Path) -> Quiet:
    """Calls a loader, which may refuse as loaders do, and sees that no canary came of it."""

    def call(load: Callable[..., object], *arguments: object) -> None:
        with suppress(UserError, DamagedShard, UnreadableImage):
            load(*arguments)
        assert not canary.exists()

    return call


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "unet/config.json",
        "scheduler/scheduler_config.json",
        "model_index.json",
        "unet/unet.py",
    ],
)
def test_a_model_folder_runs_nothing(
    name: str, live: list[Artefact], quiet: Quiet, tiny_models: Tiny, tmp_path: Path
) -> None:
    shutil.copytree(tiny_models["ddpm_url"], tmp_path / "model")
    for artefact in live:
        put(tmp_path / "model" / name, artefact.data)
        quiet(load_model, str(tmp_path / "model"))


def test_a_model_folder_that_holds_pickles_alone_is_refused(
    live: list[Artefact], canary: Path, tiny_models: Tiny, tmp_path: Path
) -> None:
    shutil.copytree(tiny_models["ddpm_url"], tmp_path / "model")
    unet = tmp_path / "model" / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    for artefact in live:
        for end in ("bin", "pt", "pth", "ckpt"):
            put(unet / f"diffusion_pytorch_model.{end}", artefact.data)
        # torch.distributed.checkpoint's folder.
        put(unet / ".metadata", artefact.data)
        put(unet / "__0_0.distcp", artefact.data)
        with pytest.raises(UserError, match="Only safetensors are read"):
            load_model(str(tmp_path / "model"))
        assert not canary.exists()


@pytest.mark.parametrize("name", ["ensemble.safetensors", "config.json"])
def test_an_ensemble_runs_nothing(
    name: str, live: list[Artefact], quiet: Quiet, tiny_models: Tiny, tmp_path: Path
) -> None:
    model_hash = load_model(tiny_models["ddpm_url"]).model_hash
    shutil.copytree(tiny_models["ensemble_url"], tmp_path / "ensemble")
    load_head(str(tmp_path / "ensemble"), model_hash)
    for artefact in live:
        put(tmp_path / "ensemble" / name, artefact.data)
        quiet(load_head, str(tmp_path / "ensemble"), model_hash)


@pytest.mark.parametrize("end", ["pth", "safetensors"])
def test_imported_weights_run_nothing_and_are_refused(
    end: str, live: list[Artefact], canary: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / f"mlp_{i}_best.{end}" for i in range(1, 11)]
    for artefact in live:
        for path in paths:
            put(path, artefact.data)
        with pytest.raises(UserError):
            import_weights(str(paths[0]), str(tmp_path / "out"), None)
        with pytest.raises(UserError):
            load_mlps([str(path) for path in paths])
        assert not canary.exists()


@pytest.mark.parametrize("name", ["images/b.png", "masks/b.png", "classes.json", "names.json"])
def test_a_source_runs_nothing(
    name: str, live: list[Artefact], quiet: Quiet, tmp_path: Path
) -> None:
    for file in ("a.png", "b.png"):
        put(tmp_path / "images" / file, IMAGE)
        put(tmp_path / "masks" / file, MASK)
    put(tmp_path / "classes.json", b'["background", "face"]')
    put(tmp_path / "names.json", b'["a.png", "b.png"]')
    pairs = PairsSource(
        url=str(tmp_path),
        classes_url=str(tmp_path / "classes.json"),
        names_url=str(tmp_path / "names.json"),
    )
    folder = FolderSource(url=str(tmp_path / "images"))
    assert len(read_labelled(pairs, 8)) == 2
    for artefact in live:
        put(tmp_path / name, artefact.data)
        quiet(read_labelled, pairs, 8)
        quiet(inspection.inspect, pairs, 8, True)
        quiet(read_images, folder, 8)


def test_a_config_runs_nothing(live: list[Artefact], quiet: Quiet, tmp_path: Path) -> None:
    for artefact in live:
        text = artefact.data.decode("latin-1")
        quiet(load_config, str(put(tmp_path / "config.yaml", artefact.data)))
        quiet(parse_override, f"generate={text}")
        quiet(parse_override, f"generate.num={text}")
        quiet(load_config, None, [("generate.num", text), ("generate.url", text)])
        quiet(read_rules, text, "classes.json")


@pytest.fixture(params=["parquet", "webdataset"])
def dataset(request: pytest.FixtureRequest, make_dataset: Callable[..., str]) -> str:
    return make_dataset(format=request.param)


def test_a_shard_runs_nothing_and_is_refused(
    dataset: str, live: list[Artefact], canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With Ray comes a type of its own, which Arrow makes while it reads a schema.
    import ray.data  # noqa: F401

    shards: list[bytes] = []
    monkeypatch.setattr(reading, "read_shard", lambda url, receipt: shards[-1:])
    samples = ShardDataset(dataset)
    for artefact in live:
        shards.append(artefact.data)
        for read in (
            lambda data: [row.decoded() for row in parquet.rows(data)],
            lambda data: [row.decoded() for row in webdataset.rows(data)],
            png.decode_png,
        ):
            # Ray's type may choke on what it is given.
            with suppress(DamagedShard, UnreadableImage, AttributeError):
                read(artefact.data)
        for refused in (samples.__iter__, lambda: report.write_report(dataset)):
            with pytest.raises((DamagedShard, UserError, AttributeError)):
                list(refused())
        assert not canary.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["run.json", "manifest.json", "shards/00000.json", "env.json", "hardware.json"]
)
def test_a_ledger_runs_nothing(name: str, dataset: str, live: list[Artefact], quiet: Quiet) -> None:
    plan = read_plan(dataset)
    for artefact in live:
        put(Path(dataset) / "_factory" / name, artefact.data)
        quiet(Ledger(dataset, plan).pending)
        quiet(report.write_report, dataset)
        quiet(read_hardware, dataset)
        for partial in (False, True):
            quiet(lambda partial: list(ShardDataset(dataset, partial=partial)), partial)


def test_what_ships_with_the_package_holds_no_pickle() -> None:
    folders = [Path(embedded.ddpm_url(name)).parent for name in EMBEDDED]
    names = [path.name for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert names
    assert {Path(name).suffix for name in names} <= {".json", ".safetensors", ".md"}

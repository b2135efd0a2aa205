"""Claims about secrets: of ten that are planted, none is in what is written, printed or logged."""

import base64
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from factory.cli import main
from factory.config import Config, dump_config
from factory.generation.recipe import load_models, make_plan
from factory.generation.shard_maker import ShardMaker
from factory.generation.synthesizer import Synthesizer
from factory.shards.ledger import Ledger

IN_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIACANARY0000000001",
    "AWS_SECRET_ACCESS_KEY": "canary/02+wJalrXUtnFEMIK7MDENGbPxRfiCY",
    "AWS_SESSION_TOKEN": "canary03FwoGZXIvYXdzEBYaDH",
    "HF_TOKEN": "hf_canary04QwErTyUiOpAsDfGh",
    "AZURE_STORAGE_KEY": "canary05Zm9vYmFyYmF6cXV4",
    "DATABASE_PASSWORD": "canary06-correct-horse",
}
USERINFO = "canary07-of-userinfo"
SIGNATURE = "canary08ofasignature"
SAS = "canary09ofasas"
CONFIG_KEY = "canary10-of-a-config"
CANARIES = [*IN_ENVIRONMENT.values(), USERINFO, SIGNATURE, SAS, CONFIG_KEY]

URLS = [
    f"s3://key:{USERINFO}@bucket/x",
    f"https://user:{USERINFO}@host/x",
    f"zip://a.zip::s3://key:a/{USERINFO}@bucket/a.zip",
    f"s3://bucket/x?X-Amz-Signature={SIGNATURE}",
    f"az://container/x?sv=2026-01-01&sig={SAS}",
]


def singing(text: str | bytes) -> list[str]:
    """Returns the canaries that are in a text, also as parts of URLs or in base64."""
    data = text.encode() if isinstance(text, str) else text
    return [canary for canary in CANARIES if any(form in data for form in _forms(canary))]


def _forms(canary: str) -> list[bytes]:
    middle = [base64.b64encode(bytes(i) + canary.encode())[4:-4] for i in range(3)]
    return [
        canary.encode(),
        quote(canary, safe="").encode(),
        canary.encode().hex().encode(),
        *middle,
    ]


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IN_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def heard(capfd: pytest.CaptureFixture[str], logged: list[str]) -> Iterator[Callable[[], str]]:
    """Returns a function that gives what was printed and logged since its last call."""
    logging.root.setLevel(logging.DEBUG)

    def listen() -> str:
        printed = capfd.readouterr()
        return "\n".join([printed.out, printed.err, *logged])

    yield listen


@pytest.mark.parametrize("canary", CANARIES)
def test_a_canary_that_sings_is_heard(canary: str) -> None:
    assert singing(f"a {canary}.") == [canary]
    assert singing(f"https://host/?a={quote(canary, safe='')}&b") == [canary]
    assert singing(base64.b64encode(f"user:{canary}".encode())) == [canary]
    assert singing("nothing") == []


@pytest.fixture
def made(tiny_config: Callable[..., Config], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a dataset with all files that the command writes, made without Ray."""
    from factory.generation.command import _description, environment

    config = tiny_config(generate={"num": 4, "samples_per_shard": 2, "format": request.param})
    models = load_models(config)
    plan = make_plan(config, models)
    url = config.generate.url
    Ledger(url, plan).start(dump_config(config), environment())
    maker = ShardMaker(Synthesizer(models, plan), plan, url)
    for spec in plan.shards():
        maker.make(spec)
    Ledger(url, plan).finish(_description(config, plan), config.generate.license)
    return url


@pytest.mark.parametrize("made", ["parquet", "webdataset"], indirect=True)
def test_no_file_of_a_dataset_and_nothing_that_is_told_of_it_holds_a_secret(
    made: str, heard: Callable[[], str], tmp_path: Path
) -> None:
    for command in (["report", made], ["status", made], ["verify", made]):
        assert main(command) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"README.md", "index.html", "manifest.json", "env.json", "config.yaml"} <= {
        path.name for path in files
    }
    for path in files:
        assert not singing(path.read_bytes()), path
    assert not singing(heard())


@pytest.mark.parametrize("command", ["inspect", "train", "probe", "fit", "evaluate", "generate"])
def test_print_config_tells_no_secret(command: str, heard: Callable[[], str]) -> None:
    assert main([command, "--print-config"]) == 0
    output = heard()
    assert "ddpm_url" in output and not singing(output)


@pytest.mark.parametrize("key", ["secret", "generate.secret_key", "hf_token", "train.password"])
def test_a_secret_under_a_key_that_is_unknown_is_not_repeated(
    key: str, heard: Callable[[], str], tmp_path: Path
) -> None:
    section, _, name = key.rpartition(".")
    tree = {section: {name: CONFIG_KEY}} if section else {name: CONFIG_KEY}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    assert main(["generate", "--config", str(tmp_path / "config.yaml")]) == 2
    output = heard()
    assert f"{key}: unknown key" in output and not singing(output)


@pytest.mark.parametrize(
    "text",
    [
        f"[default]\naws_secret_access_key = {CONFIG_KEY}\n",
        f"AWS_SECRET_ACCESS_KEY={CONFIG_KEY}\n",
        f'["{CONFIG_KEY}"]',
        f"models: {{token: {CONFIG_KEY}, x: [}}\n",
        f"generate: {{url: ['{URLS[0]}']}}\n",
        f"generate: {{url: {{secret: {CONFIG_KEY}}}}}\n",
    ],
    ids=["profile", "env file", "list", "torn", "list for a url", "mapping for a url"],
)
def test_a_file_of_secrets_taken_for_a_config_is_not_repeated(
    text: str, heard: Callable[[], str], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert main(["generate", "--config", str(tmp_path / "config.yaml")]) == 2
    output = heard()
    assert str(tmp_path / "config.yaml") in output and not singing(output)


@pytest.mark.parametrize("text", [URLS[0], f"generate.url=[{URLS[0]}", f"generate.url={{{URLS[4]}"])
def test_an_override_that_is_none_is_not_repeated(text: str, heard: Callable[[], str]) -> None:
    assert main(["generate", "--set", text]) == 2
    assert not singing(heard())


def test_a_broken_model_or_source_tells_its_place_alone(
    tiny_models: dict[str, str], heard: Callable[[], str], tmp_path: Path
) -> None:
    shutil.copytree(tiny_models["ddpm_url"], tmp_path / "model")
    (tmp_path / "model" / "scheduler" / "scheduler_config.json").write_text("{")
    source = f"{{kind: folder, url: {tmp_path}/nothing}}"
    assert main(["generate", "--ddpm", str(tmp_path / "model"), "--dry-run"]) == 2
    arguments = "--set", "preset=32px", "--set", f"data.unlabelled={source}"
    assert main(["train", "--dry-run", *arguments]) == 2
    output = heard()
    assert f"{tmp_path}/model" in output and f"{tmp_path}/nothing" in output
    assert not singing(output)

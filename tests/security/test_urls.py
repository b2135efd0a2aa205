"""Rule S3: which places are opened, and which are refused before anything reaches for them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory import report, storage
from factory.config import load_config, parse_config
from factory.diffusion.checkpoints import load_model
from factory.errors import UserError
from factory.importing import read_ddpm
from factory.labeling.ensemble import load_ensemble
from factory.shards.ledger import read_plan
from factory.shards.reader import ShardDataset
from factory.storage import files

SECRET = "hunter2hunter2"

ACCEPTED = {
    "s3://bucket": "s3://bucket",
    "s3://bucket/": "s3://bucket",
    "s3://bucket/prefix": "s3://bucket/prefix",
    "s3://bucket/a/b/c.yaml": "s3://bucket/a/b/c.yaml",
    "s3://bucket/a b": "s3://bucket/a b",
    "s3://bucket/2026-11-24T10:00/run": "s3://bucket/2026-11-24T10:00/run",
    "gs://bucket/prefix/": "gs://bucket/prefix",
    "gcs://bucket/prefix": "gcs://bucket/prefix",
    "az://container/prefix": "az://container/prefix",
    "abfs://container/prefix": "abfs://container/prefix",
    "hf://datasets/user/name": "hf://datasets/user/name",
    "hf://datasets/user/name@v1.0/data": "hf://datasets/user/name@v1.0/data",
    "memory://a/b": "memory://a/b",
    "file:///data/images": "/data/images",
    "/data/images": "/data/images",
    "/data/images/": "/data/images",
    "/data/what?/100%/a@b": "/data/what?/100%/a@b",
    "/data/12:30/run": "/data/12:30/run",
    "/data/zwölf": "/data/zwölf",
    "out/run": "{here}/out/run",
    "./s3:": "{here}/s3:",
    "...": "{here}/...",
    "~/images": "{home}/images",
}

OTHER_PROTOCOLS = [
    "http://host/x",
    "https://host/x",
    "ftp://host/x",
    "sftp://host/x",
    "ssh://host/x",
    "smb://host/share",
    "github://owner:repo@main/x",
    "github://owner/repo",
    "git:///repo",
    "gist://user/id",
    "jupyter://localhost:8888/x",
    "dask://x",
    "reference://x",
    "kerchunk://x",
    "libarchive://a.zip",
    "zip://a.zip",
    "tar://a.tar",
    "simplecache://x",
    "filecache://x",
    "blockcache://x",
    "cached://x",
    "dir://x",
    "data://text/plain,x",
    "pipe://cat",
    "local:///etc/passwd",
    "dbfs://x",
    "hdfs://host/x",
    "webhdfs://host/x",
    "arrow_hdfs://host/x",
    "oci://x",
    "root://host/x",
    "abfss://container/x",
    "s3a://bucket/x",
    "s4://bucket/x",
    "gopher://host/x",
    "ldap://host/x",
    "javascript://x",
    "://x",
]
CHAINS = [
    "simplecache::s3://bucket/x",
    "filecache::https://host/x",
    "zip://a.txt::s3://bucket/a.zip",
    "zip::memory://a/b",
    "reference::/data/x.json",
    "reference::s3://bucket/x.json",
    "s3://bucket/x::http://host/y",
    "memory://a::reference",
    "/data/a::b.png",
    "a::zip",
    "::",
]
TRICKS = [
    "S3://bucket/x",
    "File:///etc/passwd",
    "HTTP://host/x",
    "sImPleCache::S3://bucket/x",
    " s3://bucket/x",
    "\uff53\uff13://bucket/x",
    "s3:/bucket/x",
    "s3:bucket/x",
    "http:/host/x",
    "pipe:cat /etc/passwd",
    "data:text/plain;base64,eA==",
    "javascript:alert(1)",
    "mailto:a.example",
    "C:\\data",
    "C:/data",
    "file://host/share",
    "file://localhost/etc/passwd",
    "file://etc/passwd",
    "file://",
    "s3://",
    "s3:///key",
    "gs://",
    "hf:///x",
    "s3://bucket/../other",
    "s3://bucket/a/..",
    "s3://../bucket",
    "memory://a/../../b",
    "s3://bucket/a\nb",
    "s3://bucket/a\r\nHost: evil",
    "s3://bucket/a\x00.png",
    "s3://bucket/\x1b[2J",
    "s3\n://bucket/x",
    "/data/a\nb",
    "/data/a\x00b",
    "/data/\u202egpj.exe",
    "~no-such-user-here/x",
    "",
    "   ",
    "\n",
]
WITH_SECRETS = [
    f"s3://key:{SECRET}@bucket/x",
    f"s3://{SECRET}@bucket/x",
    f"s3://AKIAX:ab/{SECRET}+c@bucket/x",
    f"s3://AKIAX:{SECRET}/x",
    f"s3:///key:{SECRET}@bucket",
    f"gs://{SECRET}@bucket/x",
    f"https://user:{SECRET}@host/x",
    f"http://user:pa?{SECRET}@host/x",
    f"ftp://user:{SECRET}@host/x",
    f"s3:key:{SECRET}@bucket",
    f"key:{SECRET}@bucket://x",
    f"zip://a.zip::s3://key:{SECRET}@bucket/a",
    f"zip://a.zip::s3://key:x/{SECRET}@bucket/a",
    f"simplecache::s3://key:{SECRET}@bucket/x",
    f"s3://bucket/x?X-Amz-Credential=AKIAX&X-Amz-Signature={SECRET}",
    f"s3://bucket/x?versionId=1&x-amz-security-token={SECRET}",
    f"https://bucket.s3.amazonaws.com/x?X-Amz-Signature={SECRET}",
    f"https://storage.googleapis.com/b/x?X-Goog-Signature={SECRET}",
    f"https://account.blob.core.windows.net/c/x?sv=2026-01-01&sig={SECRET}",
    f"az://container/x?sv=2026-01-01&sig={SECRET}",
    f"abfs://container@account.dfs.core.windows.net/x?sig={SECRET}",
    f"hf://datasets/user/name?token={SECRET}",
    f"s3://bucket/x?a=b@{SECRET}",
    f"s3://key:{SECRET}@bucket/\nx",
]
REFUSED = OTHER_PROTOCOLS + CHAINS + TRICKS + WITH_SECRETS

KEYS = [
    "train.url",
    "train.initial_model_url",
    "models.ddpm_url",
    "models.ensemble_url",
    "evaluate.url",
    "generate.url",
    "data.unlabelled.url",
    "data.labelled.classes_url",
    "data.test.names_url",
]


def config_with(url: str) -> dict[str, dict[str, object]]:
    """A config whose every place is url."""
    tree: dict[str, dict[str, object]] = {"data": {}}
    for key in KEYS:
        *sections, name = key.split(".")
        section = tree.setdefault(sections[0], {})
        if len(sections) == 2:
            section = section.setdefault(sections[1], {"kind": "folder", "url": "/x"})  # type: ignore[assignment]
        section[name] = url
    return tree


def test_the_table_is_long_and_without_repeats() -> None:
    urls = [*ACCEPTED, *REFUSED]
    assert len(set(urls)) == len(urls) >= 60


@pytest.mark.parametrize("url", ACCEPTED)
def test_accepted(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    expected = ACCEPTED[url].format(here=tmp_path, home="/home/someone")
    assert storage.normalize(url) == expected
    assert storage.normalize(expected) == expected
    config = parse_config(config_with(url))
    assert config.generate.url == config.models.ddpm_url == config.data.test.names_url == expected


@pytest.mark.parametrize("url", REFUSED)
def test_refused_by_every_key_of_a_config(url: str) -> None:
    with pytest.raises(UserError) as by_storage:
        storage.normalize(url)
    with pytest.raises(UserError) as by_config:
        parse_config(config_with(url))
    assert len(by_config.value.problems) == len(KEYS)
    assert {problem.split(": ")[1] for problem in by_config.value.problems} == set(KEYS)
    told = f"{by_storage.value}\n{by_config.value}"
    assert SECRET not in told
    assert not any(ord(char) < 32 for char in told.replace("\n", ""))


@pytest.mark.parametrize("url", ["https://host/x", "reference::/a.json", "zip://a::s3://b/c"])
@pytest.mark.parametrize(
    "opened",
    [load_config, load_model, lambda url: load_ensemble(url, "0"), report.write_report],
    ids=["config", "model", "ensemble", "report"],
)
def test_refused_wherever_a_place_is_opened(
    opened: Callable[[str], object], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reach(url: str) -> None:
        raise AssertionError(f"reaches for {url}")

    monkeypatch.setattr(files, "filesystem", reach)
    with pytest.raises(UserError):
        opened(url)


@pytest.mark.parametrize("url", ["https://host/x", "reference://a.json", "zip://a::s3://b/c"])
@pytest.mark.parametrize(
    "opened", [read_plan, ShardDataset, read_ddpm, storage.read_bytes, storage.exists]
)
def test_refused_where_a_place_comes_from_code(
    opened: Callable[[str], object], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reach(url: str, **options: object) -> None:
        raise AssertionError(f"reaches for {url}")

    monkeypatch.setattr(files, "url_to_fs", reach)
    with pytest.raises(UserError):
        opened(url)


def test_a_file_whose_name_looks_like_a_chain_is_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"another")
    (tmp_path / "a::b").write_bytes(b"itself")
    assert storage.read_bytes(str(tmp_path / "a::b")) == b"itself"

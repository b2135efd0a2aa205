"""Claims about URLs: which are taken, and that all others are refused wherever one can be given.

A refusal says what is wrong and what to do, repeats no secret, and nothing was reached for.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import fsspec.core
import pytest
from pydantic import BaseModel

import factory
from factory import report, storage
from factory.cli import main
from factory.config import Config, load_config, parse_config
from factory.diffusion.checkpoints import load_model
from factory.errors import UserError
from factory.importing import read_ddpm
from factory.labeling.heads import load_head
from factory.shards.reading import read_plan

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


class Refused(NamedTuple):
    """URLs that are refused with the same words: what is wrong, and what to do."""

    what: str
    remedy: str
    urls: list[str]


REFUSED = {
    "a protocol that is not spoken": Refused(
        "is not one of file, s3, gs, gcs, az, abfs, hf, memory",
        "Give a path, or a URL of one of these",
        [
            "http://host/x", "https://host/x", "https://169.254.169.254/latest", "HTTP://host/x",
            "ftp://host/x", "sftp://host/x", "ssh://host/x", "smb://host/share", "gopher://host/x",
            "ldap://host/x", "github://owner/repo", "git:///repo", "gist://user/id", "dask://x",
            "reference://x", "kerchunk://x", "libarchive://a.zip", "zip://a.zip", "tar://a.tar",
            "simplecache://x", "filecache://x", "blockcache://x", "cached://x", "dir://x",
            "data://text/plain,x", "pipe://cat", "local:///etc/passwd", "dbfs://x", "hdfs://host/x",
            "webhdfs://host/x", "arrow_hdfs://host/x", "oci://x", "root://host/x",
            "abfss://container/x", "s3a://bucket/x", "s4://bucket/x", "javascript://x", "://x",
            "S3://bucket/x", "File:///etc/passwd", "\uff53\uff13://bucket/x", " s3://bucket/x",
            "simplecache::s3://bucket/x", "filecache::https://host/x", "reference::s3://b/x.json",
            "sImPleCache::S3://bucket/x",
        ],
    ),
    "several protocols in a chain": Refused(
        "`::`",
        "Name the place itself",
        ["s3://bucket/x.zip::zip", "file:///data/a::b"],
    ),
    "a path that looks like a chain": Refused(
        "`::`",
        "Choose another name",
        ["reference::/data/x.json", "/data/a::b.png", "a::zip", "zip::x", "::"],
    ),
    "parent folders": Refused(
        "`..` are not followed",
        "Name the place itself",
        [
            "s3://bucket/../other", "s3://bucket/a/..", "s3://../bucket", "memory://a/../../b",
            "file:///data/../etc",
        ],
    ),
    "neither a path nor a URL": Refused(
        "is neither a path nor a URL",
        "./NAME",
        [
            "s3:/bucket/x", "s3:bucket/x", "file:/tmp/x", "http:/host/x", "pipe:cat /etc/passwd",
            "data:text/plain;base64,eA==", "javascript:alert(1)", "mailto:a.example", "C:\\data",
            "C:/data",
        ],
    ),
    "no bucket": Refused(
        "names no bucket", "Write ", ["s3://", "s3:///key", "gs://", "gs:///x", "az://", "hf://"]
    ),
    "no repository": Refused(
        "names no repository", "Write hf://owner/name", ["hf://owner", "hf://datasets/owner"]
    ),
    "a file of another machine": Refused(
        "names no machine",
        "file:///folder",
        ["file://host/share", "file://localhost/etc/passwd", "file://etc/passwd", "file://"],
    ),
    "control characters in a URL": Refused(
        "control characters",
        "Write it without them",
        [
            "s3://bucket/a\nb", "s3://bucket/a\r\nHost: evil", "s3://bucket/a\x00.png",
            "s3://bucket/\x1b[2J", "s3\n://bucket/x", f"s3://key:{SECRET}@bucket/\nx",
        ],
    ),
    "control characters in a path": Refused(
        "control characters",
        "Choose another name",
        ["/data/a\nb", "/data/a\x00b", "\x1b[2Jout", "/data/\u202egpj.exe", "out\u2028side"],
    ),
    "no such home": Refused(
        "no such home folder", "./NAME", ["~no-such-user-here/x", "~no-such-user-here"]
    ),
    "nothing": Refused("an empty path", "name a folder or a URL", ["", "   ", "\n"]),
    "a user name or a secret": Refused(
        "must not carry a user name or a secret",
        "Use the environment",
        [
            f"s3://key:{SECRET}@bucket/x",
            f"s3://{SECRET}@bucket/x",
            f"s3://AKIAX:ab/{SECRET}+c@bucket/x",
            f"s3://AKIAX:{SECRET}/x",
            f"gs://{SECRET}@bucket/x",
            f"https://user:{SECRET}@host/x",
            f"http://user:pa?{SECRET}@host/x",
            f"ftp://user:{SECRET}@host/x",
            f"key:{SECRET}@bucket://x",
            f"zip://a.zip::s3://key:{SECRET}@bucket/a",
            f"zip://a.zip::s3://key:x/{SECRET}@bucket/a",
            f"simplecache::s3://key:{SECRET}@bucket/x",
            "zip://a.txt::s3://bucket/a.zip",
            "memory://a::reference",
            "jupyter://localhost:8888/x",
            "github://owner:repo@main/x",
        ],
    ),
    "a query": Refused(
        "nor a query",
        "Use the environment",
        [
            f"s3://bucket/x?X-Amz-Credential=AKIAX&X-Amz-Signature={SECRET}",
            f"s3://bucket/x?versionId=1&x-amz-security-token={SECRET}",
            f"https://bucket.s3.amazonaws.com/x?X-Amz-Signature={SECRET}",
            f"https://storage.googleapis.com/b/x?X-Goog-Signature={SECRET}",
            f"https://account.blob.core.windows.net/c/x?sv=2026-01-01&sig={SECRET}",
            f"az://container/x?sv=2026-01-01&sig={SECRET}",
            f"abfs://container@account.dfs.core.windows.net/x?sig={SECRET}",
            f"hf://datasets/user/name?token={SECRET}",
            f"s3://bucket/x?a=b@{SECRET}",
        ],
    ),
    "a secret where no URL is": Refused(
        "is neither a path nor a URL", "./NAME", [f"s3:key:{SECRET}@bucket"]
    ),
    "a secret where no bucket is": Refused(
        "names no bucket", "s3://bucket/prefix", [f"s3:///key:{SECRET}@bucket"]
    ),
}  # fmt: skip
"""Each kind of mistake in a URL, with URLs that have it."""

ONE_OF_EACH = [(refused, refused.urls[0]) for refused in REFUSED.values()]


def check_refusal(refused: Refused, lines: list[str]) -> None:
    """Each line says what is wrong and what to do, is printable, and repeats no secret."""
    assert lines
    for line in lines:
        assert refused.what in line and refused.remedy in line, line
        assert line.isprintable() and SECRET not in line, line


@pytest.fixture(autouse=True)
def unreached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No store is opened, and nothing is written."""

    def reach(protocol: str, **options: object) -> None:
        raise AssertionError(f"reaches for {protocol}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fsspec.core, "filesystem", reach)
    monkeypatch.setattr(fsspec.core, "get_filesystem_class", reach)
    yield
    assert not list(tmp_path.rglob("*"))


def test_urls_that_are_taken_become_absolute_and_stay_as_they_are_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for url, written in ACCEPTED.items():
        expected = written.format(here=tmp_path, home="/home/someone")
        assert storage.normalize(url) == storage.normalize(expected) == expected, url
        config = parse_config({"train": {"url": url}, "models": {"ddpm_url": url}})
        assert config.train.url == config.models.ddpm_url == expected, url


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_says_what_is_wrong_and_what_to_do(kind: str) -> None:
    for url in REFUSED[kind].urls:
        with pytest.raises(UserError) as refusal:
            storage.normalize(url)
        check_refusal(REFUSED[kind], [str(refusal.value)])


def url_keys(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yields each key that takes a URL, and the kind of its section if sections of it have one."""
    for name, field in section.model_fields.items():
        for below in sections_of(field.annotation):
            yield from url_keys(below, (*path, name))
        if name.endswith("url"):
            kind = section.model_fields.get("kind")
            yield ".".join((*path, name)), get_args(kind.annotation)[0] if kind else None


def sections_of(annotation: Any) -> list[type[BaseModel]]:
    """Returns the sections that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_of(part)]


def tree_of(key: str, kind: str | None, url: str) -> dict[str, Any]:
    """A config that sets one key, in a section of a kind where sections have one."""
    *parents, name = key.split(".")
    tree: dict[str, Any] = {name: url} | ({"kind": kind} if kind else {})
    for parent in reversed(parents):
        tree = {parent: tree}
    return tree


KEYS = sorted(set(url_keys(Config)), key=str)


def test_all_keys_that_take_a_url_are_found() -> None:
    assert {
        "train.url",
        "train.initial_model_url",
        "models.ddpm_url",
        "models.ensemble_url",
        "probe.url",
        "evaluate.url",
        "generate.url",
        "data.unlabelled.url",
        "data.labelled.classes_url",
        "data.test.names_url",
    } <= {key for key, _ in KEYS}


@pytest.mark.parametrize(("key", "kind"), KEYS)
def test_every_key_of_a_config_refuses(key: str, kind: str | None) -> None:
    for refused, url in ONE_OF_EACH:
        with pytest.raises(UserError) as refusal:
            parse_config(tree_of(key, kind, url))
        assert SECRET not in str(refusal.value)
        lines = [p for p in refusal.value.problems if p.startswith(f"config: {key}: ")]
        check_refusal(refused, lines)


def test_all_urls_of_a_config_are_refused_at_once() -> None:
    source = {"kind": "pairs", "url": "http://x", "classes_url": "s3://", "names_url": "ftp://x"}
    with pytest.raises(UserError) as refusal:
        parse_config({"data": {"test": source}, "generate": {"url": "::"}})
    keys = [problem.split(": ")[1] for problem in refusal.value.problems]
    named = [f"data.test.{name}" for name in source if name != "kind"]
    assert sorted(keys) == sorted([*named, "generate.url"])


def help_of(*command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    return capsys.readouterr().out


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


SOURCES = ("unlabelled", "labelled", "test")


def settings_of(command: str, text: str) -> Iterator[tuple[str, list[str]]]:
    """Yields (key or "", arguments with `{}` for the URL) of a command by its help."""
    if command == "export":
        yield "", [command, "{}", "--to=folder", "--out=x"]
        yield "", [command, "x", "--to=folder", "--out={}"]
        return
    if command == "init":
        yield "", [command, "{}", "--out=x.yaml"]
        yield from (("", [command, f"--{name}={{}}", "--out=x.yaml"]) for name in SOURCES)
        return
    if "url" in text.partition("\n\n")[0].split():
        # Its config, if it reads one, belongs to a dataset that is there.
        yield "", [command, "{}"]
        return
    if command == "import":
        yield "", [command, "{}", "--out=x"]
        yield "", [command, "x", "--out={}"]
        return
    yield "", [command, "--config={}"]
    yield "generate.url", [command, "--set", "generate.url={json}"]
    for flag, key in re.findall(r"(--[\w-]+) VALUE[^()]*\((\w+\.(?:\w+_)?url)\)", text):
        yield key, [command, f"{flag}={{}}"]


@pytest.mark.slow
def test_every_command_refuses(
    capsys: pytest.CaptureFixture[str],
    logged: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    logging.root.setLevel(logging.DEBUG)
    commands = re.findall(r"(?m)^    (\w+) ", help_of(capsys=capsys))
    settings = [
        setting for name in commands for setting in settings_of(name, help_of(name, capsys=capsys))
    ]
    assert len(settings) >= 20 and {arguments[0] for _, arguments in settings} == set(commands)
    for key, arguments in settings:
        for refused, url in ONE_OF_EACH:
            spelled = {"{}": url, "{json}": json.dumps(url)}
            code = main([_replaced(part, spelled) for part in arguments])
            assert code == 2, (arguments, url)
            out, err = capsys.readouterr()
            assert not out and not any(SECRET in line for line in logged)
            [line] = err.splitlines()
            assert line.startswith(f"error: config: {key}: " if key else "error: "), line
            check_refusal(refused, [line])


@cache
def _toy() -> factory.Model:
    return factory.load_ddpm("toy")


GIVEN_BY_USERS: dict[str, Callable[[str], object]] = {
    "load_config": load_config,
    "report.write_report": report.write_report,
    "factory.load_ddpm": factory.load_ddpm,
    "factory.load_segmenter": lambda url: factory.load_segmenter(url, _toy()),
    "factory.load_images": lambda url: factory.load_images(url, 16),
    "factory.read_labelled": lambda url: factory.read_labelled("/x", url, 16),
    "factory.open_dataset": factory.open_dataset,
    "factory.export, url": lambda url: factory.export(url, "folder", "/x"),
    "factory.export, out": lambda url: factory.export("/x", "folder", url),
    "factory.train, images": lambda url: factory.train(url, "/x"),
    "factory.train, out": lambda url: factory.train("/x", url),
}


@pytest.mark.parametrize("name", GIVEN_BY_USERS)
def test_every_function_that_a_user_gives_a_url_refuses(name: str) -> None:
    for refused, url in ONE_OF_EACH:
        with pytest.raises(UserError) as refusal:
            GIVEN_BY_USERS[name](url)
        check_refusal(refused, list(refusal.value.problems))


GIVEN_BY_CODE: dict[str, Callable[[str], object]] = {
    "load_model": load_model,
    "load_head": lambda url: load_head(url, "0"),
    "read_ddpm": read_ddpm,
    "read_plan": read_plan,
    "read_bytes": storage.read_bytes,
    "write": lambda url: storage.write(url, b""),
    "write_chunks": lambda url: storage.write_chunks(url, [b""]),
    "write_new": lambda url: storage.write_new(url, b""),
    "exists": storage.exists,
    "list_files": storage.list_files,
    "list_names": storage.list_names,
    "read_range": lambda url: storage.read_range(url, 0, 1),
    "size_of": storage.size_of,
}


@pytest.mark.parametrize("name", GIVEN_BY_CODE)
def test_a_url_that_was_never_checked_is_refused_where_it_is_opened(name: str) -> None:
    for url in ("https://host/x", "reference://a.json", "zip://a::s3://b/c", "s3://b/../c"):
        with pytest.raises(UserError):
            GIVEN_BY_CODE[name](url)


def test_a_file_whose_name_looks_like_a_chain_is_the_file_itself(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("files")
    (folder / "a").write_bytes(b"another")
    (folder / "a::b").write_bytes(b"itself")
    assert storage.read_bytes(str(folder / "a::b")) == b"itself"

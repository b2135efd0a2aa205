"""Claims about factory.config."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.config import (
    Config,
    dump_config,
    load_config,
    parse_config,
    parse_count,
    parse_override,
)
from factory.errors import UserError

ROOT = Path(__file__).parents[1]


def refusal(tree: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(UserError) as refused:
        parse_config(tree)
    return refused.value.problems


def written(folder: Path, text: str | bytes) -> str:
    file = folder / "run.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (1, 1),
        (1000, 1000),
        ("1000", 1000),
        ("1_000", 1000),
        (1e6, 1_000_000),
        ("1e6", 1_000_000),
        ("1E+6", 1_000_000),
        ("1.5e3", 1500),
        ("10k", 10_000),
        ("1M", 1_000_000),
        ("2G", 2_000_000_000),
        ("2.5k", 2500),
        (" 7 ", 7),
        ("3.0", 3),
        (2**48, 2**48),
    ],
)
def test_counts_read_as_people_write_them(given: object, count: int) -> None:
    assert parse_count(given) == count
    assert type(parse_count(given)) is int
    assert parse_config({"generate": {"num": given}}).generate.num == count


@pytest.mark.parametrize(
    "given",
    [
        0,
        -1,
        1.5,
        "1.5",
        "1.0005k",
        "0k",
        float("nan"),
        float("inf"),
        "nan",
        "inf",
        "1e400",
        1e300,
        "",
        "abc",
        "1e6x",
        "1e-3",
        "10 k",
        "10K",
        "+5",
        True,
        False,
        None,
        [3],
        2**48 + 1,
        2**60,
    ],
)
def test_what_is_no_count_is_refused_with_the_value_quoted(given: object) -> None:
    with pytest.raises(ValueError, match="whole number >= 1") as refused:
        parse_count(given)
    assert repr(str(given).strip()) in str(refused.value)
    (problem,) = refusal({"train": {"num_steps": given}})
    assert "train.num_steps: " in problem and repr(str(given).strip()) in problem


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "0.0001", "1.0e-4"])
def test_numbers_that_yaml_calls_strings_read_as_numbers(number: str, tmp_path: Path) -> None:
    file = written(tmp_path, f"train: {{learning_rate: {number}}}")
    assert load_config(file).train.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "learning_rate", 0),
        ("train", "learning_rate", "nan"),
        ("train", "learning_rate", float("inf")),
        ("train", "ema_decay", 1),
        ("train", "seed", -1),
        ("train", "seed", 2**63),
        ("train", "precision", "fp16"),
        ("generate", "sampler", "euler"),
        ("generate", "format", 5),
        ("generate", "gpus_per_actor", -1),
        ("diffusion", "beta_end", "-inf"),
        ("features", "timesteps", []),
        ("features", "timesteps", [-1]),
        ("features", "blocks", []),
        ("unet", "block_out_channels", []),
        ("unet", "block_out_channels", 64),
        ("ensemble", "hidden", [128]),
        ("models", "ddpm_url", 5),
        ("generate", "url", None),
        ("generate", "url", ""),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(section: str, key: str, value: object) -> None:
    (problem,) = refusal({section: {key: value}})
    assert problem.startswith(f"config: {section}.{key}")


@pytest.mark.parametrize(
    ("tree", "path", "near"),
    [
        ({"generat": {}}, "generat", "generate"),
        ({"generate": {"nun": 5}}, "generate.nun", "generate.num"),
        ({"data": {"labeled": {}}}, "data.labeled", "data.labelled"),
        (
            {"data": {"labelled": {"kind": "toy", "num": 2, "sed": 1}}},
            "data.labelled.sed",
            "data.labelled.seed",
        ),
    ],
)
def test_an_unknown_key_is_told_with_its_path_and_the_nearest_name(
    tree: dict[str, Any], path: str, near: str
) -> None:
    assert refusal(tree) == (f"config: {path}: unknown key. Did you mean {near}?",)


@pytest.mark.parametrize("share", [0, 0.0001, 0.25, 1, 2, 8.0])
def test_an_actor_has_a_share_of_a_gpu_or_whole_ones(share: float) -> None:
    assert parse_config({"generate": {"gpus_per_actor": share}}).generate.gpus_per_actor == share


@pytest.mark.parametrize("share", [1.5, 2.0001])
def test_a_fraction_of_a_gpu_above_one_is_refused_since_an_actor_uses_one(share: float) -> None:
    (problem,) = refusal({"generate": {"gpus_per_actor": share}})
    assert problem.startswith("config: generate.gpus_per_actor: must be at most 1, or whole")
    assert "an actor uses one GPU" in problem


@pytest.mark.parametrize("key", ["gpus_per_actor", "cpus_per_actor"])
def test_a_share_that_is_finer_than_ray_counts_is_refused(key: str) -> None:
    (problem,) = refusal({"generate": {key: 0.00005}})
    assert f"generate.{key}: must be at least 0.0001" in problem


def test_an_unknown_key_like_no_other_is_told_with_the_known_ones() -> None:
    (problem,) = refusal({"diffusion": {"xyzzy": 1}})
    assert problem == (
        "config: diffusion.xyzzy: unknown key. Known here: num_timesteps, beta_start, beta_end."
    )


def test_all_problems_are_told_at_once() -> None:
    problems = refusal(
        {
            "generate": {"num": "many", "nun": 5, "url": "http://host/out"},
            "train": {"learning_rate": -1},
            "unet": {"block_out_channels": [32, "x"]},
        }
    )
    paths = sorted(problem.split(": ")[1] for problem in problems)
    assert paths == [
        "generate.num",
        "generate.nun",
        "generate.url",
        "train.learning_rate",
        "unet.block_out_channels.1",
    ]


def test_all_contradictions_between_fields_are_told_at_once() -> None:
    told = "\n".join(
        refusal(
            {
                "data": {"image_size": 30},
                "train": {"batch_size": 10, "num_workers": 3},
                "generate": {"min_actors": 3, "max_actors": 2},
            }
        )
    )
    assert [line.split(": ")[1] for line in told.splitlines()] == [
        "data.image_size",
        "train.batch_size",
        "generate.min_actors",
    ]


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"data": {"image_size": 30}}, "data.image_size: 30 must be divisible by 4"),
        ({"unet": {"norm_num_groups": 48}}, "unet.block_out_channels: 64 must be divisible by"),
        ({"unet": {"attention_levels": [0, 3]}}, "unet.attention_levels: 3 is not one of"),
        (
            {"unet": {"block_out_channels": [3], "norm_num_groups": 3, "attention_levels": []}},
            "unet.block_out_channels: the first, 3, must be even",
        ),
        (
            {"unet": {"block_out_channels": [2], "norm_num_groups": 2, "attention_levels": []}},
            "unet.block_out_channels: the first, 2, must be even and at least 4",
        ),
        ({"train": {"batch_size": 64, "num_workers": 3}}, "train.batch_size: 64 must be divis"),
        ({"features": {"timesteps": [1000]}}, "features.timesteps: 1000 must be below"),
        ({"features": {"timesteps": [5, 5]}}, "has a value twice"),
        ({"generate": {"min_actors": 3}}, "generate.min_actors: 3 must not be above"),
        ({"generate": {"num_sampling_steps": 1}}, "generate.num_sampling_steps: 1 must be 2 to"),
        ({"generate": {"num_sampling_steps": 1001}}, "1001 must be 2 to"),
        ({"diffusion": {"beta_end": 1.0}}, "diffusion.beta_end must be below 1"),
        ({"data": {"test": {"kind": "toy"}}}, "data.test: kind toy needs num"),
        ({"data": {"test": {"kind": "folder"}}}, "data.test: kind folder needs url"),
        ({"data": {"test": {"kind": "pairs", "url": "a"}}}, "kind pairs needs classes_url"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(tree: dict[str, Any], said: str) -> None:
    assert any(said in problem for problem in refusal(tree))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://host/out", "protocol 'http' is not one of"),
        ("https://host/out", "protocol 'https' is not one of"),
        ("simplecache::s3://bucket/out", "protocol"),
        ("s3://user:hunter2@bucket/out", "must not carry a user name or a secret"),
    ],
)
def test_a_url_that_we_do_not_open_is_refused_and_a_secret_is_not_repeated(
    url: str, said: str
) -> None:
    for tree, path in [
        ({"generate": {"url": url}}, "generate.url"),
        ({"models": {"ddpm_url": url}}, "models.ddpm_url"),
        ({"data": {"test": {"kind": "folder", "url": url}}}, "data.test.url"),
    ]:
        (problem,) = refusal(tree)
        assert problem.startswith(f"config: {path}: ") and said in problem
        assert "hunter2" not in problem


def test_a_path_becomes_absolute_and_a_url_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_config({"generate": {"url": "out/a"}}).generate.url == str(tmp_path / "out/a")
    url = "s3://bucket/prefix"
    assert parse_config({"generate": {"url": url + "/"}}).generate.url == url


def test_an_absent_place_stays_absent() -> None:
    assert parse_config({"models": {"ddpm_url": None}}).models.ddpm_url is None


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, "generate:\n  num: 5\n  seed: 1\n  num: 6\n")
    with pytest.raises(UserError, match="line 4: key 'num' is given twice") as refused:
        load_config(file)
    assert file in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system ['touch owned']", "not readable as YAML"),
        ("a: !!python/name:os.system", "not readable as YAML"),
        ("generate: [", "not readable as YAML"),
        ("generate: {num: !!int x}", "not readable as YAML"),
        ("generate: !!map 5", "not readable as YAML"),
        ("[1, 2]", "expected sections"),
        ("generate", "expected sections"),
        ("5", "expected sections"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_config_is_refused(
    text: str | bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, text)
    with pytest.raises(UserError, match=said) as refused:
        load_config(file)
    assert file in str(refused.value)
    assert not (tmp_path / "owned").exists()


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such config file"):
        load_config(str(tmp_path / "nothing.yaml"))
    with pytest.raises(UserError, match="is a folder"):
        load_config(str(tmp_path))


def test_an_empty_file_and_no_file_are_the_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "# nothing\n")) == load_config(None) == Config()


def test_problems_of_a_file_name_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "generate: {num: 0, seed: x}")
    with pytest.raises(UserError) as refused:
        load_config(file)
    assert len(refused.value.problems) == 2
    assert all(problem.startswith(f"{file}: generate.") for problem in refused.value.problems)


def test_overrides_win_over_the_file_and_later_ones_over_earlier_ones(tmp_path: Path) -> None:
    file = written(tmp_path, "generate: {num: 5, seed: 7}\ntrain:\n")
    config = load_config(
        file,
        [
            ("generate.num", "6"),
            ("generate.num", "1k"),
            ("train.num_steps", 3),
            ("data.labelled.num", 9),
            ("data.labelled.kind", "toy"),
        ],
    )
    assert (config.generate.num, config.generate.seed) == (1000, 7)
    assert config.train.num_steps == 3
    assert config.data.labelled.num == 9


def test_an_override_of_an_unknown_key_is_refused() -> None:
    with pytest.raises(UserError, match=r"generate\.nun: unknown key"):
        load_config(None, [("generate.nun", 5)])


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("generate.num=1e6", "generate.num", "1e6"),
        ("a.b = 5", "a.b", 5),
        ("unet.attention_levels=[1, 2]", "unet.attention_levels", [1, 2]),
        ("a=b=c", "a", "b=c"),
        ("train.tensorboard=true", "train.tensorboard", True),
        ("models.ddpm_url=null", "models.ddpm_url", None),
    ],
)
def test_an_override_reads_its_value_as_yaml(text: str, key: str, value: object) -> None:
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize(
    "text", ["generate.num", "=5", " =5", "a=[1", "a={b: 1, b: 2}", "a=!!int x"]
)
def test_an_override_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_override(text)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {
            "train": {"learning_rate": 1e-5, "use_gpu": True, "url": "s3://bucket/a"},
            "features": {"blocks": [1, 2], "timesteps": [7]},
            "data": {"test": {"kind": "pairs", "url": "/a", "classes_url": "/b"}},
            "generate": {"num": "1e9", "license": "yes", "seed": 2**63 - 1},
        },
    ],
)
def test_a_dumped_config_loads_to_an_equal_one(tree: dict[str, Any], tmp_path: Path) -> None:
    config = parse_config(tree)
    assert load_config(written(tmp_path, dump_config(config))) == config


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().generate.num = 5


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda f: f.name)
def test_every_shipped_config_loads(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(str(file))
    assert config != Config()
    assert file.read_text().startswith("# "), "its header says what it is for"
    assert set(yaml.safe_load(file.read_text())) <= set(Config.model_fields)


def test_scripts_find_the_keys_that_they_rely_on() -> None:
    promised = {
        "generate": {"num", "samples_per_shard", "min_actors", "max_actors", "format"},
        "features": {"timesteps", "blocks", "source"},
        "ensemble": {"num_members"},
        "train": {"num_workers", "num_steps", "batch_size"},
    }
    dumped = Config().model_dump()
    for section, keys in promised.items():
        assert keys <= set(dumped[section])


def test_the_defaults_are_the_toy_recipe() -> None:
    recipe = load_config(str(ROOT / "configs" / "toy32.yaml"))
    for section in ("data", "unet", "diffusion", "features", "generate"):
        assert getattr(recipe, section) == getattr(Config(), section)
    of_result = {"weights_dtype", "hidden"}
    for section in ("train", "ensemble"):
        told = getattr(recipe, section).model_dump(exclude=of_result)
        assert told == getattr(Config(), section).model_dump(exclude=of_result)

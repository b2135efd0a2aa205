"""Claims about factory.config."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from factory.config import (
    Config,
    TrainConfig,
    check_section,
    config_tree,
    dump_config,
    load_config,
    parse_config,
    parse_override,
    required,
)
from factory.config.presets import PRESETS, preset_table
from factory.errors import UserError
from factory.values import Section, parse_count

ROOT = Path(__file__).parents[1]
SectionName = Literal["train", "fit", "generate"]


def refusal(tree: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(UserError) as refused:
        parse_config(tree)
    return refused.value.problems


def section_refusal(tree: dict[str, Any], name: SectionName) -> tuple[str, ...]:
    """What is said where a command reads this section of a config."""
    config = parse_config(tree)
    with pytest.raises(UserError) as refused:
        check_section(config, name)
    return refused.value.problems


def written(folder: Path, text: str | bytes) -> str:
    file = folder / "run.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


@pytest.mark.parametrize(
    ("value", "count"),
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
def test_counts_read_as_people_write_them(value: object, count: int) -> None:
    assert parse_count(value) == count
    assert type(parse_count(value)) is int
    assert parse_config({"generate": {"num": value}}).generate.num == count


@pytest.mark.parametrize(
    "value",
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
def test_what_is_no_count_is_refused_with_the_value_quoted(value: object) -> None:
    with pytest.raises(ValueError, match="whole number >= 1") as refused:
        parse_count(value)
    assert repr(str(value).strip()) in str(refused.value)
    (problem,) = refusal({"train": {"num_steps": value}})
    assert "train.num_steps: " in problem and repr(str(value).strip()) in problem


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
        ("generate", "format", 5),
        ("generate", "gpus_per_actor", -1),
        ("train", "diffusion", {"beta_end": "-inf"}),
        ("fit", "timesteps", []),
        ("fit", "timesteps", [-1]),
        ("fit", "blocks", []),
        ("fit", "blocks", [-1]),
        ("fit", "blocks", [1, "mid"]),
        ("train", "unet", {"block_out_channels": []}),
        ("train", "unet", {"block_out_channels": 64}),
        ("fit", "hidden", [128]),
        ("fit", "label_smoothing", 1),
        ("fit", "label_smoothing", -0.1),
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
    (problem,) = refusal({"train": {"diffusion": {"xyzzy": 1}}})
    assert problem == (
        "config: train.diffusion.xyzzy: unknown key. "
        "Known here: num_timesteps, beta_start, beta_end, prediction_type."
    )


def test_all_problems_are_told_at_once() -> None:
    problems = refusal(
        {
            "generate": {"num": "many", "nun": 5, "url": "http://host/out"},
            "train": {"learning_rate": -1, "unet": {"block_out_channels": [32, "x"]}},
        }
    )
    paths = sorted(problem.split(": ")[1] for problem in problems)
    assert paths == [
        "generate.num",
        "generate.nun",
        "generate.url",
        "train.learning_rate",
        "train.unet.block_out_channels.1",
    ]


CONTRADICTORY: dict[str, Any] = {
    "data": {"image_size": 30},
    "train": {
        "batch_size": 10,
        "num_workers": 3,
        "unet": {"attention_levels": [9]},
        "diffusion": {"beta_end": 1.0},
    },
    "fit": {"timesteps": [5, 5], "blocks": [1, 1]},
    "generate": {"min_actors": 3, "max_actors": 2},
}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "train",
            [
                *("data.image_size", "train.unet.attention_levels"),
                *("train.diffusion.beta_start and train.diffusion.beta_end must be below 1",),
                "train.batch_size",
            ],
        ),
        ("fit", ["fit.timesteps", "fit.blocks"]),
        ("generate", ["generate.min_actors"]),
    ],
)
def test_all_contradictions_of_a_section_and_no_others_are_told_at_once(
    name: SectionName, keys: list[str]
) -> None:
    assert [problem.split(": ")[0] for problem in section_refusal(CONTRADICTORY, name)] == keys


def test_a_config_of_contradictions_is_dumped_and_read_again(tmp_path: Path) -> None:
    config = parse_config(CONTRADICTORY)
    assert load_config(written(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (
            {"train": {"unet": {"norm_num_groups": 48}}},
            "train.unet.block_out_channels: 64 must be divisible by",
        ),
        (
            {"train": {"unet": {"attention_levels": [0, 3]}}},
            "train.unet.attention_levels: 3 is not one of",
        ),
        (
            {
                "train": {
                    "unet": {
                        "block_out_channels": [3],
                        "norm_num_groups": 3,
                        "attention_levels": [],
                    }
                }
            },
            "train.unet.block_out_channels: the first, 3, must be even",
        ),
        (
            {
                "train": {
                    "unet": {
                        "block_out_channels": [2],
                        "norm_num_groups": 2,
                        "attention_levels": [],
                    }
                }
            },
            "train.unet.block_out_channels: the first, 2, must be even and at least 4",
        ),
        ({"train": {"batch_size": 64, "num_workers": 3}}, "train.batch_size: 64 must be divis"),
        ({"fit": {"timesteps": [5, 5]}}, "fit.timesteps: (5, 5) has a value twice"),
        ({"generate": {"min_actors": 3}}, "generate.min_actors: 3 must not be above"),
        ({"train": {"diffusion": {"beta_end": 1.0}}}, "train.diffusion.beta_end must be below 1"),
    ],
)
def test_values_of_a_section_that_contradict_each_other_are_refused_where_it_is_read(
    tree: dict[str, Any], said: str
) -> None:
    name = cast(SectionName, next(iter(tree)))
    assert any(said in problem for problem in section_refusal(tree, name))


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"generate": {"num_sampling_steps": 1}}, "should be greater than or equal to 2, got 1"),
        ({"data": {"test": {"kind": "toy"}}}, "data.test: kind toy needs num"),
        ({"data": {"test": {"kind": "folder"}}}, "data.test: kind folder needs url"),
        ({"data": {"test": {"kind": "pairs", "url": "a"}}}, "kind pairs needs classes_url"),
    ],
)
def test_a_field_without_what_its_kind_or_its_range_asks_for_is_refused(
    tree: dict[str, Any], said: str
) -> None:
    assert any(said in problem for problem in refusal(tree))


def test_a_path_becomes_absolute_and_a_url_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_config({"generate": {"url": "out/a"}}).generate.url == str(tmp_path / "out/a")
    url = "s3://bucket/prefix"
    assert parse_config({"generate": {"url": url + "/"}}).generate.url == url


def test_an_absent_place_stays_absent() -> None:
    assert parse_config({"models": {"ddpm_url": None}}).models.ddpm_url is None
    assert parse_config({"data": {"test": None}}).data.test is None


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


def test_without_a_file_all_is_of_the_toy_domain() -> None:
    assert load_config(None) == Config()
    assert Config().models.ddpm_url == Config().models.ensemble_url == "toy"


@pytest.mark.parametrize("text", ["# nothing\n", "preset: 64px", "generate: {num: 5}"])
def test_a_file_that_names_nothing_does_not_fall_back_to_the_toy_domain(
    tmp_path: Path, text: str
) -> None:
    config = load_config(written(tmp_path, text))
    with pytest.raises(UserError) as refused:
        required(config, *KEYS)
    assert [problem.split()[0] for problem in refused.value.problems] == list(KEYS)
    assert "toy" not in dump_config(config)


@pytest.mark.parametrize(
    "text", ["preset: toy", "data: {test: {kind: toy, num: 5}}", "models: {ddpm_url: toy}"]
)
def test_a_file_that_names_a_part_of_the_toy_domain_means_all_of_it(
    tmp_path: Path, text: str
) -> None:
    config = load_config(written(tmp_path, text))
    assert config == parse_config(yaml.safe_load(text))
    assert required(config, *KEYS).kind == "toy"


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
            "fit": {"blocks": ["middle", 1, 2], "timesteps": [7]},
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
        "generate": {"num", "samples_per_shard", "min_actors", "max_actors", "format", "vote"},
        "fit": {"timesteps", "blocks", "num_members"},
        "train": {"num_workers", "num_steps", "batch_size"},
    }
    dumped = Config().model_dump()
    for section, keys in promised.items():
        assert keys <= set(dumped[section])


def test_the_defaults_are_the_toy_recipe() -> None:
    recipe = load_config(str(ROOT / "configs" / "toy32.yaml"))
    for section in ("preset", "data", "generate"):
        assert getattr(recipe, section) == getattr(Config(), section)
    # What keeps the shipped models small, and what training and fitting were when they were made.
    of_size = {"weights_dtype", "hidden"}
    of_then = {"optimizer", "decay", "timesteps", "label_smoothing", "mirrored_votes"}
    of_result = of_size | of_then
    for section in ("train", "fit"):
        settings = getattr(recipe, section).model_dump(exclude=of_result)
        assert settings == getattr(Config(), section).model_dump(exclude=of_result)


# What is left out


def test_default_places_follow_the_folder_that_one_works_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        toy = Config()
        assert toy.train.url == str(tmp_path / name / "out/toy/ddpm")
        assert toy.generate.url == str(tmp_path / name / "out/toy/dataset")
        own = parse_config({"models": {"ddpm_url": "m"}})
        assert own.evaluate.url == str(tmp_path / name / "out/run/evaluation")


FOLDER = {"kind": "folder", "url": "/a"}
NAMED: dict[str, dict[str, Any]] = {
    "unlabelled images": {"data": {"unlabelled": FOLDER}},
    "labelled images": {"data": {"labelled": {**FOLDER, "kind": "pairs", "classes_url": "/c"}}},
    "test images": {"data": {"test": {**FOLDER, "kind": "pairs", "classes_url": "/c"}}},
    "a DDPM": {"models": {"ddpm_url": "/m"}},
    "an ensemble": {"models": {"ensemble_url": "/e"}},
    "a run": {"train": {"url": "/r"}},
    "a model to start from": {"train": {"initial_model_url": "/m"}},
}
KEYS = ("data.unlabelled", "data.labelled", "data.test", "models.ddpm_url", "models.ensemble_url")


@pytest.mark.parametrize("name", NAMED)
def test_whoever_names_anything_gets_nothing_of_the_toy_domain(name: str) -> None:
    tree = NAMED[name]
    config = parse_config(tree)
    named = {f"{section}.{key}" for section in tree for key in tree[section]}
    missing = [key for key in KEYS if key not in named]
    with pytest.raises(UserError) as refused:
        required(config, *missing)
    assert [problem.split(" is not set. ")[0] for problem in refused.value.problems] == missing
    assert "toy" not in dump_config(config)
    assert (config.preset, config.data.image_size) == (None, None)
    assert config.generate.num == 1000
    assert config.generate.url == f"{config.train.url}/dataset"


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"data": {"unlabelled": {"kind": "toy", "num": 8}}},
        {"models": {"ddpm_url": "toy"}},
        {"generate": {"url": "/d", "num": 5}},
        {"evaluate": {"url": "/e"}},
        {"train": {"unet": {"dropout": 0.1}}},
    ],
)
def test_where_nothing_of_ones_own_is_named_the_rest_is_the_toy_domain(
    tree: dict[str, Any],
) -> None:
    config = parse_config(tree)
    assert [required(config, key) for key in KEYS[3:]] == ["toy", "toy"]
    assert all(required(config, key).kind == "toy" for key in KEYS[:3])
    assert config.train.unet.block_out_channels == (32, 64, 128)
    assert (config.data.image_size, config.train.num_steps) == (32, 3000)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"url": "/a", "num": 10}, "kind toy does not read url. Set kind: folder"),
        ({"url": "/a"}, "kind toy does not read url. Set kind: folder"),
        ({"num": 9, "names_url": "/n.json"}, "kind toy does not read names_url"),
        ({**FOLDER, "images": "pictures"}, "kind folder does not read images"),
        ({**FOLDER, "seed": 4}, "kind folder does not read seed"),
        ({**FOLDER, "names_key": "train"}, "names_key needs names_url"),
    ],
)
def test_a_key_that_its_kind_of_source_does_not_read_is_refused(
    source: dict[str, Any], said: str
) -> None:
    (problem,) = refusal({"data": {"unlabelled": source}})
    assert said in problem


def test_what_contradicts_at_two_places_in_one_way_is_told_once() -> None:
    shape = {"block_out_channels": [48, 48], "attention_levels": []}
    problems = section_refusal({"train": {"unet": shape}}, "train")
    assert len(problems) == len(set(problems)) == 1


def test_drawings_that_are_named_are_learned_as_the_toy_domain_is(tmp_path: Path) -> None:
    drawn = {"data": {"unlabelled": {"kind": "toy", "num": 8}}, "train": {"url": str(tmp_path)}}
    config = parse_config(drawn)
    assert config.train.unet == Config().train.unet
    assert config.train.num_steps == Config().train.num_steps
    assert config.data.labelled is None and config.generate.url == f"{tmp_path}/dataset"


@pytest.mark.parametrize(
    ("size", "widths", "attention"),
    [
        (16, (64, 128), (0, 1)),
        (32, (64, 128, 192), (1, 2)),
        ("64", (64, 128, 192, 256), (2, 3)),
        (96, (64, 128, 192, 256), (3,)),
        (256, (64, 128, 192, 256, 256, 256), (4, 5)),
        (1024, (64, 128, 192, 256, 256, 256), ()),
    ],
)
def test_the_network_of_ones_own_images_follows_their_size(
    size: object, widths: tuple[int, ...], attention: tuple[int, ...]
) -> None:
    unet = parse_config({"data": {"image_size": size, "unlabelled": FOLDER}}).train.unet
    assert (unet.block_out_channels, unet.attention_levels) == (widths, attention)


def test_a_network_whose_widths_are_named_has_attention_where_maps_are_small() -> None:
    shape = {"block_out_channels": [32, 64, 96]}
    tree = {"data": {"image_size": 64, "unlabelled": FOLDER}, "train": {"unet": shape}}
    unet = parse_config(tree).train.unet
    assert (unet.block_out_channels, unet.attention_levels) == ((32, 64, 96), (2,))


def test_drawings_by_a_network_of_other_widths_have_attention_where_maps_are_small() -> None:
    unet = parse_config({"train": {"unet": {"block_out_channels": [64, 128]}}}).train.unet
    assert (unet.block_out_channels, unet.attention_levels) == ((64, 128), (1,))


def test_a_section_whose_keys_are_all_commented_out_is_as_if_it_were_absent(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("data:\n  # image_size: 64\ntrain:\n")
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert load_config(str(file)) == load_config(str(empty))


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "toy"])
def test_the_size_of_a_preset_means_the_same_as_its_name(name: str) -> None:
    named = parse_config({"preset": name, "data": {"unlabelled": FOLDER}})
    sized = {"image_size": PRESETS[name].image_size, "unlabelled": FOLDER}
    assert named == parse_config({"data": sized}).model_copy(update={"preset": name})
    assert named.train.num_steps == PRESETS[name].num_steps


def test_keys_that_are_named_win_over_the_preset() -> None:
    train = {"num_steps": 7, "unet": {"dropout": 0.1}}
    config = parse_config({"preset": "128px", "data": {"unlabelled": FOLDER}, "train": train})
    assert (config.train.num_steps, config.train.unet.dropout) == (7, 0.1)
    assert config.train.unet.block_out_channels == PRESETS["128px"].block_out_channels
    config = parse_config({"preset": "64px", "data": {"image_size": 128, "unlabelled": FOLDER}})
    assert config.train.unet.block_out_channels == PRESETS["64px"].block_out_channels
    assert config.train.unet.attention_levels == (3,), "at 16 pixels and below"


def test_the_toy_preset_trains_its_small_network_on_ones_own_images() -> None:
    config = parse_config({"preset": "toy", "data": {"unlabelled": FOLDER}})
    assert config.train.unet == Config().train.unet
    assert (config.data.image_size, config.train.num_steps) == (32, 3000)
    assert config.data.labelled is None


@pytest.mark.parametrize("preset", ["65px", 64, ["64px"]])
def test_a_preset_that_there_is_not_is_refused_with_those_that_there_are(preset: object) -> None:
    (problem,) = refusal({"preset": preset, "data": {"unlabelled": FOLDER}})
    assert problem.startswith("config: preset: ")
    assert all(f"'{name}'" in problem for name in PRESETS)


def test_a_network_of_ones_own_needs_the_size_of_its_images() -> None:
    shape = {"block_out_channels": [32, 64]}
    config = parse_config({"data": {"unlabelled": FOLDER}, "train": {"unet": shape}})
    with pytest.raises(UserError, match=r"data\.image_size is not set"):
        required(config, "data.image_size")


def test_images_of_ones_own_without_a_size_are_refused_with_the_table_of_presets() -> None:
    config = parse_config({"data": {"unlabelled": FOLDER}})
    with pytest.raises(UserError) as refused:
        required(config, "data.image_size")
    (problem,) = refused.value.problems
    assert problem.startswith("data.image_size is not set. Name a preset")
    assert "\n".join(preset_table()) in problem


def test_the_defaults_of_the_keys_are_the_64px_preset() -> None:
    keys = PRESETS["64px"].keys()
    assert keys.pop("data.image_size") == 64
    for key, value in keys.items():
        default: Any = {"train": TrainConfig()}
        for part in key.split("."):
            default = default[part] if isinstance(default, dict) else getattr(default, part)
        assert default == value, key


def test_a_size_that_its_network_cannot_halve_is_refused_where_a_network_is_made() -> None:
    tree = {"data": {"image_size": 100, "unlabelled": FOLDER}}
    (problem,) = section_refusal(tree, "train")
    assert problem.startswith("data.image_size: 100 must be divisible by 8")


@pytest.mark.parametrize("name", NAMED)
def test_a_dumped_config_of_ones_own_loads_to_an_equal_one(name: str, tmp_path: Path) -> None:
    config = parse_config(NAMED[name])
    assert load_config(written(tmp_path, dump_config(config))) == config
    assert parse_config(config_tree(config)) == config


def test_a_config_that_version_0_2_stored_means_what_it_meant() -> None:
    config = load_config(str(Path(__file__).with_name("version_0_2_0.yaml")))
    assert config.train.unet.dropout == 0.1 and config.train.diffusion.num_timesteps == 400
    assert config.fit.timesteps == (10, 40) and config.fit.num_members == 4
    assert config.generate.feature_source == "trajectory" and config.generate.num == 5
    assert config.generate.vote == config.evaluate.vote == "hard"
    assert (config.models.ddpm_url, config.data.test, config.preset) == ("/m", None, None)


def test_an_override_wins_over_a_config_that_an_older_version_stored() -> None:
    file = str(Path(__file__).with_name("version_0_2_0.yaml"))
    config = load_config(file, [("generate.vote", "soft"), ("train.unet.dropout", 0.3)])
    assert (config.generate.vote, config.train.unet.dropout) == ("soft", 0.3)
    with pytest.raises(UserError, match=r"ensemble\.vote: is called generate\.vote and"):
        load_config(file, [("ensemble.vote", "soft")])


def test_a_config_that_version_0_1_stored_means_what_it_meant(tmp_path: Path) -> None:
    stored = ROOT / "tests/shards/version_0_1/parquet/_factory/config.yaml"
    config = load_config(str(stored))
    assert config.train.unet.block_out_channels == (16, 32)
    assert config.train.diffusion.num_timesteps == 100
    assert (config.fit.timesteps, config.fit.blocks) == ((10, 40), (1, 2))
    assert config.data.test is not None and config.data.test.kind == "toy"
    tree = {**yaml.safe_load(stored.read_text()), "models": {"ddpm_url": None}}
    bare = load_config(written(tmp_path, yaml.safe_dump(tree)))
    assert bare.models.ddpm_url == "toy", "nothing was the embedded model"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"ensemble": {"vote": "hard"}}, "is called generate.vote and evaluate.vote now"),
        ({"ensemble": {"hidden": [8, 8]}}, "is called fit.hidden now"),
        ({"features": {"source": "renoise"}}, "is called generate.feature_source now"),
        ({"features": {"timesteps": [5]}}, "is called fit.timesteps now"),
        ({"unet": {"dropout": 0.1}}, "is called train.unet.dropout now"),
        ({"diffusion": {"num_timesteps": 5}}, "is called train.diffusion.num_timesteps now"),
    ],
)
def test_a_key_that_has_moved_is_refused_with_its_new_name(
    tree: dict[str, Any], message: str
) -> None:
    ((section, keys),) = tree.items()
    assert refusal(tree) == (f"config: {section}.{next(iter(keys))}: {message}.",)


def test_all_keys_of_sections_that_have_moved_are_told_at_once() -> None:
    problems = refusal(
        {"ensemble": {"seed": 1, "hiden": [1, 1]}, "unet": None, "generate": {"n": 1}}
    )
    assert {problem.split(": ")[1] for problem in problems} == {
        *("ensemble.seed", "ensemble.hiden", "unet", "generate.n"),
    }
    assert any("Did you mean fit.hidden?" in problem for problem in problems)
    assert any("unet: is called train.unet now" in problem for problem in problems)


def test_a_folder_named_toy_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_config({"models": {"ddpm_url": "./toy"}}).models.ddpm_url == str(tmp_path / "toy")


BLOCKS = [
    (file.name, block)
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for block in re.findall(r"```yaml\n(.*?)```", file.read_text(), re.S)
]


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_every_config_that_the_documents_show_is_whole_and_of_ones_own(
    name: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(written(tmp_path, block))
    labels_alone = config.data.unlabelled is None and config.label.source is not None
    if not labels_alone:  # The models bring the size.
        required(config, "data.image_size")
    sources = (config.data.unlabelled, config.data.labelled, config.data.test)
    assert all(source is None or source.kind != "toy" for source in sources)
    assert "toy" not in (config.models.ddpm_url, config.models.ensemble_url)
    assert "out/toy" not in dump_config(config)
    trained = config.models.ddpm_url == f"{config.train.url}/model"
    for key in KEYS[3:] if labels_alone else KEYS if trained else KEYS[1:]:
        required(config, key)


def test_the_config_for_ones_own_images_resolves_to_what_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ((_, block),) = [each for each in BLOCKS if each[0] == "README.md"]
    config = load_config(written(tmp_path, block))
    assert config.train.unet.block_out_channels == (64, 128, 192, 256)
    assert (config.train.num_steps, config.train.batch_size) == (20_000, 32)
    assert config.models.ddpm_url == f"{config.train.url}/model" == f"{tmp_path}/out/mine/model"
    assert config.probe.url == f"{tmp_path}/out/mine/probe"
    assert config.evaluate.url == f"{tmp_path}/out/mine/evaluation"
    assert config.generate.url == f"{tmp_path}/out/mine/dataset"
    assert config.generate.num == 1000


def numbers_of(
    section: type[Section], path: str = ""
) -> Iterator[tuple[str, list[type], FieldInfo]]:
    """The keys of a section, and of those below it, that take numbers and no booleans."""
    for name, field in section.model_fields.items():
        kinds = list(kinds_of(field.annotation))
        for kind in kinds:
            if issubclass(kind, Section):
                yield from numbers_of(kind, f"{path}{name}.")
        if {int, float} & {*kinds} and bool not in kinds:
            yield f"{path}{name}", kinds, field


def kinds_of(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from kinds_of(part)


def test_no_number_may_be_a_boolean_or_is_without_end() -> None:
    found = list(numbers_of(Config))
    assert {"generate.ignore_uncertainty", "fit.timesteps", "data.test.intensity"} <= {
        path for path, _, _ in found
    }
    for path, kinds, field in found:
        known = (field.annotation, *field.metadata)
        kind: Any = Annotated[known] if field.metadata else field.annotation
        adapter = TypeAdapter[Any](kind)
        for number in (True, False, *([math.inf, -math.inf, math.nan] if float in kinds else [])):
            for value in (number, [number], [number, number], {"skin": number}):
                with pytest.raises(ValidationError):
                    adapter.validate_python(value)
                    print(f"{path} takes {value}")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"min_training_distance": 0}, "input should be greater than 0, or 'unusual', got 0"),
        ({"min_training_distance": math.inf}, "a finite number, or 'unusual', got inf"),
        ({"ignore_uncertainty": True}, "must be a number, or 'wrong', got True"),
        ({"ignore_uncertainty": 0}, "input should be greater than 0, or 'wrong', got 0"),
        ({"select": {"keep": 1}}, "0.5 for the more certain half, got '1'. To keep all, leave it"),
        ({"select": {"at_least": {"hat": -1}}}, "such as {hat: 500}, got {'hat': -1}"),
        ({"select": {"at_least": ["hat"]}}, "such as {hat: 500}, got ['hat']"),
        ({"select": {"at_least": "hat"}}, "such as {hat: 500}, got 'hat'"),
    ],
)
def test_what_pairs_are_not_chosen_by_is_refused_with_what_to_write(
    setting: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as refused:
        parse_config({"generate": setting})
    (problem,) = refused.value.problems
    assert said in problem

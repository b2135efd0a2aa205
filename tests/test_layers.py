"""Claims about who imports whom."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import PurePosixPath

from tests.sources import ROOT, trees

# Later lines import from earlier ones; a line's modules do not import each other, but those of a
# package (data.*) may, without a cycle.
LAYERS = """
alike
errors faults threads
processes
storage.*
storage
classes differences yaml_reading yaml_writing
histogram images scores
calibration
certainty
certainty_picture
png pictures
values
data.toy.*
data.files.*
data.classes.*
data.pixels.*
data.masks.*
data.items
data.surveying.*
data.recognizing.*
data.sections data.tiles data.arrays data.passes data.loading data.inspection data.conversions \
data.duplicates data.contact_sheet
data.sharded.*
data.drawn.*
data.kinds.*
config.*
config
next_commands
new_config.*
progress streams signals precision torch_threads embedded ray_internals.*
data.cache.*
cluster
ranks worker_group step_lines
diffusion.muon diffusion.network diffusion.noise diffusion.schedule diffusion.compilation \
diffusion.philox
diffusion.tensors diffusion.pickled
diffusion.timesteps diffusion.prediction diffusion.held_out
diffusion.samplers
diffusion.folders
diffusion.fields
diffusion.schedulers
diffusion.families.*
diffusion.run_end
diffusion.train_state
diffusion.train_step
diffusion.checkpoints
likeness.*
labeling.*
diffusion.run_checkpoints diffusion.run_health diffusion.run_sheet
diffusion.run_identity
diffusion.run_start
diffusion.run_models
diffusion.run_labels
diffusion.training_worker
diffusion.training
shards.*
generation.hardware generation.gpu_memory generation.deadlines generation.failures generation.job
generation.dispatcher
generation.pool
generation.watching
generation.choice_settings
generation.recipe
generation.label_recipe generation.label_place generation.source_images
generation.label_listing generation.relabelled_images
generation.frozen_models
generation.drawing generation.choosing
generation.synthesizer generation.labeller generation.image_sampler
generation.stages
generation.row_images
generation.planning
generation.probe
generation.shard_maker
generation.ray_actors generation.local
generation.sampling
generation.command
generation.repair
segmentation.unet segmentation.networks segmentation.augmentation segmentation.batches \
segmentation.scoring segmentation.train_step segmentation.run_identity
segmentation.folder segmentation.material
segmentation.result
segmentation.alone segmentation.training_worker
segmentation.training
proving.conditions
proving.proof proving.materials
proving.runs
proving.ray_tasks
proving.trainings
proving.command
certainty_page comparison disagreement page_parts
comparison_page worst_pairs
worst_pairs_page
report importing
arguments
exporting.options exporting.outlines
exporting.pairs
exporting.format
exporting.objects exporting.ledger
exporting.writing
exporting.formats.*
exporting.table
exporting.command
suggesting.*
segmenter
commands command
dataset_commands
dataset_command_table
command_table
api datasets cli
__main__
"""
RAY_AT_MODULE_LEVEL = {
    "ray_internals.messages",
    "ray_internals.session",
    "ray_internals.train",
    "cluster",
    "generation.pool",
    "diffusion.training",
    "diffusion.training_worker",
    "ranks",
    "segmentation.training",
    "segmentation.training_worker",
    "proving.ray_tasks",
    "worker_group",
    "generation.ray_actors",
}


@cache
def modules() -> dict[str, ast.Module]:
    """{'data.toy': its syntax tree}; a package that offers names itself is one, too."""
    found = {}
    for path, tree in trees().items():
        package, *parts = PurePosixPath(path).with_suffix("").parts
        name = ".".join(parts).removesuffix("__init__").removesuffix(".")
        if package == "factory" and name and (parts[-1] != "__init__" or any(imported(tree))):
            found[name] = tree
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Yields the full names of all that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def dependencies(module: str) -> set[str]:
    """Returns the factory's modules that a module imports."""
    found: set[str] = set()
    for name in imported(modules()[module]):
        inner = f"{name.removeprefix('factory.')}."
        known = [other for other in modules() if inner.startswith(f"{other}.")]
        found.update(sorted(known, key=len)[-1:])
    return found


def rank(module: str) -> int:
    """Returns the line of a module in the table."""
    package = module.rpartition(".")[0] + ".*"
    lines = [line.split() for line in LAYERS.split("\n")]
    ranks = [i for i, names in enumerate(lines) if module in names or package in names]
    assert len(ranks) == 1, f"{module} is not in the table of layers"
    return ranks[0]


def may_import(module: str, other: str) -> bool:
    """True if the table has other above the module, or in the same line and package."""
    package = module.rpartition(".")[0]
    siblings = package != "" and other.rpartition(".")[0] == package
    return rank(other) < rank(module) or (rank(other) == rank(module) and siblings)


def test_modules_import_only_from_above_them() -> None:
    pairs = [(module, other) for module in modules() for other in dependencies(module)]
    assert not [
        f"{module} imports {other}" for module, other in pairs if not may_import(module, other)
    ]


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({module: dependencies(module) for module in modules()}).prepare()


def test_the_table_sees_the_imports_that_are_there() -> None:
    assert {"config", "errors", "images", "shards.ledger"} <= {
        other for module in modules() for other in dependencies(module)
    }
    assert dependencies("diffusion.samplers") == {
        "diffusion.network",
        "diffusion.noise",
        "diffusion.schedule",
        "diffusion.timesteps",
    }
    assert "diffusion.training" in dependencies("commands"), "imports inside functions count"


def test_shards_know_nothing_of_networks_and_configs() -> None:
    allowed = {"errors", "faults", "classes", "storage", "storage.hub", "differences"}
    allowed |= {"images", "png", "progress", "scores", "calibration", "threads"}
    shards = [module for module in modules() if module.startswith("shards.")]
    others = {(module, other) for module in shards for other in dependencies(module)}
    assert shards and not [
        f"{module} imports {other}"
        for module, other in sorted(others)
        if other not in allowed and not other.startswith("shards.")
    ]


def at_import(tree: ast.AST) -> Iterator[str]:
    """Yields what a module imports when it is imported: not in functions, not for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from at_import(node)


def test_ray_stays_at_the_rim() -> None:
    with_ray = {
        module
        for module, tree in modules().items()
        if any(name.split(".")[0] == "ray" for name in at_import(tree))
    }
    assert with_ray == RAY_AT_MODULE_LEVEL


def test_one_room_alone_touches_what_ray_keeps_to_itself() -> None:
    private = re.compile(r"ray\.([\w.]+\.)?(_private|_common|_internal|_raylet|_config)\b")
    touching = {
        module
        for module, tree in modules().items()
        if any(map(private.match, imported(tree))) or private.search(ast.unparse(tree))
    }
    assert touching == {
        "ray_internals.messages",
        "ray_internals.session",
        "ray_internals.train",
    }


def test_only_storage_knows_fsspec() -> None:
    with_fsspec = {
        module
        for module, tree in modules().items()
        if any(name.split(".")[0] == "fsspec" for name in imported(tree))
    }
    assert with_fsspec == {"storage.files"}


def test_only_storage_tries_again() -> None:
    # Tries around calls that try again by themselves would multiply.
    with_retries = {module for module in modules() if "storage.retries" in dependencies(module)}
    assert with_retries and all(module.startswith("storage.") for module in with_retries)


def test_a_config_is_read_without_torch_and_ray() -> None:
    code = (
        "import sys; import factory.config; factory.config.load_config(None);"
        "print(*sorted({'torch', 'ray', 'numpy', 'pyarrow', 'PIL'} & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert process.stdout.split() == []

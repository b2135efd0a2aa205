"""Claims about the code itself: what could run a user's file is nowhere called."""

import ast
from collections.abc import Iterator

import pytest

from tests.sources import texts, trees

MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle"}
"""Nothing is imported from them, but what cannot load anything."""
IMPORT_PICKLE = {"factory/diffusion/pickled.py", "factory/shards/tensors.py"}
"""Here each use is named in full, and looked at by itself."""
HARMLESS = {"pickle.UnpicklingError", "pickle.PicklingError", "pickle.dumps"}
"""Writing runs nothing that was read, nor do the names of errors."""

CALLS = {
    "eval", "exec", "compile", "__import__", "input", "importlib.import_module",
    "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "pty.spawn",
    "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all",
    "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "torch.export.load",
    "torch.distributed.checkpoint.load", "ray.cloudpickle.loads",
    "pd.read_pickle", "pandas.read_pickle", "np.fromregex", "tempfile.mktemp",
}  # fmt: skip
NOTHING = {"exec('')"}
"""What runs nothing, and is there for what running does beside."""
NAMED_BY_CONFIG = {("factory/segmentation/networks.py", "importlib.import_module")}
"""Where a config may name code to run, as SECURITY.md says: `segment.network`."""
METHODS = {"extractall", "extract", "read_pickle", "from_pretrained"}


def problems(tree: ast.Module, file: str) -> Iterator[str]:
    """Yields the lines of a module that could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _of_import(node, file)
        elif isinstance(node, ast.Call):
            yield from _of_call(node, file)
        elif isinstance(node, ast.Attribute) and _is_of_pickle(name := ast.unparse(node)):
            yield f"{file}:{node.lineno}: {name}"


def _is_of_pickle(name: str) -> bool:
    return name.partition(".")[0] in MODULES and name not in HARMLESS


def _of_import(node: ast.Import | ast.ImportFrom, file: str) -> Iterator[str]:
    whole = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names = whole or [getattr(node, "module", "")]
    for name in names:
        allowed = name == "pickle" and file in IMPORT_PICKLE and whole
        if name.split(".")[0] in MODULES and not allowed:
            yield f"{file}:{node.lineno}: imports {name}"


def _of_call(node: ast.Call, file: str) -> Iterator[str]:
    name = ast.unparse(node.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    where = f"{file}:{node.lineno}: {name}"
    if ast.unparse(node) in NOTHING or (file, name) in NAMED_BY_CONFIG:
        return
    if name in CALLS or (isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
        yield where
    if (
        keywords.get("shell", "False") != "False"
        or keywords.get("trust_remote_code", "False") != "False"
    ):
        yield f"{where} with {keywords}"
    if name == "torch.load" and (
        file != "factory/diffusion/pickled.py" or keywords.get("weights_only") != "True"
    ):
        yield f"{where} may unpickle"
    if name in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False":
        yield f"{where} may unpickle"
    if name == "yaml.load":
        loader = ast.unparse(node.args[1]) if len(node.args) > 1 else keywords.get("Loader", "")
        if (file, loader) != ("factory/yaml_reading.py", "_Loader"):
            yield f"{where} with the loader {loader!r}"


@pytest.mark.slow
def test_no_module_can_run_what_it_reads() -> None:
    assert not [problem for file, tree in trees().items() for problem in problems(tree, file)]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import cloudpickle as c",
        "from pickle import loads",
        "from dill import load",
        "import marshal",
        "pickle.loads(data)",
        "eval(text)",
        "exec(open(path).read())",
        "__import__(name)",
        "importlib.import_module(name)",
        "yaml.load(text)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text, Loader=yaml.UnsafeLoader)",
        "yaml.unsafe_load(text)",
        "torch.load(file)",
        "torch.load(file, weights_only=True)",
        "torch.jit.load(file)",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "tar.extractall(folder)",
        "DDPMPipeline.from_pretrained(name)",
        "load_dataset(name, trust_remote_code=True)",
    ],
)
def test_the_gate_sees(code: str) -> None:
    assert list(problems(ast.parse(code), "factory/storage/files.py"))


def test_the_gate_lets_pass_what_is_safe() -> None:
    code = "np.load(file, allow_pickle=False); json.loads(text); yaml.safe_load(text)"
    assert not list(problems(ast.parse(code), "factory/storage/files.py"))
    code = "torch.load(file, weights_only=True)\nimport pickle\npickle.UnpicklingError"
    assert not list(problems(ast.parse(code), "factory/diffusion/pickled.py"))


def test_the_yaml_loader_is_a_safe_one() -> None:
    tree = ast.parse(texts()["factory/yaml_reading.py"])
    loaders = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    (loader,) = [node for node in loaders if node.name == "_Loader"]
    assert [ast.unparse(base) for base in loader.bases] == ["yaml.SafeLoader"]
    assert "add_constructor" not in ast.unparse(tree)

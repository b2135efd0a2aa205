"""Claims about the wheel: what it installs works from any folder, without the repository."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from factory import __version__

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel of this tree is installed in; dependencies are those of here."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # A copy, since a build leaves folders behind, and what they hold would be built next time.
    for name in filter(None, tracked.stdout.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            (source / name).symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-index"]
    _check([*pip, "wheel", *options, "--no-build-isolation", "-w", str(folder), str(source)])
    [wheel] = folder.glob("*.whl")
    assert __version__ in wheel.name
    _check([*pip, "install", *options, "--target", str(folder / "installed"), str(wheel)])
    return folder / "installed"


def _check(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Runs Python in an empty folder, where only the wheel's package is found."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def test_it_is_the_wheel_that_is_imported(run: Run, installed: Path) -> None:
    done = run("-c", "import factory; print(factory.__file__)")
    assert done.stdout.strip() == str(installed / "factory" / "__init__.py")
    assert run("-m", "factory", "--version").stdout == f"factory {__version__}\n"


def test_it_has_the_recipes_of_the_repository(run: Run, installed: Path) -> None:
    """They work from any folder: what they name of the package is found there."""
    shipped = {file.name: file.read_bytes() for file in (installed / "factory/recipes").iterdir()}
    assert shipped == {file.name: file.read_bytes() for file in (ROOT / "configs").iterdir()}
    for name in shipped:
        done = run(
            "-m", "factory", "train", "--recipe", name.removesuffix(".yaml"), "--print-config"
        )
        assert "factory/assets" not in done.stdout


def test_the_toy_domain_runs_from_generate_to_verify(run: Run, tmp_path: Path) -> None:
    run(
        *("-m", "factory", "generate", "--workers=here", "--num=4", "--out=pairs"),
        *("--ddpm=toy", "--ensemble=toy", "--set=generate.num_sampling_steps=4"),
        "--set=generate.batch_size=4",
    )
    assert (tmp_path / "pairs" / "_SUCCESS").is_file()
    assert "4" in run("-m", "factory", "status", "pairs").stdout
    run("-m", "factory", "verify", "pairs")
    run("-m", "factory", "report", "pairs")
    assert (tmp_path / "pairs" / "report" / "index.html").is_file()


def test_a_users_type_checker_sees_our_types(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("import factory\nreveal_type(factory.load_ddpm().image_size)\n")
    # What the package is built on takes minutes to be checked, and says nothing of its own types.
    skipped = ["PIL", "fsspec", "jinja2", "numpy", "pyarrow", "pydantic", "ray", "torch"]
    lines = ["[mypy]", *(f"[mypy-{name}.*]\nfollow_imports = skip" for name in skipped)]
    (tmp_path / "mypy.ini").write_text("\n".join(lines))
    done = run("-m", "mypy", "--cache-dir", str(tmp_path / "cache"), str(script))
    assert 'Revealed type is "int"' in done.stdout.replace("builtins.", "")

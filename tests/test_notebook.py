"""Claims about the notebook in examples/: it runs, anywhere, and is kept without outputs."""

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs(notebook: Any) -> None:
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.slow
def test_the_notebook_runs_in_another_folder_and_shows_pictures(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    # Threads that wait for each other beside other work take many times its processor time.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copytree(NOTEBOOK.parent / "nuclei64", tmp_path / "nuclei64")
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    printed = "".join(output.get("text", "") for output in outputs)
    assert "20 to learn from, 100 to measure on" in printed
    assert float(printed.partition("mean IoU ")[2].split()[0]) > 0.7
    assert "120 images are labelled" in printed and "16 pairs, of which 8 are kept" in printed

"""What a finished training of a segmentation network leaves: its folder, scores and pictures."""

from importlib.util import find_spec

from torch import nn

from factory import storage
from factory.config.segment import SegmentConfig
from factory.data.loading import Labelled
from factory.diffusion.run_checkpoints import saving
from factory.errors import counted
from factory.png import encode_png
from factory.progress import tell
from factory.scores import Score
from factory.segmentation.folder import (
    METRICS,
    ONNX,
    SHEET,
    NetworkConfig,
    TrainedNetwork,
    network_files,
    onnx_bytes,
)
from factory.segmentation.material import Material, described
from factory.segmentation.run_identity import departures
from factory.segmentation.scoring import score_of, sheet_of


def model_url(settings: SegmentConfig) -> str:
    """The URL of the folder that a training makes."""
    return storage.join(settings.url, "model")


def write_result(
    settings: SegmentConfig, network: nn.Module, material: Material, step: int
) -> None:
    """Measures the averaged network, and writes its folder. Raises UserError where it cannot be
    written."""
    trained = TrainedNetwork(network.eval(), _config(settings, material))
    score = None if material.test is None else score_of(network, material.test)
    metrics = None
    if score is not None and material.test is not None:
        metrics = {"num_images": len(material.test), **score.as_json(material.classes)}
        tell(f"segment | {' | '.join(score.lines(material.classes))}")
    card = _card(settings, material, step, score)
    files = network_files(trained, metrics, card)
    if (shown := _shown(material)) is not None:
        sheet = sheet_of(network, shown.images, shown.masks, material.classes)
        files[SHEET] = encode_png(sheet)
    if _exports(settings):
        files[ONNX] = onnx_bytes(trained)
    url = model_url(settings)
    with saving("the network", url):
        for name in (ONNX, METRICS, SHEET):
            # Of an earlier result, and not of this one.
            if name not in files and storage.exists(storage.join(url, name)):
                fs, path = storage.filesystem(storage.join(url, name))
                fs.rm(path)
        for name, data in files.items():
            storage.write(storage.join(url, name), data)


def _shown(material: Material) -> Labelled | None:
    """The pairs that a sheet shows: those it is measured on, or else learned from."""
    return material.test or material.real


def _config(settings: SegmentConfig, material: Material) -> NetworkConfig:
    return NetworkConfig(
        image_size=material.image_size,
        num_channels=material.num_channels,
        class_names=material.classes.names,
        palette=material.classes.palette,
        widths=settings.widths if settings.network is None else None,
        network=settings.network,
    )


def _exports(settings: SegmentConfig) -> bool:
    """True if ONNX is written; says so where it is not, for want of a package."""
    is_there = find_spec("onnxscript") is not None
    if settings.onnx == "auto" and not is_there:
        tell("segment | no model.onnx: for that, install the extra `onnx`")
    return is_there if settings.onnx == "auto" else settings.onnx


def _card(settings: SegmentConfig, material: Material, step: int, score: Score | None) -> str:
    steps, batch = counted(step, "step"), counted(settings.batch_size, "pair")
    names = ", ".join(material.classes.names)
    card = (
        f"# Segmentation network, {material.image_size} px\n\n"
        f"Learned from {described(material)}; {steps} of {batch}. Classes: {names}.\n"
    )
    if score is not None and material.test is not None:
        num = counted(len(material.test), "real image")
        means, per_class = score.lines(material.classes)
        card += f"\nOn {num} that it has not seen: {means}. {per_class}.\n"
    for line in departures(settings):
        card += f"\nNot bit-equal to a run that nothing was changed in: {line}.\n"
    return card

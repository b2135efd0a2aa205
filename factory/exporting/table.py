"""All formats by name: a new one is a file in `formats/` and a row here."""

from factory.exporting.format import Format
from factory.exporting.formats.cityscapes import CityscapesFormat
from factory.exporting.formats.coco import CocoFormat
from factory.exporting.formats.folder import FolderFormat
from factory.exporting.formats.hub import HubFormat
from factory.exporting.formats.imagefolder import ImageFolderFormat
from factory.exporting.formats.parquet import ParquetFormat
from factory.exporting.formats.voc import VocFormat
from factory.exporting.formats.webdataset import WebDatasetFormat
from factory.exporting.formats.yolo import YoloFormat

FORMATS: dict[str, type[Format]] = {
    "folder": FolderFormat,
    "imagefolder": ImageFolderFormat,
    "coco": CocoFormat,
    "yolo": YoloFormat,
    "voc": VocFormat,
    "cityscapes": CityscapesFormat,
    "parquet": ParquetFormat,
    "webdataset": WebDatasetFormat,
    "hub": HubFormat,
}

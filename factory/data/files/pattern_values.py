"""The patterns of images and masks as values of keys in a config."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from factory.data.files import patterns


def _images_pattern(text: str) -> str:
    """The text, if it is a pattern of images. Raises ValueError."""
    patterns.parse_images(text)
    return text


def _masks_pattern(text: str) -> str:
    """The text, if it is a pattern of masks. Raises ValueError."""
    patterns.parse_masks(text)
    return text


def _several(value: Any) -> Any:
    """A text by itself stands for a list of one."""
    return [value] if isinstance(value, str) else value


ImagesPattern = Annotated[str, AfterValidator(_images_pattern)]
ImagesPatterns = Annotated[tuple[ImagesPattern, ...], BeforeValidator(_several)]
MasksPattern = Annotated[str, AfterValidator(_masks_pattern)]

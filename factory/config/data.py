"""The section `data`: the images of the domain, and where they come from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from factory.config.values import MAX_IMAGE_SIZE, Count, Folder, Positive, Section, Seed, Url


class Source(Section):
    """Where images, and perhaps masks, come from."""

    kind: Literal["toy", "folder", "pairs"] = "toy"
    """toy: drawn faces; folder: images without masks; pairs: images beside masks."""
    url: Url | None = None
    """The folder (folder, pairs)."""
    num: Count | None = None
    """Toy: how many to draw. Others: use only the first so many."""
    seed: Seed = 0
    """Toy: which drawings."""
    images: str = "images"
    """Pairs: sub-folder of the images."""
    masks: str = "masks"
    """Pairs: sub-folder of the masks, `L` or palette PNG, value = class id, 255 = ignore."""
    classes_url: Url | None = None
    """Pairs: JSON of class names, {"0": name, ...} or [name, ...]."""
    names_url: Url | None = None
    """Pairs: JSON list of image file names to use; all if absent."""
    names_key: str | None = None
    """The key of that list, where the JSON is an object of several lists."""

    @model_validator(mode="after")
    def _complete(self) -> "Source":
        if unread := [key for key in _UNREAD[self.kind] if self._is_set(key)]:
            raise ValueError(f"kind {self.kind} does not read {', '.join(unread)}. {_INSTEAD}")
        if self.names_key is not None and self.names_url is None:
            raise ValueError("names_key needs names_url: the JSON file of the lists")
        if self.kind == "toy" and self.num is None:
            raise ValueError("kind toy needs num: how many drawings")
        if self.kind != "toy" and self.url is None:
            raise ValueError(f"kind {self.kind} needs url: the folder")
        if self.kind == "pairs" and self.classes_url is None:
            raise ValueError("kind pairs needs classes_url: a JSON file of class names")
        return self

    def _is_set(self, key: str) -> bool:
        """Whether a key has another value than its default, which stored configs spell out."""
        value = getattr(self, key)
        return bool(value != type(self).model_fields[key].default)


_UNREAD = {
    "toy": ("url", "images", "masks", "classes_url", "names_url", "names_key"),
    "folder": ("seed", "images", "masks"),
    "pairs": ("seed",),
}
"""Keys of a source that say nothing to its kind: whoever sets one means another kind."""
_INSTEAD = (
    "Set kind: folder for all images below url, kind: pairs for images beside masks, kind: toy for "
    "drawings; or leave these keys out."
)


class DataConfig(Section):
    """The images of the domain."""

    image_size: Annotated[Count, Field(le=MAX_IMAGE_SIZE)] = 32
    """Height and width in pixels; larger or oblong images are cropped to a square and scaled. For
    images of one's own 64 if absent."""
    unlabelled: Source | None = None
    """What the DDPM learns from."""
    labelled: Source | None = None
    """The few labelled images that the ensemble learns from."""
    test: Source | None = None
    """Labelled images, none of them in `labelled`, for `factory evaluate`."""
    cache_dir: Folder | None = None
    """Where each machine keeps the decoded images that `train` reads; absent: factory/images in
    $XDG_CACHE_HOME or ~/.cache. What was used longest ago is removed for what is new."""
    cache_gib: Positive = 100.0
    """That the cache may hold on each machine."""

"""`factory import`: published weights become folders that `fit`, `evaluate` and `generate` read."""

from dataclasses import dataclass

from factory import embedded, storage
from factory.diffusion.checkpoints import frozen_network, load_model, save_model
from factory.diffusion.families.diffuseseg import DiffuseSegUNet
from factory.diffusion.families.table import FAMILIES
from factory.diffusion.network import Family, FeatureNetwork, Published
from factory.diffusion.pickled import read_pickled
from factory.errors import UserError
from factory.labeling.diffuseseg_mlps import FILES, read_ensemble
from factory.labeling.ensemble import Ensemble
from factory.labeling.heads import check_fits, save_head

_DDPM_CARD = """# A DDPM of {authors}

Made by `factory import` from {name}. The licence is that of the weights it was made from.
"""


@dataclass(frozen=True)
class ImportedDdpm:
    """The network of a published checkpoint, and what it was trained with."""

    network: FeatureNetwork
    published: Published

    def save(self, url: str, name: str) -> None:
        """Writes a model folder; name: the file that it was made from. Raises OSError."""
        card = _DDPM_CARD.format(authors=self.published.authors, name=name)
        image_size = self.published.image_size
        save_model(self.network, self.published.diffusion, image_size, url, card=card)


def import_weights(source: str, out: str, ddpm_url: str | None, dry_run: bool = False) -> str:
    """Reads published weights and writes them to a new folder; returns its url.

    source: the file of a network, or the folder of DiffuseSeg's ten MLPs, which belong to the
    network that was imported to ddpm_url. Raises UserError before anything is written, and
    OSError while writing.
    """
    source, out = storage.normalize(source), storage.normalize(out)
    _check_empty(out)
    if any(storage.exists(storage.join(source, name)) for name in FILES):
        ensemble = read_mlps(source, ddpm_url)
        storage.check_writable(out)
        if not dry_run:
            save_head(ensemble, out)
        return out
    if ddpm_url is not None:
        raise UserError(
            f"{source}: has none of {FILES[0]} to {FILES[-1]}. Name their folder, or leave --ddpm "
            "out to import a network."
        )
    ddpm = read_ddpm(source)
    storage.check_writable(out)
    if not dry_run:
        ddpm.save(out, storage.name_of(source))
    return out


def read_ddpm(url: str) -> ImportedDdpm:
    """The network of a published checkpoint; its shape is read off its tensors.

    Raises UserError where the file is missing or damaged, holds more than tensors, or is of
    another network, naming every tensor that does not fit.
    """
    tensors = read_pickled(storage.normalize(url))
    family, published = _family_of(set(tensors), url)
    shape = published.shape(tensors, url)
    network = frozen_network(family, shape, tensors, url, "the rest of the file")
    return ImportedDdpm(network, published)


def read_mlps(folder: str, ddpm_url: str | None) -> Ensemble:
    """The ensemble that equals DiffuseSeg's ten MLPs below a folder. Raises UserError."""
    if ddpm_url is None:
        raise UserError(
            f"{folder}: holds pixel classifiers, which belong to a network. Import that first, "
            "then name its folder with --ddpm."
        )
    ddpm = load_model(embedded.ddpm_url(ddpm_url))
    if not isinstance(ddpm.unet, DiffuseSegUNet):
        raise UserError(
            f"--ddpm: {ddpm_url} is not DiffuseSeg's network, to which the pixel classifiers of "
            f"{folder} belong. Import that first, then name its folder with --ddpm."
        )
    ensemble = read_ensemble([storage.join(folder, name) for name in FILES], ddpm)
    check_fits(ensemble.config, ddpm, folder, "Name the network that they belong to with --ddpm")
    return ensemble


def _family_of(names: set[str], url: str) -> tuple[Family, Published]:
    """The family whose tensors have these names. Raises UserError."""
    readable = [(family, family.published) for family in FAMILIES.values() if family.published]
    for family, published in readable:
        if any(name.startswith(published.prefix) for name in names):
            return family, published
    authors = " or ".join(f"{published.authors}'s" for _, published in readable)
    examples = " or ".join(published.example for _, published in readable)
    raise UserError(
        f"{url}: is no U-Net of {authors}: no tensor has a name as theirs have. Name a .pth file "
        f"such as {examples}."
    )


def _check_empty(url: str) -> None:
    """Raises UserError where files lie in the folder: none of them is replaced."""
    try:
        existing = storage.list_files(url)
    except OSError as error:
        raise storage.to_user_error(url, error, "read", "Choose another --out.") from None
    if existing:
        raise UserError(
            f"--out: {url} holds files already, such as {storage.name_of(existing[0])}. Choose "
            "another folder, or remove them."
        )

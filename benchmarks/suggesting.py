"""Do labels that `factory suggest` chooses teach more than labels at random?

    python benchmarks/suggesting.py [--config FILE] [--seeds 0 1 2 3 4] [--first 5] [--num 20]
                                    [--weights 0 0.5 1] [--set A.B=C]

The masks of all images of data.labelled are known, and taken for unknown: for each seed some of
them, at random, are the first labels, on which an ensemble is fitted. By its uncertainty, and the
features, so many more are chosen as `factory suggest` does it, a choice for each weight of
uncertainty. `ours` is the mean IoU on data.test of an ensemble that is fitted on the first labels
and these; `other` the same with as many at random, the same ones for all weights. Without --config
the images are drawn faces: 200 to choose from, 100 to measure on.
"""

import argparse
import statistics

import measuring
import numpy as np
import numpy.typing as npt
import torch
from measuring import Row

from factory.config import Config, load_config, required
from factory.data.loading import Labelled, read_labelled
from factory.diffusion.checkpoints import Model
from factory.labeling.commands import available_device, load_ddpm
from factory.labeling.fitting import fit_head
from factory.labeling.folds import part_of
from factory.labeling.head import Head
from factory.scores import Score
from factory.suggesting.choosing import choose
from factory.suggesting.gain import confusions
from factory.suggesting.labelled_candidates import label_images, whole_square
from factory.values import TOY


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--config", help="a config; absent: drawn faces")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments.add_argument("--first", type=int, default=5, help="labels before anything is chosen")
    arguments.add_argument("--num", type=int, default=20, help="labels that are chosen")
    arguments.add_argument("--weights", type=float, nargs="+", default=[0.5])
    measuring.add_set(arguments)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    config = config_of(arguments)
    model = load_ddpm(config, "data.labelled", "data.test")
    model.unet.to(available_device())
    pool, test = (
        read_labelled(required(config, key), model.image_size, model.channels)
        for key in ("data.labelled", "data.test")
    )
    with measuring.reporting("Suggesting", arguments.json) as (rows, notes):
        gains: dict[float, list[float]] = {weight: [] for weight in arguments.weights}
        for seed in arguments.seeds:
            trial = Trial(model, pool, test, config, seed, arguments.first, arguments.num)
            at_random = trial.mean_iou(trial.at_random())
            for weight in arguments.weights:
                by_choice = trial.mean_iou(trial.chosen(weight))
                rows.append(
                    Row(f"seed {seed}, weight {weight:g}", by_choice, at_random, "mean IoU")
                )
                gains[weight].append(by_choice - at_random)
        for weight, found in gains.items():
            error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else float("nan")
            notes.append(
                f"Weight {weight:g}: {statistics.mean(found):+.4f} mean IoU over {len(found)} "
                f"seeds, standard error {error:.4f}."
            )
        notes.append(f"{arguments.first} first labels, {arguments.num} chosen of {len(pool)}.")
        notes.append(f"Measured on {len(test)} images.")


def config_of(arguments: argparse.Namespace) -> Config:
    """That of the file; without one drawn faces, with the widths of the toy's own ensemble."""
    drawn = [
        ("models.ddpm_url", TOY),
        ("data.labelled", {"kind": "toy", "num": 200, "seed": 5}),
        ("data.test", {"kind": "toy", "num": 100, "seed": 3}),
        ("fit.hidden", [64, 32]),
    ]
    return load_config(arguments.config, [*([] if arguments.config else drawn), *arguments.set])


class Trial:
    """One set of first labels, and ways to choose further ones."""

    def __init__(
        self,
        model: Model,
        pool: Labelled,
        test: Labelled,
        config: Config,
        seed: int,
        num_first: int,
        num: int,
    ) -> None:
        fit = config.fit.model_copy(update={"seed": seed})
        self._config = config.model_copy(update={"fit": fit})
        self._model, self._pool, self._test, self._num = model, pool, test, num
        order = np.random.default_rng(seed).permutation(len(pool))
        assert num_first + num <= len(pool), "there are fewer images than labels"
        self._first, self._rest = order[:num_first], order[num_first:]

    def at_random(self) -> npt.NDArray[np.int64]:
        """The places in the pool of the first labels, and of as many more."""
        return np.concatenate([self._first, self._rest[: self._num]])

    def chosen(self, weight: float) -> npt.NDArray[np.int64]:
        """The places in the pool of the first labels, and of those that are chosen."""
        head = self._fitted(self._first)
        found = list(label_images(self._model, head, map(whole_square, self._pool.images)))
        labelled = [each for each in found if each is not None]
        features = np.array([each.features for each in labelled])
        uncertainties = np.array([each.uncertainty for each in labelled])
        names = [self._pool.names[i] for i in self._rest]
        chosen = choose(
            uncertainties[self._rest],
            features[self._rest],
            features[self._first],
            names,
            self._num,
            weight,
        )
        return np.concatenate([self._first, self._rest[[each.number for each in chosen]]])

    def mean_iou(self, places: npt.NDArray[np.int64]) -> float:
        """That of an ensemble that is fitted on some images of the pool."""
        head = self._fitted(places)
        return Score.of(
            confusions(self._model, head, self._test, self._config).sum(axis=0)
        ).mean_iou

    def _fitted(self, places: npt.NDArray[np.int64]) -> Head:
        chosen = np.zeros(len(self._pool), np.bool_)
        chosen[places] = True
        return fit_head(self._model, part_of(self._pool, chosen), self._config)


if __name__ == "__main__":
    main()

"""jobs/generate.py, but it notes which nodes begin and finish shards, and a node that has made one
waits before the next: until the test lets all go on, so that no time decides what happens.

    python generating.py FOLDER [arguments of `factory generate`]
"""

import sys
import time
from pathlib import Path
from typing import Any

from factory import cluster
from factory.cli import main
from factory.generation import ray_actors, watching
from factory.generation.job import Attempt, Outcome

FOLDER = Path(sys.argv[1])


class Noting(ray_actors.ShardActor):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.node = cluster.this_node()

    def make(self, attempt: Attempt) -> Outcome:
        (FOLDER / "begun" / self.node).touch()
        while (FOLDER / "made" / self.node).exists() and not (FOLDER / "go-on").exists():
            time.sleep(0.1)
        outcome = super().make(attempt)
        (FOLDER / "made" / self.node).touch()
        return outcome


setattr(ray_actors, "ShardActor", Noting)  # noqa: B010
# A fast machine starts its nodes before anything is said of waiting.
watching._START_SECONDS = 0.0
sys.exit(main(["generate", *sys.argv[2:]]))

"""Lets commands make shards in their own process, whatever their config says."""

from collections.abc import Callable
from typing import Any

from factory import cluster, local_worker, ray_workers


def without_ray(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on this process joins no cluster.

    replace: such as monkeypatch.setattr, which takes it back.
    """
    replace(cluster, "connect", lambda: None)
    replace(ray_workers, "make_shards", local_worker.make_shards)

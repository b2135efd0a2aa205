"""Lets commands make shards in their own process, whatever their config says."""

from collections.abc import Callable
from typing import Any

from factory import cluster
from factory.generation import local, ray_actors


def without_ray(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on this process joins no cluster.

    replace: such as monkeypatch.setattr, which takes it back.
    """
    replace(cluster, "connect", lambda: None)
    replace(ray_actors, "make_shards", local.make_shards)

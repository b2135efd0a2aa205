"""Claims about factory.shards.conflicts: what is told of a dataset that holds something else."""

from collections.abc import Callable

import pytest

from factory.errors import UserError
from factory.shards.conflicts import MAX_DIFFERENCES, agreed_plan
from factory.shards.plan import Plan


def test_another_model_is_told_before_the_colours_of_its_classes(
    make_plan: Callable[..., Plan],
) -> None:
    colors = [tuple((i * 7 + j) % 256 for j in range(3)) for i in range(MAX_DIFFERENCES)]
    names = tuple(f"class {i}" for i in range(MAX_DIFFERENCES))
    old, new = (
        make_plan(class_names=names, palette=palette, recipe={"ensemble": ensemble})
        for palette, ensemble in ((colors, "one"), ([c[::-1] for c in colors], "another"))
    )
    with pytest.raises(UserError) as refusal:
        agreed_plan("out/pairs", old, new, extend=False)
    first = str(refusal.value).splitlines()[1]
    assert first.strip() == 'recipe.ensemble: there "one", here "another"'
    assert "more" in str(refusal.value).splitlines()[-1]

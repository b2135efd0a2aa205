"""JSON in one spelling, by which hashes are taken."""

import json


def canonical(content: object) -> str:
    """JSON in one spelling. Raises ValueError for nan and infinities, TypeError for no JSON."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(content: object) -> object:
    """The content as it is after a trip through a file: tuples become lists. Raises ValueError."""
    try:
        return json.loads(canonical(content))
    except TypeError as error:
        raise ValueError(str(error)) from None

"""Messages about a dataset that holds something else than a run asks for or makes."""

from pydantic import ValidationError

from factory import __version__, storage
from factory.differences import differences
from factory.errors import UserError, counted
from factory.shards.layout import ENVIRONMENT
from factory.shards.plan import Plan
from factory.shards.receipts import MadeWith, Receipt

MAX_DIFFERENCES = 20
"""A message names at most so many differences of two plans."""


def agreed_plan(url: str, existing: Plan, wanted: Plan, extend: bool) -> Plan:
    """The existing plan, extended if wanted asks for more samples and extend is given.

    Raises UserError if the dataset at url cannot hold the wanted plan, with each difference.
    """
    if existing.method != wanted.method:
        raise UserError(
            f"{url}: holds a dataset that cannot be added to: "
            f"{made_by_another(existing, wanted.method)} Or choose another --out."
        )
    if not existing.has_metadata:
        # Tars of older versions have no tables beside them, and go on as they began.
        wanted = wanted.without_metadata()
    # The ids are compared, because to Python 1 and 1.0 are equal.
    if existing.run_id != wanted.run_id:
        raise UserError(
            f"{url}: holds a dataset of another plan. Choose another --out, or go back to the old "
            "settings to resume it. The difference:\n  "
            + "\n  ".join(_differences(existing, wanted))
        )
    holds = f"{url}: holds a dataset of {counted(existing.num, 'pair')}"
    asked = counted(wanted.num, "is asked for", "are asked for")
    if wanted.num < existing.num:
        raise UserError(f"{holds}, {asked}. Give --num {existing.num}, or choose another --out.")
    if wanted.num > existing.num and not extend:
        raise UserError(
            f"{holds}, {asked}. "
            f"Add --extend to make the {wanted.num - existing.num:,} that are missing."
        )
    return existing if wanted.num == existing.num else _extended(url, existing, wanted.num)


def made_by_another(existing: Plan, method: object) -> str:
    """Explains that a dataset of another method than the installed one is read, but never mixed."""
    # Version 0.1 does not name itself in _factory/env.json.
    known = existing.is_of_version_0_1
    version = "version 0.1.0" if known else f"the version that {ENVIRONMENT} names"
    return (
        f"{version} of this package made it (method {existing.method}), and {__version__} makes "
        f"other bytes of the same settings (method {method}). Both read and verify it; to resume, "
        f"extend or repair it, install {version}."
    )


def _extended(url: str, existing: Plan, num: int) -> Plan:
    try:
        return existing.extended(num)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"{url}: cannot be extended to {num:,} pairs: {message}") from None


def _differences(existing: Plan, wanted: Plan) -> list[str]:
    """A line for each value that differs, those of colours last: other classes change many."""
    found = differences(
        *(plan.model_dump(mode="json", exclude={"extended_from"}) for plan in (existing, wanted))
    )
    found.sort(key=lambda line: line.startswith("palette."))
    more = len(found) - MAX_DIFFERENCES
    return found[:MAX_DIFFERENCES] + ([f"... and {more} more"] if more > 0 else [])


def receipt_conflict(url: str, known: Receipt, new: Receipt) -> str:
    """The message about a receipt that is for other bytes than a run made of its shard.

    url: that of the dataset.
    """
    before = {file.path: file.sha256 for file in known.files}
    path, sha256 = next(
        (file.path, file.sha256) for file in new.files if before.get(file.path) != file.sha256
    )
    return (
        f"{storage.join(url, path)}: its receipt is for other bytes (sha256 {before.get(path)}) "
        f"than this run made (sha256 {sha256}). "
        f"{_both_sides('It', known.made_with, new.made_with)}"
    )


def shard_conflict(
    url: str,
    existing: str,
    wanted: str,
    new: Receipt,
    known: Receipt | None,
    first: MadeWith | None,
) -> str:
    """The message about a shard's file that holds other bytes than a run made.

    url: that of the file. existing, wanted: the sha256 that it has, and that of the run's. known:
    the shard's receipt. first: what the dataset was begun with.
    """
    message = f"{url}: holds other bytes (sha256 {existing}) than this run made (sha256 {wanted})"
    if known is not None:
        return (
            f"{message}, which its receipt is for. So the file was altered: `factory repair` makes "
            "it anew."
        )
    return (
        f"{message}, and has no receipt. Either it was altered (`factory repair` makes it anew), "
        f"or made otherwise. {_both_sides('The dataset', first, new.made_with)}"
    )


def _both_sides(what: str, existing: MadeWith | None, current: MadeWith | None) -> str:
    """Explains how the same plan may have given other bytes: which hardware and versions differ."""
    if existing is None:
        return f"Nothing tells what hardware made it; {ENVIRONMENT} tells what the first run had."
    if found := differences(existing, current or {}):
        return f"{what} was made with other hardware or versions: {'; '.join(found)}."
    return f"{what} was made with hardware and versions of the same names as here."

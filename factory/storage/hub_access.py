"""Whether the Hugging Face Hub lets us in, asked before anything is begun."""

from factory.errors import UserError
from factory.storage.files import missing_package
from factory.storage.retries import with_retries
from factory.storage.store_errors import as_os_errors, to_user_error

_TRIES = 2
_TIMEOUT_SECONDS = 10.0


def check_hub_dataset(url: str) -> None:
    """Raises UserError if nothing can be pushed to a dataset of the Hub: without its package, a
    network, or a token, with a wrong one, and where there is no such dataset.

    url: hf://datasets/owner/name, perhaps with a revision or a folder. Asks twice, and writes
    nothing: that a token may only read is told by the first write.
    """
    repository, _, revision = "/".join(url.split("/")[3:5]).partition("@")
    try:
        # It takes long to import, and most commands do without it.
        from huggingface_hub import HfApi, errors
    except ImportError:
        raise missing_package(url) from None

    def ask() -> None:
        with as_os_errors(url):
            try:
                api = HfApi()
                api.whoami()
                api.dataset_info(repository, revision=revision or None, timeout=_TIMEOUT_SECONDS)
            except (
                errors.HfHubHTTPError,
                errors.HFValidationError,
                errors.LocalTokenNotFoundError,
                errors.OfflineModeIsEnabled,
            ) as error:
                if problem := _problem(error, repository):
                    raise UserError(f"{url}: {problem}") from None
                raise

    try:
        with_retries(ask, _TRIES)
    except OSError as error:
        raise to_user_error(url, error, "reached", "Check the place and the token.") from None


def _problem(error: Exception, repository: str) -> str | None:
    """What is wrong, and what would be right; None where the Hub itself is at fault."""
    kind = type(error).__name__
    if kind == "OfflineModeIsEnabled":
        return (
            "HF_HUB_OFFLINE is set, so nobody asks the Hub. Unset it, or export to a folder with "
            "--to parquet."
        )
    if kind == "LocalTokenNotFoundError":
        return "there is no token for the Hub here. Run `hf auth login`, or set HF_TOKEN."
    if kind == "HFValidationError":
        return "is no name that a dataset can have. Write hf://datasets/owner/name."
    if kind == "RevisionNotFoundError":
        return "there is no such revision. Leave out what follows the @, or make the branch."
    if kind in ("RepositoryNotFoundError", "GatedRepoError", "DisabledRepoError"):
        return (
            "there is no such dataset, or the token does not open it. Make it with `hf repos "
            f"create {repository} --repo-type dataset`, or name another."
        )
    if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
        return (
            "the Hub does not accept the token. Make one that may write at "
            "https://huggingface.co/settings/tokens, and run `hf auth login --force`, or set "
            "HF_TOKEN."
        )
    return None

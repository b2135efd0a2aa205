"""Claims about factory.storage.store_errors."""

import pytest

from factory import storage
from factory.errors import UserError
from tests.storage.stores import REFUSALS, Clock, Store, kind


def test_reasons_do_not_repeat_the_place() -> None:
    assert storage.describe(FileNotFoundError(2, "No such file", "/a/b")) == "No such file"
    assert storage.describe(OSError()) == "OSError"
    assert storage.describe(ValueError("odd")) == "odd"


@pytest.mark.parametrize("error", REFUSALS, ids=kind)
def test_what_a_store_refuses_is_told_at_once_with_what_to_do(
    error: Exception, store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    store.errors[:] = [error]
    with pytest.raises(PermissionError) as raised:
        storage.write("memory://b/x", b"x")
    assert not storage.is_transient(raised.value) and not clock.now
    assert "memory://b/x" in str(raised.value) and "renew them" in str(raised.value)
    store.errors[:] = [error]
    with pytest.raises(UserError, match=r"^memory://b: cannot be written .* renew them"):
        storage.check_writable("memory://b")
    assert not clock.now


def test_a_store_that_never_answered_asks_for_credentials_and_one_that_did_for_new_ones(
    store: type[Store],
) -> None:
    store.errors[:] = [REFUSALS[0]]
    with pytest.raises(storage.NEVER_ANSWERED, match=r"Give credentials .*or name another place"):
        storage.list_names("memory://unanswered/x")
    storage.write("memory://unanswered/x", b"x")
    store.errors[:] = [REFUSALS[0]]
    with pytest.raises(PermissionError, match="renew them and run the same command") as raised:
        storage.list_names("memory://unanswered/x")
    assert not isinstance(raised.value, storage.NEVER_ANSWERED)


@pytest.mark.parametrize("error", [e for e in REFUSALS if isinstance(e, OSError)], ids=kind)
def test_s3s_own_refusals_are_permanent(error: OSError) -> None:
    assert not storage.is_transient(error)

"""Files on this machine and in object stores: the only package that knows fsspec.

A URL is one of a store (`s3://bucket/prefix`, `gs://...`, `memory://...`) or a path of this
machine. No file is ever visible half written, and what must not be replaced is written create-only.
Every function that reads, lists or writes tries again by itself if its store stumbles, so that no
caller has to; in the end it raises an OSError that names the URL.
"""

from factory.storage.files import (
    exists,
    filesystem,
    is_file,
    open_copy,
    outlives_this_process,
    read_bytes,
    read_range,
    read_text,
    remove,
    sha256_of,
    size_of,
    write,
    write_chunks,
    write_new,
)
from factory.storage.folders import Folder
from factory.storage.hub_access import check_hub_dataset
from factory.storage.listings import (
    Entry,
    entries,
    is_of_system,
    list_files,
    list_names,
    versions,
)
from factory.storage.local_writing import TEMPORARY, remove_abandoned
from factory.storage.probing import check_outlives, check_writable, clock_of
from factory.storage.ranged import RangedFile
from factory.storage.store_errors import (
    NEVER_ANSWERED,
    describe,
    is_transient,
    lack_of_credentials,
    to_user_error,
)
from factory.storage.urls import (
    is_local,
    join,
    lies_in,
    name_of,
    normalize,
    parent,
    path_in,
    resolved,
)

__all__ = [
    "NEVER_ANSWERED",
    "TEMPORARY",
    "Entry",
    "Folder",
    "RangedFile",
    "check_hub_dataset",
    "check_outlives",
    "check_writable",
    "clock_of",
    "describe",
    "entries",
    "exists",
    "filesystem",
    "is_file",
    "is_local",
    "is_of_system",
    "is_transient",
    "join",
    "lack_of_credentials",
    "lies_in",
    "list_files",
    "list_names",
    "name_of",
    "normalize",
    "open_copy",
    "outlives_this_process",
    "parent",
    "path_in",
    "read_bytes",
    "read_range",
    "read_text",
    "remove",
    "remove_abandoned",
    "resolved",
    "sha256_of",
    "size_of",
    "to_user_error",
    "versions",
    "write",
    "write_chunks",
    "write_new",
]

"""GitHub's global node ids, read as far as the repository that a node belongs to.

GitHub calls them opaque and documents no layout. What is read here is what its API publishes: `PREFIX_` and
base64url of a MessagePack array, and before 2022 base64 of `0`, the length of the type's name, `:`, the type
and an id (https://docs.github.com/graphql/guides/migrating-graphql-global-node-ids). Other layouts are not
guessed at.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

import msgpack  # type: ignore[import-untyped]

# A ref's name may have 255 bytes; base64 makes a third more of them.
_MAX_LENGTH: Final = 512
_MAX_ELEMENTS: Final = 4
_MAX_DATABASE_ID: Final = 2**63 - 1

_NEW: Final = re.compile(r"([A-Z]{1,8})_([A-Za-z0-9_-]+)", re.ASCII)
_OLD: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_OLD_REPOSITORY: Final = re.compile(r"010:Repository([1-9][0-9]{0,18})", re.ASCII)
_OLD_GIT: Final = re.compile(r"(?:03:Ref|06:Commit)([1-9][0-9]{0,18}):.+", re.ASCII | re.DOTALL)

# The second element is the owner's id in the ids of projects (PVT_, PVTI_), teams (T_) and the like, so only
# prefixes that are known to belong to a repository are read. All were seen in answers of api.github.com.
_REPOSITORY: Final = "R"
_WORKFLOW_RUN: Final = "WFR"
_RULESET: Final = "RRS"
_NUMBERED: Final = frozenset(
    {
        *("I", "PR", "IC", "PRR", "PRRC", "PRRT", "LA", "MI"),  # issues, pull requests and what hangs on them
        *("D", "DC", "DIC"),  # discussions, their comments and categories
        *("RE", "RA"),  # releases and their assets
        *("CR", "CS", "SC", "W", "DE", "EN"),  # check runs and suites, statuses, workflows, deployments
        *("CC", "BPR"),  # comments on commits, branch protection rules
    }
)
_NAMED: Final = frozenset({"REF", "C"})


def repository_of(node_id: str) -> int | None:
    """The database id of the repository a node is in, or is; None when it cannot be told.

    None also for nodes that are in no repository: users, organizations, teams and projects. An id is only
    read here: whether its node exists, and in the repository it names, is GitHub's to check.
    """
    if len(node_id) > _MAX_LENGTH:
        return None
    if match := _NEW.fullmatch(node_id):
        return _of_new(match[1], match[2])
    return _of_old(node_id)


def _of_new(prefix: str, encoded: str) -> int | None:
    payload = _base64(encoded + "=" * (-len(encoded) % 4), base64.urlsafe_b64encode)
    elements = _unpacked(payload) if payload is not None else None
    match elements:
        case [0, repository] if prefix == _REPOSITORY:
            return _database_id(repository)
        case [0, repository, int()] if prefix in _NUMBERED:
            return _database_id(repository)
        case [0, repository, str()] if prefix in _NAMED:
            return _database_id(repository)
        case [2, repository, int()] if prefix == _WORKFLOW_RUN:
            return _database_id(repository)
        case [0, "Repository", repository, int()] if prefix == _RULESET:
            return _database_id(repository)
        case _:
            return None


def _of_old(node_id: str) -> int | None:
    payload = _base64(node_id, base64.b64encode) if _OLD.fullmatch(node_id) else None
    text = payload.decode("latin-1") if payload is not None else ""
    match = _OLD_REPOSITORY.fullmatch(text) or _OLD_GIT.fullmatch(text)
    return _database_id(int(match[1])) if match else None


def _base64(encoded: str, encode: Callable[[bytes], bytes]) -> bytes | None:
    """Decoded, if `encode` gives the same text again: one id has one spelling."""
    try:
        payload = base64.b64decode(encoded, altchars=b"-_" if encode is base64.urlsafe_b64encode else None)
    except (binascii.Error, ValueError):
        return None
    return payload if encode(payload) == encoded.encode("ascii") else None


def _unpacked(payload: bytes) -> list[int | str] | None:
    """An array of unsigned integers and strings in MessagePack's shortest form, and nothing after it."""
    try:
        elements = msgpack.unpackb(
            payload,
            raw=False,
            max_array_len=_MAX_ELEMENTS,
            max_str_len=_MAX_LENGTH,
            max_bin_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError):
        return None
    if not isinstance(elements, list) or not all(map(_is_plain, elements)):
        return None
    # `use_bin_type=False` is the older MessagePack without `str 8`, which these ids are written in.
    canonical: bytes = msgpack.packb(elements, use_bin_type=False)
    return elements if canonical == payload else None


def _is_plain(element: object) -> bool:
    # By exact type: True is an int to Python.
    return type(element) is str or (type(element) is int and element >= 0)


def _database_id(value: int | str) -> int | None:
    return value if isinstance(value, int) and 0 < value <= _MAX_DATABASE_ID else None

"""Whether a GraphQL document keeps to the repositories of an installation, as far as it names any.

This reads what the document names: repositories by owner and name, nodes by id, URLs. It does not know the
schema, so it stands beside GitHub's own check and does not replace it: lists (`viewer`, `organization(login:)
{ repositories }`, `search`) name nothing, and what they show is limited by the installation token alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    ArgumentNode,
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    EnumValueNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectFieldNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
)

from .node_ids import repository_of

# Fragments are walked once for each owner they are spread under; a document could make many of both.
_MAX_STEPS: Final = 100_000
_MAX_SHOWN: Final = 80

# `Oid` is a commit's hash and no node id.
_ID_NAME: Final = re.compile(r"ids?|.*(?:Id|ID)s?", re.ASCII)
_FREE_IDS: Final = frozenset({"clientMutationId"})
_REPOSITORY_NAMES: Final = frozenset({"repositoryNameWithOwner"})
_OWNERS: Final = frozenset({"organization", "user", "repositoryOwner"})
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_NAME_WITH_OWNER: Final = re.compile(r"[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}", re.ASCII)
# Neither `%` nor `\`, which servers read in more than one way; no user before the host.
_URL: Final = re.compile(
    r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/([A-Za-z0-9._/-]*)(?:[?#][A-Za-z0-9._~=&/-]*)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A value that is neither null, a string, a list nor an object; nothing that may name a repository."""


_UNREADABLE: Final = _Unreadable()


class _Refused(Exception):
    """The document leaves the repositories, or cannot be judged; the message is for people."""


def judge(
    document: DocumentNode,
    variables: Mapping[str, object],
    *,
    repositories: frozenset[str],
    repository_ids: frozenset[int],
) -> str | None:
    """Judge all operations and fragments of a document. Never raises: what cannot be judged is refused.

    Args:
        document: as it is sent to GitHub.
        variables: as sent beside it; {} when there are none.
        repositories: `owner/name`, lower-case.
        repository_ids: the same repositories' database ids.

    Returns:
        None when all that is named is inside, otherwise one line that says what is not.
    """
    try:
        _Judge(document, variables, repositories, repository_ids).run()
    except _Refused as refusal:
        return str(refusal)
    except RecursionError:
        return "the GraphQL document is nested too deeply to be judged"
    except Exception:  # noqa: BLE001  whatever a hostile document makes the walk trip over is refused
        return "the GraphQL document could not be judged"
    return None


@dataclass(slots=True)
class _Operation:
    """What variables and fragments mean within one operation."""

    variables: Mapping[str, object]
    """Those that the operation defines: the value sent, or else the default."""
    entered: set[tuple[str, str | None]] = field(default_factory=set)
    """Fragments walked, each with the owner it was walked under."""


class _Judge:
    """One walk over one document."""

    def __init__(
        self,
        document: DocumentNode,
        variables: Mapping[str, object],
        repositories: frozenset[str],
        repository_ids: frozenset[int],
    ) -> None:
        self._document = document
        self._variables = variables
        self._repositories = repositories
        self._repository_ids = repository_ids
        self._fragments: dict[str, FragmentDefinitionNode] = {}
        self._steps = 0

    def run(self) -> None:
        """Raises:
        _Refused: something that is named is outside, or cannot be told.
        """
        operations: list[OperationDefinitionNode] = []
        for definition in self._document.definitions:
            match definition:
                case OperationDefinitionNode():
                    operations.append(definition)
                case FragmentDefinitionNode() if not definition.variable_definitions:
                    self._define(definition)
                case _:
                    raise _Refused("a GraphQL request has operations and plain fragments only")
        reached: set[str] = set()
        for operation in operations:
            reached |= self._walk_operation(operation)
        # GitHub refuses fragments that are not used; they are held to the same rules all the same.
        for name in self._fragments.keys() - reached:
            self._walk_fragment(name, None, _Operation({}))

    def _define(self, fragment: FragmentDefinitionNode) -> None:
        if fragment.name.value in self._fragments:
            raise _Refused("the GraphQL document defines the same fragment twice")
        self._fragments[fragment.name.value] = fragment

    def _walk_operation(self, node: OperationDefinitionNode) -> set[str]:
        """Names of the fragments that were reached."""
        defaults: dict[str, object] = {}
        for definition in node.variable_definitions or ():
            name = definition.variable.name.value
            if name in defaults:
                raise _Refused("the GraphQL document defines the same variable twice")
            default = definition.default_value
            defaults[name] = None if default is None else self._plain(default, {})
            self._walk_directives(definition.directives, {})
        operation = _Operation({name: self._variables.get(name, value) for name, value in defaults.items()})
        self._walk_directives(node.directives, operation.variables)
        self._walk_selections(node.selection_set, None, operation)
        return {name for name, _ in operation.entered}

    def _walk_selections(self, selections: SelectionSetNode, owner: str | None, within: _Operation) -> None:
        """Walk what is selected of one object.

        Args:
            selections: of the object.
            owner: login of the user or organization that the object is; None when it is another, or unknown.
            within: the operation.
        """
        for selection in selections.selections:
            self._step()
            self._walk_directives(selection.directives, within.variables)
            match selection:
                case FieldNode():
                    self._walk_field(selection, owner, within)
                case InlineFragmentNode():
                    self._walk_selections(selection.selection_set, owner, within)
                case FragmentSpreadNode() if not getattr(selection, "arguments", None):
                    self._walk_fragment(selection.name.value, owner, within)
                case _:
                    raise _Refused("a GraphQL selection has fields and plain fragments only")

    def _walk_fragment(self, name: str, owner: str | None, within: _Operation) -> None:
        fragment = self._fragments.get(name)
        if fragment is None:
            raise _Refused("the GraphQL document uses a fragment that it does not define")
        if (name, owner) in within.entered:
            return
        within.entered.add((name, owner))
        self._walk_directives(fragment.directives, within.variables)
        self._walk_selections(fragment.selection_set, owner, within)

    def _walk_field(self, node: FieldNode, owner: str | None, within: _Operation) -> None:
        arguments = self._arguments(node.arguments, within.variables)
        for name, value in arguments.items():
            self._check(name, value)
        match node.name.value:
            case "repository" if arguments:
                self._check_repository(arguments.get("owner", owner), arguments.get("name"))
            case "resource" if arguments:
                self._check_url(arguments.get("url"))
        if node.selection_set is not None:
            login = arguments.get("login") if node.name.value in _OWNERS else None
            self._walk_selections(node.selection_set, login if isinstance(login, str) else None, within)

    def _walk_directives(
        self, directives: Iterable[DirectiveNode] | None, variables: Mapping[str, object]
    ) -> None:
        for directive in directives or ():
            for name, value in self._arguments(directive.arguments, variables).items():
                self._check(name, value)

    def _arguments(
        self, nodes: Iterable[ArgumentNode | ObjectFieldNode] | None, variables: Mapping[str, object]
    ) -> dict[str, object]:
        """Arguments, or the fields of an input object, as plain values."""
        values: dict[str, object] = {}
        for node in nodes or ():
            name = node.name.value
            if name in values:
                # Servers could take either.
                raise _Refused(f"the GraphQL document gives {_shown(name)} twice")
            values[name] = self._plain(node.value, variables)
        return values

    def _plain(self, node: ValueNode, variables: Mapping[str, object]) -> object:
        """A value as JSON would have it, with variables put in. A variable without a value is null."""
        self._step()
        match node:
            case VariableNode():
                name = node.name.value
                return variables[name] if name in variables else self._variables.get(name)
            case NullValueNode():
                return None
            case StringValueNode():
                return node.value
            case ListValueNode():
                return [self._plain(each, variables) for each in node.values]
            case ObjectValueNode():
                return self._arguments(node.fields, variables)
            case IntValueNode() | FloatValueNode() | BooleanValueNode() | EnumValueNode():
                return _UNREADABLE
            case _:
                raise _Refused("the GraphQL document has a value that cannot be judged")

    def _check(self, name: str, value: object) -> None:
        """Check an argument or an input object's field, and everything in it."""
        self._step()
        if name in _FREE_IDS:
            return
        if _ID_NAME.fullmatch(name):
            self._check_ids(name, value)
        elif name in _REPOSITORY_NAMES:
            self._check_name_with_owner(name, value)
        else:
            for inner_name, inner in self._fields(value):
                self._check(inner_name, inner)

    def _check_ids(self, name: str, value: object) -> None:
        # A list of lists is no more than GitHub refuses; a single id counts as a list of one.
        for each in self._flat(value):
            if each is None:
                continue
            repository = repository_of(each) if isinstance(each, str) else None
            if repository is None:
                raise _Refused(
                    f"{_shown(name)} has to be the id of a node from which its repository can be told"
                )
            if repository not in self._repository_ids:
                raise _Refused(f"{_shown(name)} is the id of a node outside the installation's repositories")

    def _check_name_with_owner(self, name: str, value: object) -> None:
        if value is None:
            return
        if not isinstance(value, str) or _NAME_WITH_OWNER.fullmatch(value) is None:
            raise _Refused(f"{_shown(name)} has to be the owner and the name of a repository")
        self._check_inside(value)

    def _check_repository(self, owner: object, name: object) -> None:
        if not isinstance(owner, str) or not isinstance(name, str):
            raise _Refused("a repository has to be given by its owner and its name")
        if _NAME.fullmatch(owner) is None or _NAME.fullmatch(name) is None:
            raise _Refused("a repository is given by an owner or a name that no repository has")
        self._check_inside(f"{owner}/{name}")

    def _check_url(self, value: object) -> None:
        match = _URL.fullmatch(value) if isinstance(value, str) else None
        owner, name, *rest = match[1].split("/") if match and "/" in match[1] else ("", "")
        if not owner or not name or any(part in (".", "..") for part in rest) or "" in rest[:-1]:
            raise _Refused("the url of a resource has to be that of a repository, or of something in it")
        self._check_inside(f"{owner}/{name}")

    def _check_inside(self, name_with_owner: str) -> None:
        """Callers have made sure that it is ASCII: other letters have lower-case forms that are ASCII."""
        if name_with_owner.lower() not in self._repositories:
            raise _Refused(f"the repository {_shown(name_with_owner)} is not one of the installation's")

    def _fields(self, value: object) -> Iterator[tuple[str, object]]:
        """Fields of an input object, or of each in a list."""
        for each in self._flat(value):
            if isinstance(each, Mapping):
                for name, inner in each.items():
                    yield str(name), inner

    def _flat(self, value: object) -> Iterator[object]:
        self._step()
        if isinstance(value, Sequence) and not isinstance(value, str):
            for each in value:
                yield from self._flat(each)
        else:
            yield value

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise _Refused("the GraphQL document is too large to be judged")


def _shown(text: str) -> str:
    """Letters, digits and a few signs alone, by the callers; variables' keys can be anything."""
    clean = "".join(
        character if character.isascii() and character.isprintable() else "?" for character in text
    )
    return clean if len(clean) <= _MAX_SHOWN else f"{clean[: _MAX_SHOWN - 1]}…"

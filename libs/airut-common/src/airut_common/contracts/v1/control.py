"""Request/reply between services. Errors on the wire are a code and a text; only the text may change."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from .base import Identifier, Message, RepoId


class Refused(Message):
    """The answer when a request cannot be met."""

    ok: Literal[False] = False
    code: str
    """Stable: `invalid_policy`, `unknown_repo`, `missing_secret`, `not_found`, `not_open`, `unavailable`,
    `bad_request`."""
    text: str
    """For the person who waits: what, where, and the way out."""


PolicyText = Annotated[str, StringConstraints(max_length=1024 * 1024)]


class OpenSession(Message):
    """The orchestrator asks the egress-proxy for a network for one sandbox. Opening an open session again
    (same sandbox id) is answered with the same surrogates, so a restarted proxy can be asked anew."""

    sandbox: Identifier
    task: Identifier
    repo: RepoId
    policy: PolicyText
    """The text of `.airut/network-allowlist.yaml` on the default branch."""
    policy_source: str = ".airut/network-allowlist.yaml"
    """How messages call the file."""
    with_credentials: bool = True
    """False for the build of an image, which runs code that nobody has asked for yet: no surrogates, no swaps."""


class SessionOpened(Message):
    """What a sandbox gets. Nothing in here is secret outside of it."""

    ok: Literal[True] = True
    sandbox: Identifier
    attach_socket: str
    """Path of the Unix socket that takes the listening descriptors."""
    attach_token: str
    """Proves to that socket which session the descriptors belong to; valid until the session closes."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variable name to surrogate."""
    ca_certificate: str
    """PEM."""


class ReplacePolicy(Message):
    """Gives an open session another allowlist. Connections that were accepted under the one before are cut; surrogates,
    credentials and what was taken away of them stay as they are."""

    sandbox: Identifier
    policy: PolicyText
    policy_source: str = ".airut/network-allowlist.yaml"


class PolicyReplaced(Message):
    """The new allowlist is in force."""

    ok: Literal[True] = True
    sandbox: Identifier


class ListSessions(Message):
    """Asks which sandboxes have a network: a page, in the order of their ids."""

    after: Identifier | None = None
    """The last id of the page before."""


class OpenedSession(Message):
    """What is known of one session; nothing of it comes from the sandbox."""

    sandbox: Identifier
    task: Identifier
    repo: RepoId
    attached: bool
    """Whether its sockets have been handed over."""
    open_seconds: float
    """Since this process opened it."""
    requests: int = 0
    denied: int = 0
    bytes_out: int = 0
    bytes_in: int = 0


class SessionsListed(Message):
    """A page of the open sessions."""

    ok: Literal[True] = True
    sessions: tuple[OpenedSession, ...] = ()
    more: bool = False
    """Whether others follow the last one here."""


class StopTask(Message):
    """Somebody asks the orchestrator to stop a task: a running one ends within seconds and keeps what it has done, a
    waiting one is not begun."""

    task: Identifier
    by: Annotated[str, StringConstraints(min_length=1, max_length=320)]
    """Who asks, for the reply."""


class StopAnswered(Message):
    """Whether there was something to stop; a task that is unknown or over is not."""

    ok: Literal[True] = True
    task: Identifier
    stopped: bool


class CollectGarbage(Message):
    """An operator asks the orchestrator to remove now what its schedule would remove later."""

    dry_run: bool
    """Only tell what would be removed."""


class GarbageCollected(Message):
    """What was removed, or would be. Lists are cut at a thousand; the counts are not."""

    ok: Literal[True] = True
    conversations: tuple[str, ...] = ()
    """Ids."""
    conversation_count: int = 0
    images: tuple[str, ...] = ()
    """Names, or ids of images without one."""
    image_count: int = 0
    agents: tuple[str, ...] = ()
    """Versions of the agent."""
    problems: tuple[str, ...] = ()
    """What could not be removed, and why; it is tried again."""


class CloseSession(Message):
    """Ends a session: connections are cut, the surrogates are worth nothing any more."""

    sandbox: Identifier


class SessionClosed(Message):
    """Totals of a closed session; closing one that is not open answers zeros."""

    ok: Literal[True] = True
    sandbox: Identifier
    requests: int = 0
    denied: int = 0

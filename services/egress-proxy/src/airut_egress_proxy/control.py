"""What the orchestrator asks: a network for a sandbox, and its end."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from airut_common.bus.answers import Endpoint
from airut_common.config.credentials import CredentialConfig
from airut_common.config.models import RepoConfig
from airut_common.contracts.v1 import (
    CloseSession,
    ListSessions,
    OpenSession,
    PolicyReplaced,
    Refused,
    ReplacePolicy,
    SessionClosed,
    SessionOpened,
    SessionsListed,
)
from airut_common.contracts.v1.subjects import egress_service
from airut_common.secrets import Secret
from airut_egress.credentials import BadCredential
from airut_egress.engines import EnginesUnavailable
from airut_egress.sessions import Credentials, SandboxNetworks, SessionRefused

UNKNOWN_REPO: Final = "unknown_repo"
MISSING_SECRET: Final = "missing_secret"  # noqa: S105 (a code, not a secret)

log = structlog.get_logger()
Repos = Callable[[], Mapping[str, RepoConfig]]
SecretOf = Callable[[str, str], Secret | None]
"""Repository and name to the value; None when it is not set."""


class Control:
    """Answers by the configuration and the secrets as they are at that moment."""

    def __init__(self, networks: SandboxNetworks, *, repos: Repos, secret: SecretOf) -> None:
        self._networks = networks
        self._repos = repos
        self._secret = secret
        self._without_credentials: set[str] = set()

    def endpoints(self, host: str) -> dict[str, Endpoint[Any]]:
        """For `Bus.serve`."""
        return {
            "open": Endpoint(egress_service(host, "open"), OpenSession, self.open),
            "replace-policy": Endpoint(
                egress_service(host, "replace-policy"), ReplacePolicy, self.replace_policy
            ),
            "list": Endpoint(egress_service(host, "list"), ListSessions, self.list_sessions),
            "close": Endpoint(egress_service(host, "close"), CloseSession, self.close),
        }

    async def open(self, request: OpenSession) -> SessionOpened | Refused:
        """Open a session with the credentials of its repository, unless it is to have none."""
        repo = self._repos().get(request.repo)
        if repo is None:
            return Refused(code=UNKNOWN_REPO, text=f"no repository {request.repo} is configured")
        held, missing = self._credentials(request.repo, repo) if request.with_credentials else ({}, [])
        if missing:
            return Refused(
                code=MISSING_SECRET, text="\n".join(_way_out(name, request.repo) for name in missing)
            )
        try:
            opened = await self._networks.open(request, held)
        except SessionRefused as refusal:
            return Refused(code=refusal.code, text=str(refusal))
        if not request.with_credentials:
            self._without_credentials.add(request.sandbox)
        log.info("session_opened", sandbox=request.sandbox, repo=request.repo, credentials=sorted(held))
        return opened

    async def replace_policy(self, request: ReplacePolicy) -> PolicyReplaced | Refused:
        """Give an open session another allowlist."""
        try:
            replaced = await self._networks.replace_policy(request)
        except SessionRefused as refusal:
            return Refused(code=refusal.code, text=str(refusal))
        log.info("policy_replaced", sandbox=request.sandbox)
        return replaced

    async def list_sessions(self, request: ListSessions) -> SessionsListed:
        """A page of the open sessions, by what workers told last: one that hangs holds up nobody."""
        return self._networks.page(request.after or "")

    async def close(self, request: CloseSession) -> SessionClosed:
        """Close a session."""
        closed = await self._networks.close(request.sandbox)
        self._without_credentials.discard(request.sandbox)
        log.info("session_closed", sandbox=request.sandbox, requests=closed.requests, denied=closed.denied)
        return closed

    async def refresh(self) -> None:
        """Give open sessions the credentials as they are now; when this returns, what was taken away is worth nothing
        (field notes 33)."""
        # All at once: a session whose engine is slow does not keep the others waiting.
        await asyncio.gather(
            *(self._refresh(sandbox, held.config.repo) for sandbox, held in self._networks.sessions.items())
        )

    async def _refresh(self, sandbox: str, repo_id: str) -> None:
        if sandbox in self._without_credentials:
            return
        repo = self._repos().get(repo_id)
        held = self._credentials(repo_id, repo)[0] if repo is not None else {}
        try:
            await self._networks.replace_credentials(sandbox, held)
        except (BadCredential, EnginesUnavailable) as error:
            log.error("credential_not_replaced", sandbox=sandbox, reason=str(error))

    def _credentials(self, repo_id: str, repo: RepoConfig) -> tuple[Credentials, list[str]]:
        """Those whose secrets are all set, and the names of the secrets that are not."""
        held: dict[str, tuple[CredentialConfig, dict[str, Secret]]] = {}
        missing: list[str] = []
        for name, rule in repo.credentials.items():
            found = {part: self._secret(repo_id, part) for part in rule.secret_names(name)}
            values = {part: value for part, value in found.items() if value is not None}
            if len(values) == len(found):
                held[name] = (rule, values)
            missing += [part for part in found if part not in values]
        return held, missing


def _way_out(name: str, repo: str) -> str:
    return f"credential {name} of repository {repo} has no value; run `airut secret set {name} --repo {repo}`"

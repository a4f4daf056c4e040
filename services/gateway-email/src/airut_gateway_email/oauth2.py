"""Access tokens for the mailbox: the token endpoints of Microsoft and Google (RFC 6749 §4.4, §6)."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from airut_common import log as logs
from airut_common.config.imap import OAuth2Config
from airut_common.private_file import replace_private
from airut_common.secrets import Secret
from airut_gateway_email.errors import printable, secret_missing
from airut_gateway_email.tls import verifying_context

TIMEOUT_SECONDS = 20.0
MAX_ANSWER_BYTES = 64 * 1024
EARLY_SECONDS = 120.0
"""A token is replaced so long before its end."""
MICROSOFT_DELEGATED = "https://outlook.office.com/IMAP.AccessAsUser.All offline_access"
MICROSOFT_APPLICATION = "https://outlook.office365.com/.default"


class TokenFailed(Exception):
    """There is no access token now; the text is for the operator."""


class AccessTokens:
    """The access token in use, kept until shortly before its end or until what it was made of changes."""

    def __init__(
        self,
        secret: Callable[[str], Secret | None],
        newest: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = secret
        self._refresh_tokens = _NewestRefreshToken(newest)
        self._clock = clock
        self._token: Secret | None = None
        self._ends_at = 0.0
        self._made_of: object = None

    async def get(self, config: OAuth2Config) -> Secret:
        """An access token that is good for a while.

        Raises:
            TokenFailed: a secret is not set, or the endpoint gives none.
        """
        client_secret = self._named(config.client_secret)
        refresh_token = self._named(config.refresh_token_secret)
        made_of = (config, client_secret, refresh_token)
        if self._token is not None and made_of == self._made_of and self._clock() < self._ends_at:
            return self._token
        current = None
        if refresh_token is not None:
            current = await asyncio.to_thread(self._refresh_tokens.of, refresh_token)
        answer = await _ask(config.endpoint, _form(config, client_secret, current))
        token, replacement, seconds = _read(answer)
        if refresh_token is not None and replacement is not None and replacement != current:
            await asyncio.to_thread(self._refresh_tokens.keep, refresh_token, replacement)
        if self._token is not None:
            logs.forget(self._token)
        logs.redact(token)
        self._token, self._made_of = token, made_of
        self._ends_at = self._clock() + seconds - EARLY_SECONDS
        return token

    def drop(self) -> None:
        """The mail server does not take the token: ask for another next time."""
        self._ends_at = 0.0

    def _named(self, name: str | None) -> Secret | None:
        if name is None:
            return None
        value = self._secret(name)
        if value is None:
            raise TokenFailed(secret_missing(name))
        return value


class _NewestRefreshToken:
    """Microsoft gives a new refresh token with each access token, and lets old ones end after 90 days. The newest lies
    in a private file, with a digest of the secret that it came from: `airut secret set` begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, first: Secret) -> Secret:
        """The newest that came from this one."""
        try:
            kept = json.loads(self._path.read_text())
            if kept["came_from"] == _digest(first):
                return Secret(str(kept["token"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing usable is kept
        return first

    def keep(self, first: Secret, newest: Secret) -> None:
        """Remember another one."""
        kept = {"came_from": _digest(first), "token": newest.reveal()}
        replace_private(self._path, json.dumps(kept).encode())


def _digest(value: Secret) -> str:
    return hashlib.sha256(value.reveal().encode()).hexdigest()


def _form(config: OAuth2Config, client_secret: Secret | None, refresh_token: Secret | None) -> dict[str, str]:
    form = {"client_id": config.client_id}
    if client_secret is not None:
        form["client_secret"] = client_secret.reveal()
    if refresh_token is None:
        return form | {"grant_type": "client_credentials", "scope": MICROSOFT_APPLICATION}
    form |= {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
    return form | ({"scope": MICROSOFT_DELEGATED} if config.provider == "microsoft" else {})


async def _ask(url: str, form: dict[str, str]) -> httpx.Response:
    """One question; no redirects, because a client secret goes along."""
    try:
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            httpx.AsyncClient(trust_env=False, verify=verifying_context(None)) as client,
            client.stream("POST", url, data=form) as response,
        ):
            content = b""
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise TokenFailed(f"{url} answers with more than {MAX_ANSWER_BYTES} bytes")
            return httpx.Response(response.status_code, content=content)
    except (httpx.HTTPError, OSError) as error:  # TimeoutError is an OSError
        raise TokenFailed(printable(f"{url}: {str(error) or type(error).__name__}")) from None


def _read(answer: httpx.Response) -> tuple[Secret, Secret | None, float]:
    """Access token, new refresh token, life in seconds."""
    try:
        said = json.loads(answer.content)
        if answer.status_code != 200:
            why = f"{said['error']}: {said.get('error_description', '')}"
            raise TokenFailed(printable(f"the token endpoint refuses ({answer.status_code}): {why}")[:400])
        replacement = said.get("refresh_token")
        return (
            Secret(str(said["access_token"])),
            Secret(str(replacement)) if replacement else None,
            float(said.get("expires_in", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TokenFailed(f"the token endpoint answers {answer.status_code} with no token") from None

"""Installation access tokens of a GitHub App, made when they are asked for and shared until they run out.

https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app and
https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-app-installation
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

import httpx
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from airut_common.secrets import Secret

from .node_ids import repository_of

_DEFAULT_URL: Final = "https://api.github.com"
_HEADERS: Final = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
    # What is read is bounded as it is on the wire.
    "Accept-Encoding": "identity",
}
_REQUEST_SECONDS: Final = 10.0
_REFRESH_SECONDS: Final = 30.0
_MAX_ANSWER: Final = 1024 * 1024
_PER_PAGE: Final = 50  # a repository takes 5 to 10 kB of the answer's mebibyte
_MAX_PAGES: Final = 20

_RENEW_BEFORE: Final = timedelta(minutes=5)
_LONGEST: Final = timedelta(hours=1)
_FAILURE_REMEMBERED: Final = timedelta(seconds=5)
# GitHub takes a JWT for ten minutes at most. The minute back is for clocks that differ.
_JWT_BACK: Final = timedelta(seconds=60)
_JWT_AHEAD: Final = timedelta(minutes=9)
_MIN_KEY_BITS: Final = 2048

_MAX_MESSAGE: Final = 200
_MAX_ID: Final = 2**63 - 1
_TOKEN: Final = re.compile(r"[!-~]{1,2048}", re.ASCII)
_FULL_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}", re.ASCII)
# Keys, JWTs and tokens are such runs, and nothing that GitHub has to say to people is.
_SECRET_LIKE: Final = re.compile(r"[A-Za-z0-9_.+/=-]{32,}", re.ASCII)


class TokenUnavailable(Exception):
    """There is no token; the text is one line that says why, for people, and has no secret in it."""


@dataclass(frozen=True, slots=True)
class InstallationToken:
    """What a GitHub App may use as its installation."""

    token: Secret
    expires_at: datetime
    """In UTC."""
    repositories: frozenset[str] | None
    """`owner/name`, lower-case, of all that the token reaches; None when they are too many to list."""
    repository_ids: frozenset[int] = field(repr=False)
    """Database ids of the same repositories; empty when they are too many to list."""


@dataclass(frozen=True, slots=True)
class _Failure:
    text: str
    at: datetime


def _now() -> datetime:
    return datetime.now(UTC)


class InstallationTokens:
    """The tokens of one installation. Safe for concurrent use within one event loop."""

    def __init__(
        self,
        *,
        app_id: int | str,
        installation_id: int,
        private_key: Secret,
        client: httpx.AsyncClient,
        permissions: Mapping[str, str] | None = None,
        repositories: Sequence[str] | None = None,
        base_url: str = _DEFAULT_URL,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Args:
        app_id: the App's id, or its client id.
        installation_id: of the App on a user or an organization.
        private_key: RSA, in PEM. It is looked at when a token is made.
        client: stays the caller's to close.
        permissions: name to `read`, `write` or `admin`; None takes all that the installation has.
        repositories: names without their owner; None takes all that the installation has.
        base_url: of the REST API, such as https://ghe.example/api/v3.
        clock: the time, with its zone.

        Raises:
            ValueError: an id, a URL or a list that cannot be meant.
        """
        if installation_id <= 0 or not str(app_id):
            raise ValueError("a GitHub App has an id, and its installation a positive one")
        # GitHub would take an empty list for no list, and give everything.
        if permissions is not None and not permissions:
            raise ValueError("permissions of an installation token are not empty")
        if repositories is not None and (isinstance(repositories, str) or not repositories):
            raise ValueError("repositories of an installation token are a list that is not empty")
        if repositories is not None and any("/" in name for name in repositories):
            raise ValueError("repositories of an installation token are named without their owner")
        self._app_id = str(app_id)
        self._installation_id = installation_id
        self._private_key = private_key
        self._client = client
        self._wanted = frozenset(name.lower() for name in repositories) if repositories is not None else None
        self._request_body = _request_body(permissions, repositories)
        self._base_url = _checked_url(base_url)
        self._clock = clock
        self._token: InstallationToken | None = None
        self._failure: _Failure | None = None
        self._running: asyncio.Task[InstallationToken] | None = None

    async def current(self) -> InstallationToken:
        """A token with five minutes left at least.

        Raises:
            TokenUnavailable: none could be made, now or up to five seconds ago.
        """
        now = self._clock()
        if self._token is not None and now < self._token.expires_at - _RENEW_BEFORE:
            return self._token
        task = self._running
        if task is None:
            self._raise_remembered(now)
            # Requests that ask at the same moment share one token, and one of them leaving does not end it.
            task = asyncio.create_task(self._refresh(), name=f"github installation {self._installation_id}")
            self._running = task
            task.add_done_callback(self._finished)
        try:
            return await asyncio.shield(task)
        except TokenUnavailable as problem:
            # A new one for each: an exception that is raised again grows with its tracebacks.
            raise TokenUnavailable(str(problem)) from None
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if task.cancelled() and (this is None or not this.cancelling()):
                raise TokenUnavailable("the request for an installation token was given up") from None
            raise

    async def close(self) -> None:
        """Give up a request that is under way. Whoever waits for it gets TokenUnavailable."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _raise_remembered(self, now: datetime) -> None:
        failure = self._failure
        # A clock that was set back must not make five seconds into hours.
        if failure is not None and timedelta(0) <= now - failure.at < _FAILURE_REMEMBERED:
            raise TokenUnavailable(failure.text)

    def _finished(self, done: asyncio.Task[InstallationToken]) -> None:
        self._running = None
        if not done.cancelled():
            done.exception()  # whoever still waits gets it; nobody waiting is not worth a warning

    async def _refresh(self) -> InstallationToken:
        try:
            async with asyncio.timeout(_REFRESH_SECONDS):
                token = await self._make()
        except TimeoutError:
            raise self._failed(f"GitHub took longer than {_REFRESH_SECONDS:g} s for a token") from None
        except TokenUnavailable as problem:
            raise self._failed(str(problem)) from None
        except Exception as error:  # noqa: BLE001  its text could hold what was sent
            raise self._failed(f"an installation token could not be made ({type(error).__name__})") from None
        self._token, self._failure = token, None
        return token

    def _failed(self, text: str) -> TokenUnavailable:
        self._failure = _Failure(text, self._clock())
        return TokenUnavailable(text)

    async def _make(self) -> InstallationToken:
        proof = self._signed()
        url = f"{self._base_url}/app/installations/{self._installation_id}/access_tokens"
        answer = await self._ask("POST", url, proof, 201, self._request_body)
        token, expires_at = _read_token(answer, self._clock())
        listed = await self._list(token)
        if listed is None:
            return InstallationToken(token, expires_at, None, frozenset())
        if self._wanted is not None and not {name.split("/")[1] for name in listed} <= self._wanted:
            raise TokenUnavailable("GitHub's token reaches repositories that were not asked for")
        return InstallationToken(token, expires_at, frozenset(listed), frozenset(listed.values()))

    def _signed(self) -> Secret:
        """The JWT by which the App shows who it is
        (https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app)."""
        now = self._clock()
        claims = {"iat": now - _JWT_BACK, "exp": now + _JWT_AHEAD, "iss": self._app_id}
        return Secret(jwt.encode(claims, _read_key(self._private_key), algorithm="RS256"))

    async def _list(self, token: Secret) -> dict[str, int] | None:
        """Names and ids of the token's repositories; None when there are more than we list."""
        found: dict[str, int] = {}
        total = 0
        for page in range(1, _MAX_PAGES + 1):
            url = f"{self._base_url}/installation/repositories?per_page={_PER_PAGE}&page={page}"
            answer = await self._ask("GET", url, token, 200)
            count, repositories = answer.get("total_count"), answer.get("repositories")
            if not isinstance(count, int) or not isinstance(repositories, list):
                raise TokenUnavailable("GitHub's list of the installation's repositories has another shape")
            total = count
            if total > _MAX_PAGES * _PER_PAGE:
                return None
            found.update(_read_repositories(repositories))
            if len(repositories) < _PER_PAGE:
                return found
        return None if total > len(found) else found

    async def _ask(
        self, method: str, url: str, bearer: Secret, expected: int, body: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """One request, and the JSON object that answers it.

        Raises:
            TokenUnavailable: no answer, another status, or not an object.
        """
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                status, raw = await self._exchange(method, url, bearer, body)
        except TimeoutError:
            raise TokenUnavailable(f"GitHub did not answer in {_REQUEST_SECONDS:g} s") from None
        except httpx.HTTPError as error:
            # Their texts are of the address and of TLS, but they hold the request as well.
            raise TokenUnavailable(f"GitHub could not be asked ({type(error).__name__})") from None
        answer = _object(raw)
        if status != expected:
            message = _readable(answer.get("message") if answer else None, bearer)
            asked = "an installation token" if method == "POST" else "the installation's repositories"
            raise TokenUnavailable(
                f"GitHub answered {status} to the request for {asked}{message and f': {message}'}"
            )
        if answer is None:
            raise TokenUnavailable("GitHub's answer is not a JSON object")
        return answer

    async def _exchange(
        self, method: str, url: str, bearer: Secret, body: Mapping[str, object] | None
    ) -> tuple[int, bytes]:
        headers = {**_HEADERS, "Authorization": f"Bearer {bearer.reveal()}"}
        async with self._client.stream(
            method,
            url,
            headers=headers,
            json=body,
            auth=None,
            follow_redirects=False,
            timeout=_REQUEST_SECONDS,
        ) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise TokenUnavailable("GitHub's answer has a content coding that was not asked for")
            raw = bytearray()
            async for part in response.aiter_raw():
                raw += part
                if len(raw) > _MAX_ANSWER:
                    raise TokenUnavailable(f"GitHub's answer is larger than {_MAX_ANSWER} bytes")
            return response.status_code, bytes(raw)


def _request_body(
    permissions: Mapping[str, str] | None, repositories: Sequence[str] | None
) -> Mapping[str, object]:
    body: dict[str, object] = {}
    if permissions is not None:
        body["permissions"] = dict(permissions)
    if repositories is not None:
        body["repositories"] = list(repositories)
    return body


def _checked_url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("the base URL of GitHub's API is not a URL") from None
    if url.userinfo or url.query or url.fragment or not url.host:
        raise ValueError("the base URL of GitHub's API has a scheme, a host and a path only")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host)):
        raise ValueError("GitHub's API is asked over https only")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _read_key(private_key: Secret) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(private_key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's text is left out: it may quote the key.
        raise TokenUnavailable("the GitHub App's private key is not PEM without a passphrase") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _MIN_KEY_BITS:
        raise TokenUnavailable(f"the GitHub App's private key is not RSA of {_MIN_KEY_BITS} bits or more")
    return key


def _object(raw: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_token(answer: Mapping[str, object], now: datetime) -> tuple[Secret, datetime]:
    token, expiry = answer.get("token"), answer.get("expires_at")
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
        raise TokenUnavailable("GitHub's answer has no token that could be sent in a header")
    try:
        expires_at = datetime.fromisoformat(expiry) if isinstance(expiry, str) else None
        # An expiry without a zone would be read as this machine's.
        expires_at = expires_at.astimezone(UTC) if expires_at and expires_at.tzinfo else None
    except (ValueError, OverflowError):
        expires_at = None
    if expires_at is None:
        raise TokenUnavailable("GitHub's answer does not say when the token expires")
    if expires_at <= now + _RENEW_BEFORE:
        raise TokenUnavailable("GitHub's token expires at once; is this machine's clock right?")
    return Secret(token), min(expires_at, now.astimezone(UTC) + _LONGEST)


def _read_repositories(entries: Sequence[object]) -> Iterator[tuple[str, int]]:
    for entry in entries:
        members = entry if isinstance(entry, dict) else {}
        name, number, node_id = (members.get(key) for key in ("full_name", "id", "node_id"))
        if (
            not (isinstance(name, str) and _FULL_NAME.fullmatch(name))
            or not (type(number) is int and 0 < number <= _MAX_ID)
            or not isinstance(node_id, str)
        ):
            raise TokenUnavailable("GitHub's list of the installation's repositories has another shape")
        # Node ids in requests are judged by these numbers: a GitHub that forms them otherwise is not for us.
        if repository_of(node_id) not in (None, number):
            raise TokenUnavailable("GitHub's node ids are not formed the way they are read here")
        yield name.lower(), number


def _readable(message: object, secret: Secret) -> str:
    """GitHub's message as one short line, without what could be a secret that it repeats; "" when there is none."""
    if not isinstance(message, str):
        return ""
    # Before anything is cut off: half a secret would no longer look like one.
    text = _SECRET_LIKE.sub("…", message.replace(secret.reveal(), "…"))
    line = "".join(each if each.isprintable() else " " for each in text[: _MAX_MESSAGE + 1]).strip()
    return line if len(line) <= _MAX_MESSAGE else f"{line[: _MAX_MESSAGE - 1]}…"

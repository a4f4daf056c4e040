"""The tokens of all GitHub Apps that a process works with, shared by the sandboxes that use the same one."""

import ssl
from hashlib import sha256
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import httpx

from airut_common.config.credentials import GithubAppCredential
from airut_common.secrets import Secret
from airut_egress.resolver import Resolver, UpstreamRefused, UpstreamUnknown

from .tokens import InstallationTokens

_HTTPS: Final = 443


class Installations:
    """One for an engine. Tokens are kept as long as a session uses them."""

    def __init__(self, resolver: Resolver, ca_file: Path | None) -> None:
        """Args:
        ca_file: authorities (PEM) to trust besides the system's.

        Raises:
            ValueError: the file cannot be used.
        """
        self._transport = _Transport(resolver, ca_file)
        # No environment: a proxy or a netrc of the operator's shell has no say here.
        self._client = httpx.AsyncClient(transport=self._transport, trust_env=False)
        self._tokens: WeakValueDictionary[tuple[str, bytes], InstallationTokens] = WeakValueDictionary()

    def use(self, resolver: Resolver, ca_file: Path | None) -> None:
        """Reach GitHub by other settings from the next request on.

        Raises:
            ValueError: the file cannot be used; the old settings stay.
        """
        self._transport.use(resolver, ca_file)

    def tokens(self, config: GithubAppCredential, private_key: Secret) -> InstallationTokens:
        """The tokens of an installation; the same object for the same App, key and limits."""
        asked = config.model_dump_json(exclude={"scopes", "headers", "allow_foreign_credentials"})
        key = (asked, sha256(private_key.reveal().encode()).digest())
        found = self._tokens.get(key)
        if found is None:
            found = self._tokens[key] = InstallationTokens(
                app_id=config.app_id,
                installation_id=config.installation_id,
                private_key=private_key,
                client=self._client,
                permissions=config.permissions,
                repositories=config.repositories,
                base_url=config.base_url,
            )
        return found

    async def close(self) -> None:
        """Give up what is under way and close connections."""
        for tokens in tuple(self._tokens.values()):
            await tokens.close()
        await self._client.aclose()


class _Transport(httpx.AsyncBaseTransport):
    """Dials what our resolver allows, and proves the name."""

    def __init__(self, resolver: Resolver, ca_file: Path | None) -> None:
        self._resolver = resolver
        self._inner = httpx.AsyncHTTPTransport(verify=_context(ca_file))
        self._replaced: list[httpx.AsyncHTTPTransport] = []

    def use(self, resolver: Resolver, ca_file: Path | None) -> None:
        inner = httpx.AsyncHTTPTransport(verify=_context(ca_file))
        self._replaced.append(self._inner)
        self._resolver, self._inner = resolver, inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        try:
            targets = await self._resolver.resolve(host, request.url.port or _HTTPS)
        except (UpstreamRefused, UpstreamUnknown) as error:
            raise httpx.ConnectError(str(error), request=request) from None
        address, port = targets[0]
        # The name stays in the Host header, and is what the certificate has to be for.
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=address, port=port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        for inner in (self._inner, *self._replaced):
            await inner.aclose()


def _context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (ssl.SSLError, OSError):
            raise ValueError(f"{ca_file} is not a file with certificates (PEM)") from None
    return context

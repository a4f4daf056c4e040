"""A GitHub App among the credentials of a session."""

from collections import deque
from collections.abc import Callable
from typing import Final

import httpx

from airut_common.config.credentials import GithubAppCredential
from airut_common.secrets import Secret
from airut_egress.credentials import MaskedEntry
from airut_egress.paths import lenient_segments
from airut_egress.surrogates import surrogate
from airut_egress.swap import Swap

from .tokens import InstallationToken, InstallationTokens, TokenUnavailable

#: The shape of an installation token: clients tell it by its beginning.
_SHAPE: Final = "ghs_" + "a0A" * 12
_PUBLIC_API: Final = "api.github.com"
#: A token is good for an hour and replaced five minutes before: an answer can carry this one or the one before.
_RECENT: Final = 2


def token_surrogate(installation_key: bytes, sandbox: str, name: str) -> str:
    """What a sandbox holds for an App's tokens, all that ever will be."""
    return surrogate(installation_key, sandbox, name, _SHAPE)


class AppEntry:
    """The rule of one App, with the token of the moment behind the surrogate."""

    def __init__(
        self,
        name: str,
        config: GithubAppCredential,
        tokens: InstallationTokens,
        *,
        stand_in: str,
        same_shape: Callable[[str], str],
    ) -> None:
        """Args:
        stand_in: what the sandbox holds.
        same_shape: a stand-in as long as a value, for answers.

        Raises:
            airut_egress.credentials.BadCredential: a scope or a header cannot be used.
        """
        self.name = name
        self._config = config
        self._tokens = tokens
        self._stand_in = stand_in
        self._same_shape = same_shape
        self._template = MaskedEntry.build(name, config, Secret(same_shape(stand_in)), stand_in)
        self.entry = self._template
        """As it is applied. Without a token its value is one that nobody knows; no request gets that far."""
        self.token: InstallationToken | None = None
        self.problem = ""
        """Why there is no token, for people."""
        self.recent: deque[Swap] = deque(maxlen=_RECENT)
        self._api = httpx.URL(config.base_url).host

    def covers(self, host: str) -> bool:
        """Whether tokens may go to a canonical host."""
        return self._template.covers(host)

    def judges(self, host: str, raw_path: bytes) -> bool:
        """Whether a request, by its canonical host and raw target, may be one of GitHub's GraphQL API. In doubt it
        is (https://docs.github.com/graphql; `/api/graphql` on GitHub Enterprise Server)."""
        return host in {self._api, _PUBLIC_API} and "graphql" in lenient_segments(raw_path)

    async def refresh(self) -> bool:
        """Get the token of the moment, or note why there is none. Tells whether it is another one than before."""
        try:
            token = await self._tokens.current()
        except TokenUnavailable as problem:
            self.token, self.problem = None, str(problem)
            self.entry = self._template
            return False
        if token is self.token:
            return False
        self.token, self.problem = token, ""
        self.entry = MaskedEntry.build(self.name, self._config, token.token, self._stand_in)
        value = token.token.reveal()
        # Another length would move everything that comes after it in an answer.
        shown = self._stand_in if len(self._stand_in) == len(value) else self._same_shape(value)
        self.recent.appendleft(Swap(surrogate=shown.encode("ascii"), real=value.encode("ascii")))
        return True

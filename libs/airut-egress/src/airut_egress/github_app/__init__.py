"""A GitHub App as the credential: its installation tokens, and what a GraphQL request may touch with one."""

from .entry import AppEntry, token_surrogate
from .installations import Installations
from .node_ids import repository_of
from .scope import judge
from .tokens import InstallationToken, InstallationTokens, TokenUnavailable

__all__ = [
    "AppEntry",
    "InstallationToken",
    "InstallationTokens",
    "Installations",
    "TokenUnavailable",
    "judge",
    "repository_of",
    "token_surrogate",
]

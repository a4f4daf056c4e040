"""A GitHub App as the credential: its installation tokens, and what a GraphQL request may touch with one."""

from .node_ids import repository_of
from .scope import judge
from .tokens import InstallationToken, InstallationTokens, TokenUnavailable

__all__ = ["InstallationToken", "InstallationTokens", "TokenUnavailable", "judge", "repository_of"]

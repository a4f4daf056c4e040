"""The configuration as it is at this moment, in the shape in which each part asks for it."""

from collections.abc import Mapping

from airut_common.config.models import RetentionConfig
from airut_common.config.store import WatchedConfig
from airut_common.sealed import WatchedSecrets
from airut_orchestrator.replies import task_page
from airut_orchestrator.runner import Settings


class Current:
    """Looks at the configuration anew each time."""

    def __init__(self, config: WatchedConfig, secrets: WatchedSecrets) -> None:
        self._config = config
        self._secrets = secrets

    def settings(self, repo_id: str) -> Settings:
        """What a task of a repository begins with."""
        repo = self._config.repos.get(repo_id)
        name = repo.git.token_secret if repo is not None else None
        token = self._secrets.get(repo_id, name) if name is not None else None
        return Settings(self._config.server, repo, token)

    def max_concurrent(self) -> int:
        """Tasks at the same time on this host."""
        return self._config.server.max_concurrent

    def max_concurrent_of(self) -> Mapping[str, int]:
        """The same of repositories that have a limit of their own, on all hosts."""
        return {
            name: repo.max_concurrent
            for name, repo in self._config.repos.items()
            if repo.max_concurrent is not None
        }

    def max_queue(self) -> Mapping[str, int]:
        """How many messages of each repository may wait."""
        return {name: repo.max_queue for name, repo in self._config.repos.items()}

    def agent_versions(self) -> set[str]:
        """Versions and channels of the agent that repositories name."""
        return {repo.agent.version for repo in self._config.repos.values()}

    def min_free_mib(self) -> int:
        """What the disk must have left for a task to begin."""
        return self._config.server.sandbox.min_free_mib

    def retention(self) -> RetentionConfig:
        """How long what nobody uses is kept."""
        return self._config.server.retention

    def acknowledges(self) -> bool:
        """Whether authors of mails are told at once that a message was taken."""
        email = self._config.server.email
        return email is not None and email.acknowledge

    def page(self, task: str) -> str | None:
        """The address of a task's page, where the dashboard has one."""
        return task_page(self._config.server.dashboard.public_url, task)

"""The shape of `airut.yaml`. Everything is strict: an unknown key or a string for a number is an error."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from airut_common.config.addresses import (
    Addresses,
    GroupName,
    SenderEntry,
    SenderPattern,
    named_group,
    same_mailbox,
)
from airut_common.config.base import (
    LOOPBACK_HOSTS,
    DomainName,
    HostPatternText,
    NetworkText,
    SecretName,
    StrictModel,
)
from airut_common.config.credentials import CredentialConfig, SigningCredential
from airut_common.config.dkim import DkimConfig
from airut_common.config.imap import ImapConfig
from airut_common.contracts.v1 import REPO_ID_PATTERN, RepoId


def _require_port(endpoint: str) -> str:
    if int(endpoint.rpartition(":")[2]) > 65535:
        raise ValueError("has a port beyond 65535")
    return endpoint


Endpoint = Annotated[
    str,
    StringConstraints(pattern=r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"),
    AfterValidator(_require_port),
]
"""`host:port`; port 0 takes a free one, which `airut status` shows."""


def _require_address(endpoint: str) -> str:
    try:
        ip_address(endpoint.rpartition(":")[0].strip("[]"))
    except ValueError:
        raise ValueError(
            "must be an address with a port, such as 192.0.2.53:53 or [2001:db8::53]:53, and no name"
        ) from None
    return endpoint


AddressEndpoint = Annotated[Endpoint, AfterValidator(_require_address)]
"""`address:port`, for what is dialled without asking a DNS server first."""

WebAddress = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\[\]:_-]+/[!-~]*$")]
"""A URL of http or https, with a path."""

PublicUrl = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\[\]:_-]+(/[!-~]*)?$")]

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,253}$")]

NatsServers = Annotated[str, StringConstraints(pattern=r"^(nats|tls)://[^\s,/@]+(,(nats|tls)://[^\s,/@]+)*$")]
"""Servers of one cluster."""

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Of the environment."""

AGENT_VERSION_PATTERN: Final = r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(-[0-9A-Za-z.-]{1,64})?"
AGENT_CHANNEL_PATTERN: Final = "[a-z][a-z0-9-]{0,31}"

AgentVersion = Annotated[
    str, StringConstraints(pattern=rf"^({AGENT_VERSION_PATTERN}|{AGENT_CHANNEL_PATTERN})$")
]

PATTERN_WORDS: Mapping[str, str] = {
    r"^[A-Z][A-Z0-9_]{0,63}$": "be written like an environment variable: capitals, digits and underscores",
    r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$": "be `host:port`, such as 127.0.0.1:2525",
    r"^([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{1,63}$": "be a domain, such as lists.example.org",
    r"^[^@\s<>\"]+@[^@\s<>\"*]+$": "be a mail address, such as demo@airut.example",
    r"^([^@\s<>\"*]+|\*)@[^@\s<>\"*]+$": (
        "be a mail address, or `*@domain` for everybody of a domain; groups do not nest"
    ),
    rf"^(group:{REPO_ID_PATTERN}|([^@\s<>\"*:]+|\*)@[^@\s<>\"*]+)$": (
        "be a mail address, `*@domain` for everybody of a domain, or `group:NAME` for all of a group"
    ),
    r"^[A-Za-z0-9*?._-]{1,253}$": "be a host name, or a pattern such as '*.example.org'",
    r"^[^\s/:@]+$": "be a host name, or a pattern such as '*.example.org', without https://, port, path or spaces",
    r"^[A-Za-z0-9._-]{1,100}$": "be the name of a repository, without its owner",
    r"^[A-Za-z_][A-Za-z0-9_]{0,63}$": "be the name of a build argument: letters, digits and underscores",
    r"^https?://[A-Za-z0-9.\[\]:_-]+(/[!-~]*)?$": "be a URL, such as https://airut.example.org",
    r"^[A-Za-z0-9._-]{1,253}$": "be the name of a host, such as airut.example.org",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "be the name of a variable: letters, digits and underscores",
    r"^(nats|tls)://[^\s,/@]+(,(nats|tls)://[^\s,/@]+)*$": (
        "be nats://HOST:PORT, or tls://HOST:PORT; several servers with commas"
    ),
    rf"^({AGENT_VERSION_PATTERN}|{AGENT_CHANNEL_PATTERN})$": (
        "be a version such as 2.1.330, or a channel: latest or stable"
    ),
    r"^[a-z_]{1,64}$": "be the name of a permission, such as pull_requests",
    r"^[^\x00-\x1f\x7f]{1,300}$": "be one line of at most 300 characters",
    r"^[A-Za-z0-9.-]{1,253}$": "be the id or a domain of the directory",
    r"^[A-Za-z0-9.]{1,64}$": "be a number, or a client id in quotes",
    r"^https://[^\s?#@]+$": "be an https URL, without a user, a query or a fragment",
    r"^https?://[A-Za-z0-9.\[\]:_-]+/[!-~]*$": "be a URL with a path, such as https://collector.example.org/v1/traces",
    rf"^{REPO_ID_PATTERN}$": "be lower-case letters, digits and dashes, at most 40, beginning with a letter or digit",
}
"""What each pattern asks for, for the person who did not meet it."""


Port = Annotated[int, Field(ge=1, le=65535)]


class TlsFiles(StrictModel):
    """A certificate chain and its key, both PEM."""

    certificate: Path
    key: Path


class RelayConfig(StrictModel):
    """The mail server that takes our replies."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "plain"] = "starttls"
    """`plain` is accepted for loopback addresses only."""
    ca_file: Path | None = None
    """Trust these authorities instead of the system's."""
    username: str | None = None
    password_secret: SecretName | None = None

    @model_validator(mode="after")
    def _plain_only_on_loopback(self) -> Self:
        if self.security == "plain" and self.host not in LOOPBACK_HOSTS:
            raise ValueError("security: plain is accepted for a loopback host only; use starttls or tls")
        if (self.username is None) != (self.password_secret is None):
            raise ValueError("username and password_secret belong together")
        return self


class SenderAuthConfig(StrictModel):
    """How a mail's author is proven."""

    mode: Literal["native", "trusted-header"] = "native"
    resolver: Endpoint | None = None
    """DNS server for DKIM, SPF and DMARC; None uses the system's."""
    allow_policy_none: bool = False
    """Accept an aligned pass of a domain whose DMARC policy is `none`."""
    arc_sealers: tuple[DomainName, ...] = ()
    """Domains whose ARC seals are believed: forwarders and list servers."""
    authserv_id: str | None = None
    """The trusted server's name in its `Authentication-Results`; `*.` in front stands for one more label."""
    upstream: Literal["rfc8601", "microsoft-365"] = "rfc8601"
    """`microsoft-365` writes no name into its header: the topmost one counts, and `authserv_id` is left out."""
    peers: tuple[NetworkText, ...] = ()
    """Networks (CIDR) whose `Authentication-Results` are believed when they deliver by SMTP."""

    @model_validator(mode="after")
    def _trusted_header_is_complete(self) -> Self:
        named = bool(self.authserv_id) == (self.upstream == "rfc8601")
        if self.mode == "trusted-header" and not named:
            raise ValueError("mode: trusted-header needs authserv_id (with upstream: microsoft-365, none)")
        return self


class LoginConfig(StrictModel):
    """What a mail server that submits to us logs in with (RFC 4954, over TLS only)."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    password_secret: SecretName


class EmailConfig(StrictModel):
    """The mail channel."""

    listen: Endpoint | None = None
    """Where SMTP is taken; None: 127.0.0.1:2525, or nowhere if there is a mailbox (see `smtp`)."""
    imap: ImapConfig | None = None
    """A mailbox to fetch from."""
    hostname: HostName
    """Our name in the SMTP banner and in Message-IDs."""
    max_message_bytes: Annotated[int, Field(ge=1024)] = 25 * 1024 * 1024
    tls: TlsFiles | None = None
    require_tls: bool = False
    """Take mail over STARTTLS only. A public MX must not (RFC 3207 §4): it would lose mail."""
    login: LoginConfig | None = None
    """Every client has to log in before it delivers; for relays of your own, not for a public MX."""
    allowed_peers: tuple[NetworkText, ...] = ()
    """Networks (CIDR) that SMTP is taken from; none named: from everywhere."""
    proxy_peers: tuple[NetworkText, ...] = ()
    """Networks (CIDR) of TCP proxies in front, which must begin each connection with a PROXY header (v1 or v2)."""
    authentication: SenderAuthConfig = SenderAuthConfig()
    dkim: DkimConfig | None = None
    """None: the relay signs, or nobody does."""
    relay: RelayConfig
    acknowledge: bool = False
    """Tell each author at once, in a short mail, that his message was taken."""

    @model_validator(mode="after")
    def _tls_has_a_certificate(self) -> Self:
        if self.require_tls and self.tls is None:
            raise ValueError("require_tls needs tls: a certificate and its key")
        if self.login is not None and self.tls is None:
            raise ValueError("login needs tls: a certificate and its key; passwords are taken over TLS only")
        return self

    @model_validator(mode="after")
    def _believed_peers_are_named(self) -> Self:
        if self.authentication.mode == "trusted-header" and self.smtp and not self.authentication.peers:
            raise ValueError(
                "authentication: mode: trusted-header needs at least one network in peers, unless mail comes from "
                "imap alone"
            )
        return self

    @property
    def smtp(self) -> Endpoint | None:
        """Where SMTP is taken; None: nowhere."""
        return self.listen or (None if self.imap else "127.0.0.1:2525")


def _require_loopback(endpoint: str) -> str:
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError("must be a loopback address, such as 127.0.0.1:8484: the dashboard has no login")
    return endpoint


class DashboardConfig(StrictModel):
    """The web view."""

    listen: Annotated[Endpoint, AfterValidator(_require_loopback)] = "127.0.0.1:8484"
    public_url: PublicUrl | None = None


class EgressConfig(StrictModel):
    """How the egress-proxy reaches the world."""

    resolver: AddressEndpoint | None = None
    """DNS server for upstream names; None uses the system's."""
    allow_networks: tuple[NetworkText, ...] = ()
    """Private networks (CIDR) that an allowed name may resolve to. 169.254.0.0/16 stays refused."""
    connect_to: dict[str, Endpoint] = Field(default_factory=dict)
    """Name to `address:port` to dial instead, as `curl --connect-to`; TLS still proves the name."""
    ca_file: Path | None = None
    """Authorities to trust besides the system's."""
    ports: dict[Port, Literal["http", "https"]] = Field(default_factory=dict)
    """Ports that leave sandboxes besides 80 and 443, each for one scheme."""
    upload_limits: dict[HostPatternText, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Host pattern to the bytes that one task may send to the hosts that fit; what is not named has no limit."""
    max_connections: Annotated[int, Field(ge=1)] = 256
    """Open at a time, of one task; more are reset."""
    max_requests_per_second: Annotated[float, Field(gt=0)] = 500.0
    """Of one task. Twice as many may come at once; what is above waits for 2 s at most and is then refused with 429."""
    max_bytes_per_second: Annotated[float, Field(gt=0)] | None = None
    """Of one task, in both directions together; what is above waits. None is no limit."""
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Processes that sandboxes are spread over; 1 serves all in the service's own. None is one for each processor that
    the service may use, at most 8. Read at the start."""
    metrics_listen: Endpoint | None = None
    """Where `/metrics` answers Prometheus, without a login. Read at the start."""
    traces_endpoint: WebAddress | None = None
    """The URL that takes OpenTelemetry's spans (OTLP over HTTP), with its path. Read at the start."""

    @model_validator(mode="after")
    def _traces_are_not_read_on_their_way(self) -> Self:
        url = urlsplit(self.traces_endpoint or "")
        if url.scheme == "http" and url.hostname not in LOOPBACK_HOSTS:
            raise ValueError("traces_endpoint: http is accepted for a loopback host only; use https")
        return self


BUILD_ALLOWLIST = "sandbox.build_allowlist"
"""How messages call it."""


class SandboxConfig(StrictModel):
    """Host-wide sandbox settings."""

    runtime: str | None = None
    """OCI runtime; None tries Podman's default and then runc, and keeps the one that works."""
    base_image: str | None = None
    """Value of the build argument `AIRUT_BASE`, for hosts without a registry."""
    build_allowlist: Annotated[str, StringConstraints(max_length=1024 * 1024)] | None = None
    """What image builds reach, in the format of a repository's network allowlist; None: nothing."""
    max_outbox_files: Annotated[int, Field(ge=0)] = 20
    max_outbox_file_bytes: Annotated[int, Field(ge=0)] = 10 * 1024 * 1024
    max_outbox_total_bytes: Annotated[int, Field(ge=0)] = 20 * 1024 * 1024
    min_free_mib: Annotated[int, Field(ge=128)] = 1024
    """What stays free on the host's disk: with less, no task begins, and the one that has taken most is stopped."""


def _require_git_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme != "https" or not url.hostname:
        raise ValueError("must be an https URL, such as https://github.com/example/website.git")
    if url.username is not None or url.password is not None:
        raise ValueError("credentials do not belong in the URL; use username and token_secret")
    return text


class GitConfig(StrictModel):
    """Where the repository lives."""

    url: Annotated[str, AfterValidator(_require_git_url)]
    username: str = "x-access-token"
    token_secret: SecretName | None = None
    """The orchestrator's own read token for the mirror; None fetches anonymously."""
    push_credential: SecretName | None = None
    """The masked credential whose surrogate git presents inside the sandbox."""
    ca_file: Path | None = None


class RetentionConfig(StrictModel):
    """How long what nobody uses any more is kept."""

    conversation_days: Annotated[int, Field(ge=1)] = 7
    """After so many days without a message a conversation goes, with its workspace, files and tasks."""


Effort = Literal["low", "medium", "high", "xhigh", "max"]


class AgentConfig(StrictModel):
    """Which agent runs."""

    version: AgentVersion = "2.1.330"
    """Exact, or a channel of the registry (a dist-tag)."""
    model: str | None = None
    """None leaves it to the agent."""
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """What a message may ask for besides; None allows every model."""
    effort: Effort | None = None


class LimitsConfig(StrictModel):
    """What one task may use."""

    timeout_seconds: Annotated[int, Field(ge=10)] = 3600
    memory_mib: Annotated[int, Field(ge=128)] = 4096
    cpus: Annotated[float, Field(gt=0)] = 2.0
    pids: Annotated[int, Field(ge=32)] = 2048
    disk_mib: Annotated[int, Field(ge=64)] = 20 * 1024
    """What a conversation's folders and the container's own files may hold together, in blocks."""
    files: Annotated[int, Field(ge=1000)] = 1_000_000
    """How many files and folders they may hold together."""


BuildArgument = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class ImageConfig(StrictModel):
    """How the image of a repository is built."""

    build_args: dict[BuildArgument, Annotated[str, StringConstraints(max_length=4096)]] = Field(
        default_factory=dict
    )
    """Values for `ARG` in the Dockerfile. They are no place for a secret: images keep them in their history."""
    max_age_days: Annotated[int, Field(ge=1)] | None = None
    """An older image is built anew, from nothing that earlier builds left, so that packages get their updates. None: it
    stays as long as nothing that it is made of changes."""

    @model_validator(mode="after")
    def _ours_are_not_given(self) -> Self:
        if ours := sorted(name for name in self.build_args if name.startswith("AIRUT_")):
            raise ValueError(f"build_args: {ours[0]} is Airut's own")
        return self


class RepoConfig(StrictModel):
    """One repository that people may hand work to."""

    address: Addresses
    """Answers come from the first, unless a thread was begun to another."""
    senders: Annotated[tuple[SenderEntry, ...], Field(min_length=1)]
    git: GitConfig
    credentials: dict[SecretName, CredentialConfig] = Field(default_factory=dict)
    environment: dict[VariableName, str] = Field(default_factory=dict)
    agent: AgentConfig = AgentConfig()
    limits: LimitsConfig = LimitsConfig()
    image: ImageConfig = ImageConfig()
    network_sandbox: bool = True
    """False: the sandbox reaches every public host, whatever the repository's network allowlist says. Private networks
    stay out of reach, credentials stay masked and go only to their own hosts, and every request is an event."""
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    """Tasks of this repository that run at the same time, on all hosts together; None: as many as hosts take."""
    max_queue: Annotated[int, Field(ge=1)] = 200
    """So many messages may wait; one more is answered that it was not taken."""

    @model_validator(mode="after")
    def _push_credential_exists(self) -> Self:
        name = self.git.push_credential
        if name is not None and name not in self.credentials:
            raise ValueError(f"git.push_credential names {name}, which is not in credentials")
        if name is not None and isinstance(self.credentials[name], SigningCredential):
            raise ValueError(f"git.push_credential names {name}, which signs requests and is no password")
        return self

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        names = [each for name, config in self.credentials.items() for each in config.secret_names(name)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"credentials use the name {twice[0]} more than once; give each secret its own")
        if both := sorted(self.environment.keys() & set(names)):
            raise ValueError(f"environment and credentials both set {both[0]}; take it out of environment")
        return self


def open_networks(repos: Mapping[str, RepoConfig]) -> list[str]:
    """The repositories whose network sandbox is switched off, in order."""
    return sorted(name for name, repo in repos.items() if not repo.network_sandbox)


class ServerConfig(StrictModel):
    """Everything in `airut.yaml` that is not a repository; stored under the key `server`."""

    max_concurrent: Annotated[int, Field(ge=1)] = 4
    email: EmailConfig | None = None
    dashboard: DashboardConfig = DashboardConfig()
    egress: EgressConfig = EgressConfig()
    sandbox: SandboxConfig = SandboxConfig()
    retention: RetentionConfig = RetentionConfig()
    groups: dict[GroupName, Annotated[tuple[SenderPattern, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """People that repositories name together in `senders`. Stored here, and looked up for each mail: so one write of
    one key changes a group for all repositories at the same moment."""


class InstallationConfig(ServerConfig):
    """The whole of `airut.yaml`."""

    state_dir: Path = Path("state")
    """Relative to the file. Holds keys, databases, mirrors and workspaces; mode 0700."""
    nats_url: NatsServers | None = None
    """An operator's own NATS, several servers of a cluster with commas; None starts the embedded server."""
    nats_replicas: Literal[1, 3, 5] = 1
    """How many servers of a cluster hold each message. With three, any one of them may be lost."""
    repos: dict[RepoId, RepoConfig] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _addresses_lead_to_one_repository(self) -> Self:
        owners: dict[str, str] = {}
        for repo, config in self.repos.items():
            for address in config.address:
                owner = owners.setdefault(same_mailbox(address), repo)
                if owner != repo:
                    raise ValueError(
                        f"repos.{owner}.address and repos.{repo}.address both name {address}; "
                        "give each repository addresses of its own"
                    )
        return self

    @model_validator(mode="after")
    def _groups_are_known(self) -> Self:
        for repo, config in self.repos.items():
            for index, entry in enumerate(config.senders):
                group = named_group(entry)
                if group is not None and group not in self.groups:
                    raise ValueError(
                        f"repos.{repo}.senders[{index}]: there is no group {group}; list its senders as "
                        f"groups.{group}, or name one of: {', '.join(sorted(self.groups)) or 'none yet'}"
                    )
        return self

    @model_validator(mode="after")
    def _replicas_need_a_cluster(self) -> Self:
        if self.nats_replicas > 1 and self.nats_url is None:
            raise ValueError("nats_replicas: the embedded server is one alone; more need nats_url")
        return self

    def server(self) -> ServerConfig:
        """The part that goes to the key `server`."""
        return ServerConfig(**{name: getattr(self, name) for name in ServerConfig.model_fields})

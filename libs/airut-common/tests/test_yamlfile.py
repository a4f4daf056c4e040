"""Strict YAML (rows 57 and 81): what is wrong is said with file, line, field and the expected form."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import ruamel.yaml.constructor
import ruamel.yaml.error
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import StringConstraints

from airut_common.config import addresses, credentials, imap, models
from airut_common.config.models import PATTERN_WORDS, InstallationConfig
from airut_common.config.yamlfile import ConfigError, load_yaml_model

RELAY = "  relay: {host: mail.example.org}\n"
IMAP = "email:\n  hostname: m\n" + RELAY + "  imap: {host: mail.example.org, username: airut"
REPO = "repos:\n  demo:\n    address: demo@airut.example\n    senders: [ada@lovelace.example]\n    git: {url: https://g/r}\n"

OTHER = "  other:\n    address: other@airut.example\n    senders: [ada@lovelace.example]\n    git: {url: https://g/r}\n"


def load(text: str) -> InstallationConfig:
    return load_yaml_model(text, "airut.yaml", InstallationConfig)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return str(caught.value).splitlines()


def test_a_file_becomes_its_model() -> None:
    config = load("max_concurrent: 2\nstate_dir: var\n" + REPO + "    limits: {cpus: 1}\n")
    assert config.max_concurrent == 2
    assert config.state_dir == Path("var")
    assert config.repos["demo"].senders == ("ada@lovelace.example",)
    assert config.repos["demo"].limits.cpus == 1.0
    assert config.server().max_concurrent == 2


def test_groups_go_to_the_key_of_the_server() -> None:
    config = load(
        "groups: {team: [Ada@x.example, '*@y.example']}\n" + REPO.replace("[ada@", "[group:team, ada@")
    )
    assert config.server().groups == {"team": ("ada@x.example", "*@y.example")}
    assert config.repos["demo"].senders == ("group:team", "ada@lovelace.example")


def test_a_repository_has_one_address_or_several() -> None:
    one, several = (
        load(REPO.replace("demo@airut.example", text)).repos["demo"]
        for text in ("Demo@x.example", "[b@x.example, a@x.example]")
    )
    assert one.address == ("demo@x.example",)
    assert several.address == ("b@x.example", "a@x.example")
    assert type(one).model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize("resolver", ["192.0.2.53:53", "127.0.0.1:5353", "[2001:db8::53]:53"])
def test_the_resolver_of_sandboxes_is_an_address(resolver: str) -> None:
    assert load(f"egress: {{resolver: '{resolver}'}}").egress.resolver == resolver


def test_the_resolver_for_mail_may_be_a_name() -> None:
    config = load(f"email:\n  hostname: m\n{RELAY}  authentication: {{resolver: 'dns.example.org:53'}}")
    assert config.email is not None
    assert config.email.authentication.resolver == "dns.example.org:53"


@pytest.mark.parametrize("version", ["2.1.330", "0.0.1", "2.2.0-beta.1", "latest", "stable", "next-2"])
def test_an_agent_is_named_by_version_or_channel(version: str) -> None:
    assert load(f"{REPO}    agent: {{version: '{version}'}}").repos["demo"].agent.version == version


@pytest.mark.parametrize(
    "scope",
    [
        "api.example",
        "API.example.",
        "*.s3.eu-central-1.example",
        "git?.example",
        "*",
        "bücher.example",
        "a_b",
    ],
)
def test_a_credential_is_for_hosts_and_patterns_of_them(scope: str) -> None:
    config = load(f"{REPO}    credentials: {{TOKEN: {{scopes: ['{scope}']}}}}")
    assert config.repos["demo"].credentials["TOKEN"].scopes == (scope,)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "{}"])
def test_an_empty_file_is_all_defaults(text: str) -> None:
    assert load(text) == InstallationConfig()


VERSION_WANTED = "airut.yaml:6: repos.demo.agent.version: must be a version such as 2.1.330, or a channel: latest or stable"

SCOPE_WANTED = (
    "airut.yaml:7: repos.demo.credentials.TOKEN.scopes[{}]: must be a host name, or a pattern such as '*.example.org', "
    "without https://, port, path or spaces"
)

ONE_PROBLEM = {
    # row 57: a string is not a list of its characters
    REPO.replace("[ada@lovelace.example]", '"*@lovelace.example"'): (
        "airut.yaml:4: repos.demo.senders: must be a list: lines that begin with `- `"
    ),
    # row 57: misspelt keys
    "max_concurent: 3": "airut.yaml:1: max_concurent: unknown key; did you mean `max_concurrent`?",
    "dashboard:\n  lisen: 127.0.0.1:1": "airut.yaml:2: dashboard.lisen: unknown key; did you mean `listen`?",
    "dashboard:\n  zzz: 1": "airut.yaml:2: dashboard.zzz: unknown key; known here: listen, public_url",
    REPO + "    limit: {}": "airut.yaml:6: repos.demo.limit: unknown key; did you mean `limits`?",
    REPO + "    limits: {cpu: 1.0}": "airut.yaml:6: repos.demo.limits.cpu: unknown key; did you mean `cpus`?",
    REPO.replace("demo:", "git:").replace("{url:", "{urll: x, url:"): (
        "airut.yaml:5: repos.git.git.urll: unknown key; did you mean `url`?"
    ),
    REPO + "    credentials:\n      TOKEN: {scopes: [a.example], header: [x]}": (
        "airut.yaml:7: repos.demo.credentials.TOKEN.header: unknown key; did you mean `headers`?"
    ),
    # row 57: an empty block is not the same as none
    "email:": "airut.yaml:1: email: is empty; write a value or take the line out",
    "repos:\n  demo:\n": "airut.yaml:2: repos.demo: must be a block of `key: value` lines",
    # row 81: strict booleans, no `!env`
    "email:\n  hostname: m\n" + RELAY + '  authentication: {allow_policy_none: "false"}': (
        "airut.yaml:4: email.authentication.allow_policy_none: must be true or false, without quotes"
    ),
    "email:\n  hostname: m\n" + RELAY + "  authentication: {allow_policy_none: no}": (
        "airut.yaml:4: email.authentication.allow_policy_none: must be true or false, without quotes"
    ),
    "nats_url: !env NATS_URL": "airut.yaml:1: nats_url: reads as !env; write it in quotes if text is meant",
    "repos: !!python/object:os.system {}": (
        "airut.yaml:1: repos: reads as os.system; write it in quotes if text is meant"
    ),
    # wrong types
    'max_concurrent: "4"': "airut.yaml:1: max_concurrent: must be a whole number",
    "max_concurrent: true": "airut.yaml:1: max_concurrent: must be a whole number",
    "max_concurrent: 1.5": "airut.yaml:1: max_concurrent: must be a whole number",
    "max_concurrent: 0": "airut.yaml:1: max_concurrent: must be 1 or more",
    "max_concurrent: .nan": "airut.yaml:1: max_concurrent: must be a finite number",
    "nats_url: 4222": "airut.yaml:1: nats_url: must be text; write it in quotes",
    "nats_url: 2026-01-01": (
        "airut.yaml:1: nats_url: reads as timestamp; write it in quotes if text is meant"
    ),
    "dashboard: on": "airut.yaml:1: dashboard: must be a block of `key: value` lines",
    "dashboard: {listen: 127.0.0.1}": (
        "airut.yaml:1: dashboard.listen: must be `host:port`, such as 127.0.0.1:2525"
    ),
    REPO.replace("[ada@lovelace.example]", "[]"): "airut.yaml:4: repos.demo.senders: must not be empty",
    REPO.replace("[ada@lovelace.example]", "\n      - ada@x.example\n      - '*'"): (
        "airut.yaml:6: repos.demo.senders[1]: must be a mail address, `*@domain` for everybody of a domain, or "
        "`group:NAME` for all of a group"
    ),
    REPO.replace("[ada@lovelace.example]", "['*']"): (
        "airut.yaml:4: repos.demo.senders[0]: must be a mail address, `*@domain` for everybody of a domain, or "
        "`group:NAME` for all of a group"
    ),
    # groups
    "groups: {team: []}": "airut.yaml:1: groups.team: must not be empty",
    "groups:\n  team:": "airut.yaml:2: groups.team: must be a list: lines that begin with `- `",
    "groups: {Team: [a@x.example]}": (
        "airut.yaml:1: groups.Team: as a name must be lower-case letters, digits and dashes, at most 40, "
        "beginning with a letter or digit"
    ),
    "groups:\n  all:\n    - ada@x.example\n    - group:team": (
        "airut.yaml:4: groups.all[1]: must be a mail address, or `*@domain` for everybody of a domain; groups do not nest"
    ),
    REPO.replace("[ada@", "[group:team, ada@"): (
        "airut.yaml:1: repos.demo.senders[0]: there is no group team; list its senders as groups.team, or name one "
        "of: none yet"
    ),
    "groups: {teams: [a@x.example], b: [b@x.example]}\n"
    + REPO.replace("[ada@", "[group:b, group:team, ada@"): (
        "airut.yaml:1: repos.demo.senders[1]: there is no group team; list its senders as groups.team, or name one "
        "of: b, teams"
    ),
    # one address, or a list of them
    REPO.replace("demo@airut.example", "demo"): (
        "airut.yaml:3: repos.demo.address: must be a mail address, such as demo@airut.example"
    ),
    REPO.replace("demo@airut.example", "[demo@airut.example, help]"): (
        "airut.yaml:3: repos.demo.address[1]: must be a mail address, such as demo@airut.example"
    ),
    REPO.replace("demo@airut.example", "[]"): "airut.yaml:3: repos.demo.address: must not be empty",
    REPO.replace("demo@airut.example", "4"): (
        "airut.yaml:3: repos.demo.address: must be a list: lines that begin with `- `"
    ),
    REPO.replace("demo@airut.example", "[demo@airut.example, Demo@Airut.Example]"): (
        "airut.yaml:3: repos.demo.address: names demo@airut.example twice"
    ),
    REPO + OTHER.replace("other@airut.example", "[other@airut.example, DEMO@airut.example]"): (
        "airut.yaml:1: repos.demo.address and repos.other.address both name demo@airut.example; "
        "give each repository addresses of its own"
    ),
    REPO.replace("airut.example", "bücher.example") + OTHER.replace("other@airut", "demo@xn--bcher-kva"): (
        "airut.yaml:1: repos.demo.address and repos.other.address both name demo@xn--bcher-kva.example; "
        "give each repository addresses of its own"
    ),
    REPO.replace("demo:", "De_mo:"): (
        "airut.yaml:2: repos.De_mo: as a name must be lower-case letters, digits and dashes, at most 40, "
        "beginning with a letter or digit"
    ),
    REPO + "    credentials:\n      token: {scopes: [a.example]}": (
        "airut.yaml:7: repos.demo.credentials.token: as a name must be written like an environment variable: "
        "capitals, digits and underscores"
    ),
    # rules across fields
    "email:\n  hostname: m\n" + RELAY + "  authentication: {arc_sealers: [lists.example.org, '*']}": (
        "airut.yaml:4: email.authentication.arc_sealers[1]: must be a domain, such as lists.example.org"
    ),
    "email:\n  hostname: m\n" + RELAY + "  authentication: {mode: trusted-header, peers: [192.0.2.1/32]}": (
        "airut.yaml:4: email.authentication: mode: trusted-header needs authserv_id (with upstream: microsoft-365, none)"
    ),
    "email:\n  hostname: m\n" + RELAY + "  authentication: {mode: trusted-header, authserv_id: mx}": (
        "airut.yaml:1: email: authentication: mode: trusted-header needs at least one network in peers, unless mail "
        "comes from imap alone"
    ),
    IMAP
    + ", password_secret: P}\n  listen: 127.0.0.1:0\n  authentication: {mode: trusted-header, authserv_id: mx}": (
        "airut.yaml:1: email: authentication: mode: trusted-header needs at least one network in peers, unless mail "
        "comes from imap alone"
    ),
    IMAP + "}": "airut.yaml:4: email.imap: give either password_secret or oauth2",
    IMAP
    + ", password_secret: P, oauth2: {provider: google, client_id: c, client_secret: S, refresh_token_secret: R}}": (
        "airut.yaml:4: email.imap: give either password_secret or oauth2"
    ),
    IMAP + ", password_secret: p}": (
        "airut.yaml:4: email.imap.password_secret: must be written like an environment variable: capitals, digits and "
        "underscores"
    ),
    IMAP + ", password_secret: P, security: plain}": (
        "airut.yaml:4: email.imap: security: plain is accepted for a loopback host only; use tls or starttls"
    ),
    IMAP + ", password_secret: P, after: keep}": "airut.yaml:4: email.imap.after: must be 'delete' or 'move'",
    IMAP + ", password_secret: P, refused_folder: inbox}": (
        "airut.yaml:4: email.imap: folder, done_folder and refused_folder must be three different folders"
    ),
    IMAP + ', password_secret: P, folder: "a\\nb"}': (
        "airut.yaml:4: email.imap.folder: must be one line of at most 300 characters"
    ),
    IMAP + ", oauth2: {provider: microsoft, client_id: c, refresh_token_secret: R}}": (
        "airut.yaml:4: email.imap.oauth2: tenant belongs to provider: microsoft, and has to be given there"
    ),
    IMAP + ", oauth2: {provider: microsoft, tenant: a/b, client_id: c, refresh_token_secret: R}}": (
        "airut.yaml:4: email.imap.oauth2.tenant: must be the id or a domain of the directory"
    ),
    IMAP + ", oauth2: {provider: microsoft, tenant: t, client_id: c}}": (
        "airut.yaml:4: email.imap.oauth2: refresh_token_secret is missing; only provider: microsoft with a "
        "client_secret can do without"
    ),
    IMAP + ", oauth2: {provider: google, client_id: c, refresh_token_secret: R}}": (
        "airut.yaml:4: email.imap.oauth2: provider: google needs a client_secret"
    ),
    IMAP
    + ", oauth2: {provider: google, client_id: c, client_secret: S, refresh_token_secret: R, token_url: 'http://x.example/'}}": (
        "airut.yaml:4: email.imap.oauth2: token_url: must be https, or http on a loopback host"
    ),
    "email:\n  hostname: m\n  relay: {host: mail.example.org, security: plain}": (
        "airut.yaml:3: email.relay: security: plain is accepted for a loopback host only; use starttls or tls"
    ),
    "email:\n  hostname: m\n  require_tls: true\n" + RELAY: (
        "airut.yaml:1: email: require_tls needs tls: a certificate and its key"
    ),
    "email:\n  hostname: m\n  relay: {host: m, security: none}": (
        "airut.yaml:3: email.relay.security: must be 'starttls', 'tls' or 'plain'"
    ),
    REPO.replace("{url:", "{push_credential: TOKEN, url:"): (
        "airut.yaml:2: repos.demo: git.push_credential names TOKEN, which is not in credentials"
    ),
    "egress: {metrics_listen: 9464}": "airut.yaml:1: egress.metrics_listen: must be text; write it in quotes",
    "egress: {traces_endpoint: 'collector:4318'}": (
        "airut.yaml:1: egress.traces_endpoint: must be a URL with a path, such as "
        "https://collector.example.org/v1/traces"
    ),
    "egress: {traces_endpoint: 'http://collector.example.org/v1/traces'}": (
        "airut.yaml:1: egress: traces_endpoint: http is accepted for a loopback host only; use https"
    ),
    "egress: {resolver: 'dns.example.org:53'}": (
        "airut.yaml:1: egress.resolver: must be an address with a port, such as 192.0.2.53:53 or [2001:db8::53]:53, "
        "and no name"
    ),
    REPO + "    agent: {version: ../2.1.330}": VERSION_WANTED,
    REPO + "    agent: {version: /usr/bin/claude}": VERSION_WANTED,
    REPO + "    agent: {version: '..'}": VERSION_WANTED,
    REPO + "    agent: {version: ''}": VERSION_WANTED,
    REPO + "    credentials:\n      TOKEN: {scopes: [a.example, 'https://b.example']}": SCOPE_WANTED.format(
        1
    ),
    REPO + "    credentials:\n      TOKEN: {scopes: [b.example/path]}": SCOPE_WANTED.format(0),
    REPO + "    credentials:\n      TOKEN: {scopes: ['b.example:443']}": SCOPE_WANTED.format(0),
    REPO + "    credentials:\n      TOKEN: {scopes: [a.example b.example]}": SCOPE_WANTED.format(0),
    REPO + "    credentials:\n      TOKEN: {type: aws-sigv4, scopes: ['s3://bucket']}": SCOPE_WANTED.format(
        0
    ),
    # YAML itself
    "max_concurrent: 1\nmax_concurrent: 2": "airut.yaml:2: max_concurrent: stands here twice",
    "dashboard: {listen: a:1, listen: a:2}": "airut.yaml:1: dashboard.listen: stands here twice",
    "dashboard:\n\tlisten: 1": (
        "airut.yaml:2: is not valid YAML: lines are indented with spaces, not with tabs"
    ),
    "- 1": "airut.yaml:1: must hold `key: value` lines at its top level",
    "just words": "airut.yaml:1: must hold `key: value` lines at its top level",
    "x: &a [*a]": "airut.yaml:1: x: too large or too deeply nested",
    "a: &a {x: 1}\nb:\n  <<: *a": "airut.yaml:3: b: keys must be plain words",
    "? [a, b]\n: 1": "airut.yaml:1: keys must be plain words",
    "[" * 200_000: "airut.yaml: is nested too deeply",
    "\n".join(" " * n + "a:" for n in range(500)): "airut.yaml: is nested too deeply",
    "a: b: c": "airut.yaml:1: is not valid YAML: mapping values are not allowed here",
    "a: &x 1\nb: &x 2": (
        "airut.yaml:2: is not valid YAML: the anchor &x stands in line 1 already; give this one another name"
    ),
    "a: [&x 1,\n  {b: &x 2}]": (
        "airut.yaml:2: is not valid YAML: the anchor &x stands in line 1 already; give this one another name"
    ),
    "%YAML 1.3\n---\na: 1": (
        "airut.yaml: is not valid YAML: version minor part can only be 2 or 1, got (1, 3)"
    ),
    "a: 1\n---\nb: 2": "airut.yaml:2: is not valid YAML: but found another document",
}


@pytest.mark.parametrize("text", ONE_PROBLEM, ids=lambda text: repr(text[-40:]))
def test_rows_57_and_81_a_problem_names_file_line_field_and_form(text: str) -> None:
    assert problems(text) == [ONE_PROBLEM[text]]


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    found = problems("dashboard: {listen: 3}\nmax_concurrent: x\nmax_concurent: 1\nemail:\n")
    assert [line.split(": ")[0] for line in found] == [f"airut.yaml:{n}" for n in (1, 2, 3, 4)]


def test_a_bomb_of_aliases_ends_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    [problem] = problems("\n".join(lines))
    assert problem.endswith("too large or too deeply nested")


@pytest.mark.parametrize("number", ["._", "-._", "._1e", "9" * 5000, "0x_", "1:" * 3000 + "1"])
def test_what_looks_like_a_number_and_is_none(number: str) -> None:
    found = problems(f"count: {number}")
    assert len(found) == 1
    assert found[0].startswith("airut.yaml:1")


def test_a_huge_file_is_not_read() -> None:
    assert problems("#" * (256 * 1024 + 1)) == ["airut.yaml: is larger than 256 KiB"]


def test_every_pattern_of_the_models_has_words() -> None:
    kinds = (
        *(models.SecretName, models.Endpoint, addresses.MailAddress, addresses.SenderPattern, models.RepoId),
        *(addresses.SenderEntry, addresses.GroupName),
        *(models.HostPatternText, models.DomainName, models.BuildArgument),
        *(
            credentials.Scope,
            credentials.GithubName,
            credentials.PermissionName,
            credentials.ClientId,
            credentials.HttpsUrl,
        ),
        *(models.WebAddress, models.PublicUrl, models.HostName, models.NatsServers, models.VariableName),
        models.AgentVersion,
        *(imap.Line, imap.TenantName),
    )
    constraints = [
        each for kind in kinds for each in kind.__metadata__ if isinstance(each, StringConstraints)
    ]
    assert {each.pattern for each in constraints} == set(PATTERN_WORDS)


def _warning_classes() -> list[type[Warning]]:
    found = [
        value
        for module in (ruamel.yaml.error, ruamel.yaml.constructor)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Warning)
    ]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("kind", _warning_classes())
@pytest.mark.parametrize("where", ["compose", "construct_object"])
def test_whatever_the_parser_warns_of_is_an_error(kind: type[Warning], where: str, monkeypatch) -> None:
    owner = {"compose": ruamel.yaml.YAML, "construct_object": ruamel.yaml.constructor.BaseConstructor}[where]
    real = getattr(owner, where)

    def warns(self, *args, **options):
        # As the parser does it; one of them makes its own text.
        node = SimpleNamespace(start_mark=SimpleNamespace(line=0, column=0))
        warnings.warn(kind(node, "1") if "Mantissa" in kind.__name__ else kind("beware"), stacklevel=1)
        return real(self, *args, **options)

    monkeypatch.setattr(owner, where, warns)
    with warnings.catch_warnings(action="ignore"):
        assert problems("max_concurrent: 3")[0].startswith("airut.yaml")


def test_an_anchor_may_be_used_often() -> None:
    assert load(
        "dashboard: &d {listen: 'localhost:1'}\nemail: {hostname: m, relay: {host: &h x, username: *h, password_secret: A}}"
    )


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=st.sampled_from(list("ab: -[]{}&*!|>'\"\n\t#?,%@`0\x00\ufeff\ud800é")), max_size=60))
def test_whatever_the_text_it_loads_or_is_refused_in_words(text: str) -> None:
    try:
        said = [load(text).model_dump_json()]
    except ConfigError as error:
        said = str(error).splitlines()
    assert said
    assert all(line.startswith(("airut.yaml", "{")) for line in said)

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from airut.check import file_findings, network_findings, state_findings
from airut.errors import InstallationBusy, UsageError
from airut.installation import open_installation, read_config
from airut_common.config.models import TlsFiles
from airut_common.config.yamlfile import ConfigError

GOOD = "state_dir: state\n"
REPO = """\
repos:
  demo:
    address: demo@airut.example
    senders: [ada@lovelace.example]
    git: {url: "https://git.example/demo.git"}
"""


def test_a_new_installation_gets_an_id_that_stays_and_a_private_folder(tmp_path) -> None:
    file = tmp_path / "airut.yaml"
    file.write_text(GOOD)
    first = open_installation(file)
    assert first.state == tmp_path / "state"
    assert stat.S_IMODE(first.state.stat().st_mode) == 0o700
    assert open_installation(file).id == first.id
    assert len(first.id) == 12


def test_relative_paths_are_relative_to_the_file(tmp_path) -> None:
    file = tmp_path / "airut.yaml"
    file.write_text(
        "email:\n  hostname: x\n  tls: {certificate: mail.crt, key: /etc/mail.key}\n  relay: {host: r, ca_file: ca.pem}\n"
        "repos:\n  demo:\n    address: a@b.example\n    senders: [x@y.example]\n    git: {url: https://g/x, ca_file: git.pem}\n"
    )
    config = read_config(file)
    assert config.email is not None
    assert config.email.tls == TlsFiles(certificate=tmp_path / "mail.crt", key=Path("/etc/mail.key"))
    assert config.email.relay.ca_file == tmp_path / "ca.pem"
    assert config.repos["demo"].git.ca_file == tmp_path / "git.pem"
    assert config.egress.ca_file is None


def test_only_one_up_runs_in_a_state_folder(tmp_path) -> None:
    file = tmp_path / "airut.yaml"
    file.write_text(GOOD)
    installation = open_installation(file)
    with installation.lock(), pytest.raises(InstallationBusy, match="stop it first"), installation.lock():
        pass
    with installation.lock():
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dashbord: {}", "airut.yaml:1: dashbord: unknown key; did you mean `dashboard`?"),
        ("max_concurrent: '4'", "airut.yaml:1: max_concurrent: must be a whole number"),
        ("dashboard:\n  listen: nowhere", "airut.yaml:2: dashboard.listen:"),
        ("repos:\n  Bad_Id:\n    address: a@b.c", "airut.yaml:2: repos.Bad_Id"),
        ("a: [1", "is not valid YAML"),
        ("- a", "airut.yaml:1: must hold"),
        *(
            (REPO + f"    image: {{build_args: {{{name}: x}}}}\n", f"airut.yaml:6: repos.demo.image{field}")
            for name, field in (
                ("AIRUT_BASE", ": build_args: AIRUT_BASE is Airut's own"),
                ("AIRUT_REPO_IMAGE", ": build_args: AIRUT_REPO_IMAGE is Airut's own"),
                ("a=b", ".build_args.a=b"),
                ("--network", ".build_args.--network"),
            )
        ),
        (REPO + "    image: {build_args: {A: 1}}\n", "airut.yaml:6: repos.demo.image.build_args.A:"),
        ("sandbox: {build_network: private}", "airut.yaml:1: sandbox.build_network:"),
        ("sandbox: {build_allowlist: [x]}", "airut.yaml:1: sandbox.build_allowlist:"),
        (
            "sandbox:\n  build_allowlist: |\n    domains: '*.org'",
            "airut.yaml: sandbox.build_allowlist:1: domains:",
        ),
        *(
            (REPO.replace("https://git.example/demo.git", url), "airut.yaml:5: repos.demo.git.url: " + said)
            for url, said in (
                ("git@git.example:demo.git", "must be an https URL"),
                ("/srv/demo.git", "must be an https URL"),
                ("", "must be an https URL"),
                ("https://ada:x@git.example/demo.git", "credentials do not belong in the URL"),
            )
        ),
        (REPO + "    environment: {A=B: x}\n", "airut.yaml:6: repos.demo.environment.A=B: as a name must be"),
        (
            REPO + "    environment: {TOKEN: x}\n    credentials: {TOKEN: {scopes: [git.example]}}\n",
            "environment and credentials both set TOKEN; take it out of environment",
        ),
        ("dashboard: {listen: '127.0.0.1:70000'}", "airut.yaml:1: dashboard.listen: has a port beyond 65535"),
        ("dashboard: {listen: '0.0.0.0:8484'}", "airut.yaml:1: dashboard.listen: must be a loopback address"),
        ("dashboard: {public_url: airut}", "airut.yaml:1: dashboard.public_url: must be a URL"),
        ("nats_url: http://bus.example", "airut.yaml:1: nats_url: must be nats://HOST:PORT"),
        ("nats_url: ''", "airut.yaml:1: nats_url: must be nats://HOST:PORT"),
        ("email:\n  hostname: 'a b'", "airut.yaml:2: email.hostname: must be the name of a host"),
        ("repos:\n\tdemo: {}", "airut.yaml:2: is not valid YAML: lines are indented with spaces"),
        (REPO + "    address: b@airut.example\n", "airut.yaml:6: repos.demo.address: stands here twice"),
        (
            "email:\n  hostname: x\n  relay: {host: mail.example, security: plain}",
            "plain is accepted for a loopback host only",
        ),
    ],
)
def test_a_broken_file_names_line_field_and_the_way_out(tmp_path, text, expected) -> None:
    file = tmp_path / "airut.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert expected in str(caught.value)


@pytest.mark.parametrize("begin", ["\ufeff", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_of_windows_is_read_as_any_other(tmp_path, begin, end) -> None:
    file = tmp_path / "airut.yaml"
    file.write_bytes((begin + REPO.replace("\n", end)).encode())
    assert read_config(file).repos["demo"].address == ("demo@airut.example",)


@pytest.mark.parametrize("content", [b"state_dir: \xe9", "state_dir: x".encode("utf-16"), None])
def test_what_is_no_text_is_said_to_be_unreadable(tmp_path, content) -> None:
    file = tmp_path / "airut.yaml"
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(UsageError, match=r"airut\.yaml: cannot be read"):
        read_config(file)


@pytest.mark.parametrize("folder", ["/proc/airut", "/sys/kernel", "airut.yaml"])
def test_a_state_folder_that_cannot_be_written_to_is_named(tmp_path, folder) -> None:
    file = tmp_path / "airut.yaml"
    file.write_text(f"state_dir: {folder}\n")
    with pytest.raises(UsageError, match=rf"state_dir: .*{folder} cannot be used \(.+\); name a folder"):
        open_installation(file)
    assert [found.name for found in state_findings(read_config(file))] == ["state_dir"]


def test_files_are_looked_for_beside_airut_yaml_and_told_when_they_are_no_good(tmp_path) -> None:
    file = tmp_path / "airut.yaml"
    git = '{url: "https://git.example/demo.git"'
    file.write_text(
        "egress: {ca_file: none.pem}\n"
        + REPO.replace(git, f"{git}, ca_file: text.pem")
        # The last is good.
        + "  other:\n    address: other@airut.example\n    senders: [ada@lovelace.example]\n"
        + f"    git: {git}, ca_file: good.pem}}\n"
    )
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "good.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    config = read_config(file)
    assert config.repos["other"].git.ca_file == tmp_path / "good.pem"
    assert [(found.name, found.detail) for found in file_findings(config)] == [
        ("egress.ca_file", f"{tmp_path}/none.pem cannot be read: No such file or directory"),
        ("repos.demo.git.ca_file", f"{tmp_path}/text.pem holds nothing in PEM"),
    ]


def test_a_configuration_without_repositories_is_warned_of(tmp_path) -> None:
    file = tmp_path / "airut.yaml"
    file.write_text("")
    assert [found.name for found in network_findings(read_config(file))] == ["repos"]


@pytest.mark.parametrize("command", ["up", "apply"])
def test_a_bus_that_is_not_there_is_a_sentence(tmp_path, command) -> None:
    (tmp_path / "airut.yaml").write_text("nats_url: nats://nowhere.invalid:4222\n")
    done = subprocess.run(
        [sys.executable, "-m", "airut", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "the bus at nats://nowhere.invalid:4222 does not answer" in done.stderr


def test_a_missing_file_says_where_to_begin(tmp_path) -> None:
    with pytest.raises(UsageError, match="begin with docs/"):
        read_config(tmp_path / "none.yaml")


def test_a_damaged_id_is_not_replaced_in_silence(tmp_path) -> None:
    file = tmp_path / "airut.yaml"
    file.write_text(GOOD)
    installation = open_installation(file)
    (installation.state / "installation.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        open_installation(file)


def test_the_example_in_the_docs_is_valid() -> None:
    example = Path(__file__).parents[3] / "docs" / "airut.example.yaml"
    assert list(read_config(example).repos) == ["website"]

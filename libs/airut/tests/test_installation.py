import stat
from pathlib import Path

import pytest

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

"""What every image gets on top: our CA, in the system's store too, and git's configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_HOST = re.compile(r"https://[a-z0-9.-]+(:[0-9]+)?")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")

CA_PATH = "/etc/airut/ca.pem"
CA_VARIABLES = (
    "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
)  # fmt: skip
"""Where programs look for a file with certificates."""
GIT_CONFIG_PATH = "/etc/airut/gitconfig"

_CONTAINERFILE = b"""\
ARG AIRUT_REPO_IMAGE
FROM ${AIRUT_REPO_IMAGE}
# By number: an image may have no user names.
USER 0:0
COPY ca.pem gitconfig /etc/airut/
COPY trust.sh /etc/airut/trust.sh
RUN ["/bin/sh", "/etc/airut/trust.sh"]
"""

#: The folders and programs of Debian and Alpine, Fedora, Arch and SUSE; last, images with nothing but a bundle.
_TRUST = b"""\
set -eu
chmod 0755 /etc/airut
chmod 0644 /etc/airut/ca.pem /etc/airut/gitconfig
if command -v update-ca-certificates >/dev/null 2>&1; then
    folder=/usr/local/share/ca-certificates
    if [ -d /etc/pki/trust/anchors ]; then folder=/etc/pki/trust/anchors; fi
    mkdir -p "$folder"
    cp /etc/airut/ca.pem "$folder/airut.crt"
    update-ca-certificates >/dev/null 2>&1
elif command -v update-ca-trust >/dev/null 2>&1; then
    if [ -d /etc/ca-certificates/trust-source ]; then
        folder=/etc/ca-certificates/trust-source/anchors
    else
        folder=/etc/pki/ca-trust/source/anchors
    fi
    mkdir -p "$folder"
    cp /etc/airut/ca.pem "$folder/airut.crt"
    update-ca-trust extract
else
    for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [ -f "$bundle" ]; then
            printf '\\n' >> "$bundle"
            cat /etc/airut/ca.pem >> "$bundle"
        fi
    done
    if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
        mkdir -p /etc/ssl/certs
        cp /etc/airut/ca.pem /etc/ssl/certs/ca-certificates.crt
    fi
fi
printf '[include]\\n\\tpath = /etc/airut/gitconfig\\n' >> /etc/gitconfig
"""

OVERLAY_FILES = ("Containerfile", "ca.pem", "gitconfig", "trust.sh")


@dataclass(frozen=True)
class Overlay:
    """The CA to trust (PEM) and the text of `/etc/airut/gitconfig`. Both are public."""

    ca_pem: bytes
    git_config: str


def overlay_files(overlay: Overlay) -> dict[str, bytes]:
    """The build context of the overlay, by file name."""
    contents = (_CONTAINERFILE, overlay.ca_pem, overlay.git_config.encode(), _TRUST)
    return dict(zip(OVERLAY_FILES, contents, strict=True))


def git_config(
    *, credential_variables: Mapping[str, tuple[str, str]], user_name: str, user_email: str
) -> str:
    """Text for `Overlay.git_config`.

    `credential_variables` maps `https://host` to (user name, environment variable that holds the surrogate): the
    surrogate itself is read when git asks, so it is in no image.

    Raises:
        ValueError: a host, variable or value that could break out of its place.
    """
    lines = [
        "[user]",
        f"\tname = {_quoted(user_name)}",
        f"\temail = {_quoted(user_email)}",
        "[safe]",
        # The workspace belongs to another user id wherever the container's root is not the host's.
        "\tdirectory = *",
        "[http]",
        f"\tsslCAInfo = {CA_PATH}",
    ]
    for host, (username, variable) in credential_variables.items():
        if not _HOST.fullmatch(host) or not _VARIABLE.fullmatch(variable):
            raise ValueError(f"not a host and variable for git's credentials: {host!r}, {variable!r}")
        helper = f'!f() {{ test \\"$1\\" = get && printf \'password=%s\\\\n\' \\"${variable}\\"; }}; f'
        lines += [f'[credential "{host}"]', f"\tusername = {_quoted(username)}", f'\thelper = "{helper}"']
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    if not value.isprintable():
        raise ValueError("a git configuration value must be printable")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

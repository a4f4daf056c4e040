"""Field-notes rows 7, 45, 46: what a Dockerfile may not ask of the host."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_sandbox.dockerfile import DockerfileRefused, check_dockerfile

HONEST = """\
# syntax=docker/dockerfile:1
ARG AIRUT_BASE=docker.io/library/debian:bookworm-slim
ARG TAG="3.13"
FROM --platform=linux/amd64 python:${TAG} AS build
ARG LATER=oci:/not/used/in/from
RUN --mount=type=tmpfs,target=/tmp apt-get update \\
    # a comment in between
    && apt-get install -y git \\

    && unshare --mount true && echo "--mount=type=bind"
FROM ${AIRUT_BASE}
COPY --from=build --chown=1:1 /a /b
COPY --from=docker:24 /c /d
ADD archive.tar.gz $HOME/
RUN echo `date` && echo "see https://example.com" \\
    && printf 'FROM nowhere'
FROM build AS last
FROM scratch
"""


def test_an_honest_file() -> None:
    bases = check_dockerfile(HONEST, {"AIRUT_BASE": "localhost/airut-base:1"})
    assert bases == ("localhost/airut-base:1", "python:3.13")


@pytest.mark.parametrize(
    "text",
    [
        "RUN --mount=type=bind,from=evil,source=/z,target=/mnt cat /mnt/etc/shadow",
        "RUN --mount=from=evil,target=/mnt ls",
        "run\t--mount=type=tmpfs,target=/y --mount=type=cache,target=/x ls",
        "RUN --mou\\\nnt=type=bind,target=/x ls",
        "RUN \\\n# comment\n\n  --mount=type=bind,target=/x ls",
        "RUN --mo\\\n   unt=type=cache,target=/x ls",
        'RUN --mo"un"t=type=bind,target=/x ls',
        "RUN --mo\\unt=type=bind,target=/x ls",
        "RUN --MOUNT=type=bind,target=/x ls",
        "RUN --mount=type=tmpfs,type=bind,target=/x ls",
        "RUN --mount=type=$KIND,target=/x ls",
        "# escape=`\nRUN --mo`\nunt=type=bind,target=/x ls",
        "RUN echo `\nRUN --mount=type=bind,target=/x ls",
        "# hidden \\\nRUN --mount=type=bind,target=/x ls",
        "RUN --network=host ls",
        "RUN --security=insecure ls",
        "COPY --mount=type=bind /a /b",
        "ONBUILD RUN ls",
        "RUN <<EOF\nRUN --mount=type=bind,target=/x ls\nEOF",
    ],
)
def test_row_45_mounts_and_triggers_are_refused(text: str) -> None:
    with pytest.raises(DockerfileRefused):
        check_dockerfile(f"FROM a\n{text}\n", {})
    if not text.startswith("# escape"):
        with pytest.raises(DockerfileRefused):
            check_dockerfile(f"FROM a\r\n{text.replace('\n', '\r\n')}\r\n", {})


@pytest.mark.parametrize(
    "text",
    [
        "ADD http://169.254.169.254/latest /x",
        "ADD --chown=1 https://example.com/x /x",
        'ADD ["http://127.0.0.1/", "/x"]',
        "add $WHERE /x",
        "ADD ht\\tp:\\//x /x",
        'ADD "http:"//x /x',
        'ADD ["http:\\u002f\\u002f127.0.0.1/", "/x"]',
        "ADD a http\\\n://x /x",
        "ADD git@example.com:a/b /x",
        "ADD github.com/a/b /x",
    ],
)
def test_row_7_nothing_is_fetched_in_the_hosts_network(text: str) -> None:
    with pytest.raises(DockerfileRefused, match="host's network"):
        check_dockerfile(f"FROM a\n{text}\n", {})


@pytest.mark.parametrize(
    "text",
    [
        "FROM oci:/srv/x",
        "FROM dir:/etc",
        "FROM docker-archive:/srv/x.tar",
        "FROM docker-daemon:x:latest",
        "FROM OCI:x",
        "ARG A=oci\nARG B=:/srv/x\nFROM ${A}${B}",
        "FROM ${MISSING}",
        "FROM ${A:-oci}:/x",
        "ARG TARGETARCH\nFROM base-${TARGETARCH}",
        "ARG TARGETARCH=x\nFROM base-$TARGETARCH",
        "ARG EMPTY\nFROM base$EMPTY",
        "FROM $(id)",
        "FROM a://b",
        "FROM a\nCOPY --from=oci:/srv/x /a /b",
        "FROM a\nCOPY --from=$PLACE /a /b",
        "FROM a\nFROM \\\n oci:/x",
        "FROM --platform=linux/amd64",
    ],
)
def test_row_42_images_come_from_registries(text: str) -> None:
    with pytest.raises(DockerfileRefused):
        check_dockerfile(f"{text}\n", {})


def test_only_a_plain_stage_is_taken_for_one() -> None:
    """`AS` with capitals is a stage to one version of the builder and an image to another: it is looked at."""
    assert check_dockerfile("FROM a AS Evil\nFROM Evil\nFROM b AS ok\nFROM ok\n", {}) == ("Evil", "a", "b")


@given(st.text(alphabet="RUNFOMADrun-mtoype=bindcache,/x \\`\"'\n#$:<E", max_size=200))
def test_any_text_has_an_answer(text: str) -> None:
    with contextlib.suppress(DockerfileRefused):
        assert all(base for base in check_dockerfile(text, {}))

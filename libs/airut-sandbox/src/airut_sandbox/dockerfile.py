"""What a Dockerfile may not ask for, because `podman build` would do it with the host's own rights.

Tried with Podman 4.3: `RUN --mount=type=bind,from=…` shows the host's root, writable, when its source is a link
(CVE-2024-1753); cache mounts are shared by everything that is built on a host (field-notes row 45); `ADD` of a URL is
fetched in the host's network, `--network=none` or not (row 7); `FROM oci:/path` reads the host's files.

Reading a file as another program does is never exact. So the file is read in every way in which it could be joined,
and what looks forbidden in any of them is refused.
"""

import re
from collections.abc import Iterator, Mapping

from airut_sandbox.errors import SandboxError

_SPACE = r"[^\S\n]"
_FLAGS = re.compile(
    rf"^\s*(?P<word>RUN|COPY|ADD|FROM)(?P<flags>(?:{_SPACE}+--\S+)+)", re.IGNORECASE | re.MULTILINE
)
_ADD = re.compile(rf"^\s*ADD{_SPACE}+(?P<rest>[^\n]*)", re.IGNORECASE | re.MULTILINE)
_ONBUILD = re.compile(r"^\s*ONBUILD\b", re.IGNORECASE | re.MULTILINE)
_INSTRUCTION = re.compile(rf"^\s*(?P<word>FROM|ARG){_SPACE}+(?P<rest>[^\n]*)", re.IGNORECASE | re.MULTILINE)
_COMMENT = re.compile(rf"^{_SPACE}*#[^\n]*\n?", re.MULTILINE)
_EMPTY = re.compile(rf"^{_SPACE}*\n", re.MULTILINE)
_VARIABLE = re.compile(r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::-(?P<default>[^}$]*))?\})")

#: Every other flag is refused: a later Podman may know one that reaches further, as `RUN --network=host` would.
_FLAGS_OF = {
    "RUN": frozenset({"mount"}),
    "COPY": frozenset({"chmod", "chown", "exclude", "from", "link", "parents"}),
    "ADD": frozenset({"checksum", "chmod", "chown", "exclude", "link"}),
    "FROM": frozenset({"platform"}),
}
_HARMLESS_MOUNTS = frozenset({"tmpfs", "secret", "ssh"})
#: Filled in by the builder itself, whatever the file says: https://docs.docker.com/reference/dockerfile/ (ARG).
_BUILDERS_OWN = frozenset(
    f"{side}{fact}" for side in ("TARGET", "BUILD") for fact in ("PLATFORM", "OS", "ARCH", "VARIANT")
)
#: As a stage only such a name is the same to every version of the builder.
_STAGE = re.compile(r"[a-z][a-z0-9_.-]*")
#: https://github.com/containers/image: names before a colon that are places, not parts of a registry's name.
_TRANSPORTS = (
    *("containers-storage", "dir", "docker-archive", "docker-daemon", "oci", "oci-archive", "ostree", "sif"),
    "tarball",
)
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}")


class DockerfileRefused(SandboxError):
    """The Dockerfile asks for something that a build may not have; `str()` says what, and what to do instead."""


def check_dockerfile(text: str, arguments: Mapping[str, str]) -> tuple[str, ...]:
    """The images that the file builds on, without its own stages; `arguments` are the build arguments.

    Raises:
        DockerfileRefused: it asks for a forbidden thing, or builds on something that cannot be told in advance.
    """
    bases: dict[str, None] = {}
    for reading in set(_readings(text.removeprefix("\ufeff").replace("\r\n", "\n"))):
        _refuse_flags(reading)
        _refuse_remote_sources(reading)
        if _ONBUILD.search(reading):
            raise DockerfileRefused("ONBUILD is not supported: write the instruction where it is needed")
        bases |= dict.fromkeys(_bases(reading, arguments))
    return tuple(sorted(bases))


def _readings(text: str) -> Iterator[str]:
    """The text with its lines joined: for either escape character, with and without indentation, comments and
    empty lines in between."""
    without_comments = _EMPTY.sub("", _COMMENT.sub("", text))
    # Only a directive makes the backtick join lines; otherwise it is a shell's.
    escapes = r"\`" if re.search(r"#\s*escape\s*=", text, re.IGNORECASE) else "\\"
    for variant in (text, without_comments):
        for escape in escapes:
            for indentation in ("", _SPACE + "*"):
                yield re.sub(rf"{re.escape(escape)}{_SPACE}*\n{indentation}", "", variant)


def _refuse_flags(text: str) -> None:
    for match in _FLAGS.finditer(text):
        word = match["word"].upper()
        for flag in match["flags"].split():
            name, _, value = flag.removeprefix("--").partition("=")
            if re.search(r"[\\\"'`]", flag) or ("$" in name):
                raise DockerfileRefused(
                    f"{word} {flag[:80]}: quotes and variables in a flag's name are not supported"
                )
            if name.lower() not in _FLAGS_OF[word]:
                raise DockerfileRefused(f"{word} {flag[:80]}: the flag --{name[:40]} is not supported")
            if name.lower() == "mount":
                _refuse_mount(flag, value)
            if name.lower() == "from":
                _refuse_place(value)


def _refuse_mount(flag: str, value: str) -> None:
    kinds = [part.partition("=")[2] for part in value.split(",") if part.partition("=")[0].lower() == "type"]
    if len(kinds) != 1 or kinds[0].lower() not in _HARMLESS_MOUNTS:
        raise DockerfileRefused(
            f"RUN {flag[:80]}: bind and cache mounts are not supported; use COPY, or nothing"
        )


def _refuse_remote_sources(text: str) -> None:
    for match in _ADD.finditer(text):
        words = re.sub(r"[\"'`\[\],]", " ", match["rest"]).split()
        sources = " ".join(words[:-1] or words)
        joined = re.sub(r"[\"'`]", "", match["rest"])
        # A backslash may stand for any character at all: "\u002f" in the form of a list.
        hidden = "\\" in joined or "$" in sources
        if hidden or "://" in joined or "git@" in joined or re.search(r"\bgithub\.com/", joined):
            raise DockerfileRefused(
                "ADD of a URL, of a name in a variable or with a backslash is not supported:"
                " it would be fetched in the host's network; use COPY, or RUN with a download where builds have one"
            )


def _bases(text: str, arguments: Mapping[str, str]) -> Iterator[str]:
    known: dict[str, str] = {}
    stages: set[str] = set()
    in_stage = False
    for match in _INSTRUCTION.finditer(text):
        words = [word for word in match["rest"].split() if not word.startswith("--")]
        if match["word"].upper() == "ARG":
            for word in words if not in_stage else ():
                name, _, default = word.partition("=")
                known[name] = arguments.get(name, default.strip("\"'"))
            continue
        in_stage = True
        if not words:
            raise DockerfileRefused("FROM names no image")
        base = _expand(words[0].strip("\"'"), known)
        if base not in stages and base != "scratch":
            _refuse_place(base)
            yield base
        if len(words) >= 3 and words[1].upper() == "AS" and _STAGE.fullmatch(words[2]):
            stages.add(words[2])


def _expand(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match["plain"] or match["name"]
        found = "" if name in _BUILDERS_OWN else known.get(name) or match["default"]
        return found or match[0]

    return _VARIABLE.sub(value, text)


def _refuse_place(reference: str) -> None:
    if not _REFERENCE.fullmatch(reference) or "//" in reference:
        raise DockerfileRefused(
            f"the image {reference[:80]!r} cannot be told in advance: write its name, or a variable with a default"
        )
    if reference.partition(":")[0].lower() in _TRANSPORTS and ":" in reference:
        raise DockerfileRefused(f"the image {reference[:80]!r} is a place on the host, not one in a registry")

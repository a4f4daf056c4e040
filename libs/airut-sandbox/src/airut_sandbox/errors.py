"""What can go wrong with a sandbox. A caller that cannot tell them apart catches `SandboxError`.

SandboxError
├── PodmanUnusable        this host cannot run containers at all; the text says what to do
├── SandboxRefused        the kernel gave something else than we asked for, or the image asks for too much
├── AttachFailed          the sandbox has no network
└── BaseImageUnavailable  no base image could be built or fetched
"""


class SandboxError(Exception):
    """Anything about one sandbox; the message is fit for the person who waits."""


class PodmanUnusable(SandboxError):
    """No combination of Podman and OCI runtime passed the probe on this host."""


class SandboxRefused(SandboxError):
    """The sandbox is not what was asked for, so nothing may run in it."""


class AttachFailed(SandboxError):
    """The sandbox's network could not be handed to the egress-proxy."""


class BaseImageUnavailable(SandboxError):
    """The base image could neither be built nor fetched."""

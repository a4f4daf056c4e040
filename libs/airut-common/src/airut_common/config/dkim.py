"""`email.dkim`: answers are signed."""

from typing import Annotated

from pydantic import StringConstraints

from airut_common.config.base import DomainName, SecretName, StrictModel


class DkimConfig(StrictModel):
    """The key that signs answers (RFC 6376, RFC 8463)."""

    domain: DomainName
    """What is signed for. Answers from it and from what lies below it are signed, others are not."""
    selector: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
    """The key's other half is the TXT record `SELECTOR._domainkey.DOMAIN`."""
    key_secret: SecretName
    """The secret with the private key: PEM, RSA of 2048 bits at least or Ed25519."""

"""`airut_mail_auth.testing.signing` under the name that the tests of this service use."""

from airut_mail_auth.testing.signing import Algorithm, SigningDomain, plain_mail

__all__ = ["Algorithm", "SigningDomain", "plain_mail"]

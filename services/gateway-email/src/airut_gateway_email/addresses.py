"""Mail addresses as this service knows them: those of `airut_mail_auth`, so that all parts read an address alike."""

from airut_mail_auth.addresses import Address, BadAddress, canonical_domain, parse_address, parse_from

__all__ = ["Address", "BadAddress", "canonical_domain", "parse_address", "parse_from"]

"""`airut_mail_auth.testing.zones` under the name that the tests of this service use."""

from airut_mail_auth.testing.zones import ZoneServer

__all__ = ["ZoneServer"]

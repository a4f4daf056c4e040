"""The configuration and the library's rules say the same."""

from airut_common.config.models import SenderAuthConfig
from airut_gateway_email.sender_auth.proving import rules_of
from airut_mail_auth import Rules


def test_every_setting_is_a_rule_with_the_same_default():
    assert set(SenderAuthConfig.model_fields) == {*Rules.model_fields, "resolver"}
    assert rules_of(SenderAuthConfig()) == Rules()


def test_settings_reach_the_library():
    settings = SenderAuthConfig(
        mode="trusted-header",
        upstream="microsoft-365",
        peers=("192.0.2.0/24",),
        arc_sealers=("lists.example",),
        allow_policy_none=True,
    )
    rules = rules_of(settings)
    assert (rules.mode, rules.upstream, rules.peers) == ("trusted-header", "microsoft-365", ("192.0.2.0/24",))
    assert (rules.arc_sealers, rules.allow_policy_none) == (("lists.example",), True)

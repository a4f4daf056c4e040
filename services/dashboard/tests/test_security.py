import pytest

from airut_dashboard.security import ExposedAddress, host_allowed, require_loopback


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("127.0.0.1:8484", True),
        ("localhost:1", True),
        ("[::1]:8484", True),
        ("airut.example.com", True),
        ("AIRUT.example.com:443", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.1.4:8484", False),
        ("", False),
        (None, False),
        ("localhost.evil.example", False),
    ],
)
def test_only_our_own_names_are_answered(header, allowed) -> None:
    assert host_allowed(header, "https://airut.example.com/") is allowed


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_fine(host) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_an_address_that_others_can_reach_is_refused_with_the_way_out(host) -> None:
    with pytest.raises(ExposedAddress, match="reverse proxy"):
        require_loopback(host)

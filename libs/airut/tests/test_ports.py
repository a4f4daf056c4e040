import socket

from airut.ports import is_free, remembered_port


def test_the_port_is_kept_while_it_is_free(tmp_path) -> None:
    first = remembered_port(tmp_path / "port")
    assert remembered_port(tmp_path / "port") == first


def test_a_port_that_somebody_took_is_replaced(tmp_path) -> None:
    first = remembered_port(tmp_path / "port")
    with socket.create_server(("127.0.0.1", first)):
        assert not is_free(first)
        assert remembered_port(tmp_path / "port") != first


def test_a_damaged_file_is_replaced(tmp_path) -> None:
    (tmp_path / "port").write_text("nonsense")
    assert remembered_port(tmp_path / "port") > 0

"""Which connections are Otus's own: those that it opened or accepted, told by both ends; never all that use a port it
listens on.
"""

from __future__ import annotations

import socket

import pytest

from otus_core.process.connections import find_own_connections


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_both_ends_of_what_was_opened_or_accepted(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert not [one for one in find_own_connections() if port in (one[1], one[3])]
        with socket.create_connection((address, port)) as opened:
            theirs = opened.getsockname()[1]
            accepted, _ = listener.accept()
            with accepted:
                mine = [one for one in find_own_connections() if port in (one[1], one[3])]
        assert sorted(mine) == sorted([(address, port, address, theirs), (address, theirs, address, port)])


def test_what_came_over_ipv4_to_an_ipv6_socket_is_ipv4() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as opened:
            accepted, _ = listener.accept()
            with accepted:
                assert ("127.0.0.1", port, "127.0.0.1", opened.getsockname()[1]) in find_own_connections()

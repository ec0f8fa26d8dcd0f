"""The sockets of listeners: of a process that has an address to itself, and of several that share one.

Processes that share an address listen on a socket each (SO_REUSEPORT), and the kernel spreads the connections over
them. On one socket for all, a process takes every connection that waits before another one wakes up.
"""

import socket

from payment_token.domain.operator_error import OperatorError


class ListenError(OperatorError):
    """An address is taken, or is not one of this machine."""


_BACKLOG = 2048


def listening_socket(name: str, address: str, *, shared: bool = False) -> socket.socket:
    """``shared``: with other processes, of an address that is reserved for them. Raises ListenError.

    Otherwise nobody else listens there, not even who would share.
    """
    bound = _bound(name, address, shared=shared)
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _refused(name, address, error) from None
    return bound


def reserved_address(name: str, address: str) -> tuple[str, socket.socket]:
    """The address with its true port, and what keeps it for processes that share it. Raises ListenError.

    The socket that is returned never listens: no connection waits for a process that accepts none.
    """
    # Whoever shares an address may share it with anybody of this user who does so too, another deployment even. One
    # that listens there already is found by listening without sharing.
    with listening_socket(name, address) as alone:
        port = alone.getsockname()[1]
    taken = f"{address.rpartition(':')[0]}:{port}"
    reservation = _bound(name, taken, shared=True)
    # From here on nobody may listen there who does not share, so that the next one to look finds it taken.
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return taken, reservation


def _bound(name: str, address: str, *, shared: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # An answer in two segments would otherwise wait for the acknowledgement of the first, 40 ms with many clients. Event
    # loops see to it for sockets that they made; what is accepted from this one inherits it.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, int(port)))
    except OSError as error:
        bound.close()
        raise _refused(name, address, error) from None
    bound.setblocking(False)
    return bound


def _refused(name: str, address: str, error: OSError) -> ListenError:
    return ListenError(f"{name}: cannot listen on {address}: {error.strerror}.")

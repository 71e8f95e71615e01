"""Listeners of the owner on this machine, and everything beyond it."""

from __future__ import annotations

import socket
from pathlib import Path

from attempts import FACTS, NotTried, attempt, sees_secret

LOCAL = "services of this machine"
BEYOND = "beyond this machine"
_TIMEOUT_S = 2


def ask(family: int, address: object) -> str:
    """Connect and read what the service tells everybody."""
    with socket.socket(family, socket.SOCK_STREAM) as end:
        end.settimeout(_TIMEOUT_S)
        end.connect(address)
        return sees_secret(end.recv(200))


@attempt("TCP to a service on 127.0.0.1", LOCAL)
def loopback() -> str:
    return ask(socket.AF_INET, ("127.0.0.1", FACTS["tcp"]))


@attempt("TCP to a service on ::1", LOCAL, unless="machines without IPv6")
def loopback6() -> str:
    if not FACTS["tcp6"]:
        raise NotTried("no IPv6 here")
    return ask(socket.AF_INET6, ("::1", FACTS["tcp6"]))


@attempt("UDP to a service on 127.0.0.1", LOCAL)
def udp() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.settimeout(_TIMEOUT_S)
        end.sendto(b"?", ("127.0.0.1", FACTS["udp"]))
        return sees_secret(end.recv(200))


@attempt("listen on 127.0.0.1", LOCAL)
def listen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as end:
        end.bind(("127.0.0.1", 0))
        end.listen(1)


@attempt("abstract unix socket", LOCAL)
def abstract() -> str:
    return ask(socket.AF_UNIX, "\0" + FACTS["abstract"])


@attempt("X11 by its abstract socket", LOCAL)
def x11() -> str:
    return ask(socket.AF_UNIX, "\0" + FACTS["x11"])


@attempt("unix socket of a privileged service, by path", LOCAL)
def by_path() -> str:
    return ask(socket.AF_UNIX, FACTS["agent_socket"])


@attempt("session bus (D-Bus)", LOCAL)
def session_bus() -> str:
    return ask(socket.AF_UNIX, FACTS["bus"])


@attempt("screen (Wayland) socket", LOCAL)
def wayland() -> str:
    return ask(socket.AF_UNIX, FACTS["wayland"])


@attempt("unix socket file in the output", LOCAL)
def socket_file() -> None:
    path = Path(FACTS["out"], "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.bind(str(path))
    path.unlink()


def socket_is_enough() -> bool:
    """Where only a filter stands before the real network, nothing is sent: a socket made is open."""
    if FACTS["real_network"]:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    return bool(FACTS["real_network"])


@attempt("metadata service of a cloud", BEYOND, elsewhere=True)
def metadata() -> str:
    if socket_is_enough():
        return "a socket"
    with socket.create_connection(("169.254.169.254", 80), _TIMEOUT_S):
        return "connected"


@attempt("multicast on the local network", BEYOND, elsewhere=True)
def multicast() -> str:
    if socket_is_enough():
        return "a socket"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"?", ("224.0.0.251", 5353))
    return "sent"


@attempt("broadcast on the local network", BEYOND, elsewhere=True)
def broadcast() -> str:
    if socket_is_enough():
        return "a socket"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        end.sendto(b"?", ("255.255.255.255", 9))
    return "sent"


@attempt("resolve a name", BEYOND, elsewhere=True)
def resolve() -> str:
    if socket_is_enough():
        return "a socket"
    return str(socket.getaddrinfo("example.org", 443)[0])


@attempt("TCP to the internet", BEYOND, elsewhere=True)
def internet() -> str:
    if socket_is_enough():
        return "a socket"
    with socket.create_connection(("192.0.2.1", 443), _TIMEOUT_S):
        return "connected"

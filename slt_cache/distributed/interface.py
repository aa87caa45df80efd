"""Network interface through which the processes of several machines reach each other."""

import ipaddress
import os
import socket
from contextlib import suppress

from slt_cache.distributed.work_queue import WorkQueue

CHOSEN_BY_USER = "GLOO_SOCKET_IFNAME"


def choose_interface(queue: WorkQueue) -> None:
    """Makes gloo listen on the interface that leads to the other machines, unless the user has named one; called by all
    processes.

    By default it listens on the address of the host name. That may be 127.0.1.1, as Debian writes it to /etc/hosts, or
    an address in another network."""
    own = _address_towards(os.environ["MASTER_ADDR"])
    queue.publish(f"address/{queue.rank}", own)
    addresses = [queue.await_published(f"address/{rank}") for rank in range(queue.size)]
    if len({*addresses}) == 1 or CHOSEN_BY_USER in os.environ:
        return  # one machine
    if _is_loopback(own):  # the main process's, which knows itself by a name for this machine
        own = next((_address_towards(one) for one in addresses if not _is_loopback(one)), own)
    if (name := _interface_of(own)) is not None:
        os.environ[CHOSEN_BY_USER] = name


def _address_towards(host: str) -> str:
    """Returns the address from which this machine would contact a host; its loopback address if it cannot."""
    with suppress(OSError):
        family, kind, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # sends nothing
            return str(probe.getsockname()[0]).partition("%")[0]
    return "127.0.0.1"


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _interface_of(address: str) -> str | None:
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if address in (one.address.partition("%")[0] for one in addresses):
            return name
    return None

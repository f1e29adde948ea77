"""Whether there is network, so that downloads fail in seconds and not in minutes."""

import os
import socket
import sys
from urllib.parse import urlsplit
from urllib.request import getproxies

PATIENCE = 3.0  # seconds
HUB = ("huggingface.co", 443)


def reachable(address: tuple[str, int]) -> bool:
    """Whether a connection, to the proxy if there is one, is made within seconds.

    Args:
        address: host and port.
    """
    try:
        proxy = urlsplit(getproxies().get("https", ""))
        target = (proxy.hostname, proxy.port or 80) if proxy.hostname else address
        socket.create_connection(target, timeout=PATIENCE).close()
    except (OSError, ValueError):
        return False
    return True


def hub_offline_if_unreachable() -> None:
    """Without network, let the hub's client use its cache only. To be called before its import."""
    if "huggingface_hub" not in sys.modules and "HF_HUB_OFFLINE" not in os.environ:
        os.environ["HF_HUB_OFFLINE"] = "0" if reachable(HUB) else "1"

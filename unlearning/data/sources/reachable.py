"""Whether a server answers, found out within seconds."""

from __future__ import annotations

import queue
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable

_PATIENCE_S = 6.0
_MOST_SERVERS = 4
_PORTS = {"http": 80, "https": 443, "ftp": 21}


def any_reachable(urls: Iterable[str]) -> bool:
    """Whether a server of some addresses, or the proxy through which they are asked, takes a connection.

    Args:
        urls: The addresses; without any, there is nothing to find out.

    Returns:
        False where all are known to fail, or none answers within seconds.
    """
    servers = list(dict.fromkeys(filter(None, map(_server, urls))))[:_MOST_SERVERS]
    if not servers:
        return True
    answers: queue.Queue[bool] = queue.Queue()
    for server in servers:
        # Daemons, since looking up a name has no time limit.
        threading.Thread(target=lambda server=server: answers.put(_answers(*server)), daemon=True).start()
    until = time.monotonic() + _PATIENCE_S
    for _ in servers:
        try:
            if answers.get(timeout=max(0.0, until - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def _server(url: str) -> tuple[str, int] | None:
    """Host and port that are connected to for an address."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    if not urllib.request.proxy_bypass(parts.hostname):
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy:
            parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    host = parts.hostname
    return None if host is None else (host, parts.port or _PORTS.get(parts.scheme, 1080))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_PATIENCE_S).close()
    except (OSError, UnicodeError):
        return False
    return True

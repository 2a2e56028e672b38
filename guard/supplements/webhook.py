"""The notice over HTTP: one POST for each notice, of the form that the service at the other end wants.

Nothing of the address but its host is ever said: what stands behind it is mostly the secret.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guard.supplements.notice import Notices, NotSent, host
from guard.supplements.payload import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.supplements.outbox import Notice

SECONDS = 10.0
"""How long the server may be silent."""
IN_ALL = 20.0
"""Seconds that one try may take: a server that sends a byte now and then is never silent."""
ANSWER_LIMIT = 64 * 1024
"""Bytes that are read of an answer; nobody looks at them."""
_TEMPORARY = {408, 425, 429}


class Webhook(Notices):
    """Options: `url`, `format` (json, slack, teams, ntfy, gotify), `token`, `bans` (no: alarms only)."""

    what = "webhook"

    def __init__(self, options: Mapping[str, str]) -> None:
        url = urlsplit(options["url"])
        self._tls = url.scheme == "https"
        self._host, self._port = url.hostname or "", url.port
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._write = FORMATS[options.get("format", "json")]
        self._token = options.get("token", "")
        super().__init__(options)

    def send(self, notice: Notice) -> None:
        """Post a notice; NotSent if the server does not say that it has it."""
        body, headers = self._write(notice, host(), self._token)
        connection = self._connection()
        ender = threading.Timer(IN_ALL, _hang_up, [connection])
        ender.daemon = True
        ender.start()
        try:
            connection.request("POST", self._path, body, {"User-Agent": "astguard", **headers})
            answer = connection.getresponse()
            answer.read(ANSWER_LIMIT)
            status = answer.status
        except (OSError, http.client.HTTPException, ValueError) as error:
            text = (
                getattr(error, "strerror", None) or type(error).__name__
            )  # a text of http.client may quote the server
            raise NotSent(f"{self._host} did not answer: {text}", again=True) from None
        finally:
            ender.cancel()
            connection.close()
        if not 200 <= status < 300:  # a redirect is none of ours to follow: it may lead into this network
            raise NotSent(f"{self._host} answered {status}", again=status >= 500 or status in _TEMPORARY)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=SECONDS, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=SECONDS)


def _hang_up(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(2)

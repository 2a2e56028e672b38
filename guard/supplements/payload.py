"""The request that each service wants for a notice. Text is printable already; what a service obeys is escaped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from guard.supplements.notice import lines, subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.supplements.outbox import Notice


class Request(NamedTuple):
    """Body and headers of a POST."""

    body: bytes
    headers: dict[str, str]


def plain(notice: Notice, host: str, token: str) -> Request:
    """Write astguard's own JSON: whatever reads it finds each value by its name."""
    value = {
        "source": "astguard", "host": host, "subject": subject(notice), "more": notice.more,
        "bans": [ban._asdict() for ban in notice.bans], "alarms": [alarm._asdict() for alarm in notice.alarms],
    }  # fmt: skip
    return _json(value, _bearer(token))


def slack(notice: Notice, host: str, token: str) -> Request:
    """Write a message for a Slack webhook; &, < and > mean something there (api.slack.com, "Escaping text")."""
    said = "\n".join([f"*{subject(notice)}* on {host}", *lines(notice)])
    return _json({"text": said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}, _bearer(token))


def teams(notice: Notice, host: str, token: str) -> Request:
    """Write an adaptive card for a Teams workflow that waits for a webhook; a RichTextBlock obeys no Markdown."""
    texts = [{"type": "TextRun", "text": f"{line}\n"} for line in lines(notice)]
    title = {"type": "TextRun", "text": f"{subject(notice)} on {host}\n", "weight": "Bolder"}
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [title, *texts]}],
    }  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return _json({"type": "message", "attachments": [attachment]}, _bearer(token))


def ntfy(notice: Notice, host: str, token: str) -> Request:
    """Write a text for the address of an ntfy topic."""
    headers = {
        "Content-Type": "text/plain; charset=utf-8", "Title": _header(f"{subject(notice)} on {host}"),
        "Priority": "high" if notice.alarms else "default", **_bearer(token),
    }  # fmt: skip
    return Request("\n".join(lines(notice)).encode(), headers)


def gotify(notice: Notice, host: str, token: str) -> Request:
    """Write a message for Gotify's /message."""
    value = {
        "title": f"{subject(notice)} on {host}", "message": "\n".join(lines(notice)),
        "priority": 8 if notice.alarms else 5,
    }  # fmt: skip
    return _json(value, {"X-Gotify-Key": token} if token else {})


FORMATS: dict[str, Callable[[Notice, str, str], Request]] = {
    "json": plain, "slack": slack, "teams": teams, "ntfy": ntfy, "gotify": gotify,
}  # fmt: skip


def _json(value: object, headers: dict[str, str]) -> Request:
    return Request(json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _header(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()

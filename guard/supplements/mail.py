"""The notice by mail, through the mail server of this host, over SMTP.

Not through the program `sendmail`: it has to be setgid to queue a mail, and the unit's NoNewPrivileges forbids that.
"""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING

from guard.supplements.notice import Notices, NotSent, host, lines, subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.supplements.outbox import Notice

SECONDS = 10.0
"""How long the server may be silent."""


class Mail(Notices):
    """Options: `to` (addresses with commas between), `from`, `server`, `port`, `bans` (no: alarms only)."""

    what = "mail"

    def __init__(self, options: Mapping[str, str]) -> None:
        self._to = [address.strip() for address in options["to"].split(",")]
        self._from = options.get("from") or f"astguard@{host()}"
        self._server = options.get("server", "localhost"), int(options.get("port", "25"))
        super().__init__(options)

    def send(self, notice: Notice) -> None:
        """Hand a mail over; NotSent if the server does not take it."""
        try:
            with smtplib.SMTP(*self._server, local_hostname=host(), timeout=SECONDS) as server:
                refused = server.send_message(self.write(notice), self._from, self._to)
        except smtplib.SMTPResponseException as error:
            raise NotSent(f"the mail server answered {error.smtp_code}", again=error.smtp_code < 500) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({code for code, _ in error.recipients.values()})
            again = any(code < 500 for code in codes)
            raise NotSent(f"the mail server refused all who should get it: {codes}", again=again) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            text = getattr(error, "strerror", None) or type(error).__name__
            raise NotSent(f"the mail server did not answer: {text}", again=True) from None
        if refused:
            raise NotSent(f"the mail server refused {len(refused)} of {len(self._to)} who should get it", again=False)

    def write(self, notice: Notice) -> EmailMessage:
        """Write the mail. It asks for no answer: two programs could write to each other for ever (RFC 3834)."""
        mail = EmailMessage()
        mail["From"], mail["To"] = self._from, ", ".join(self._to)
        mail["Subject"] = f"astguard on {host()}: {subject(notice)}"
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=host())
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n".join([*lines(notice), ""]))
        return mail

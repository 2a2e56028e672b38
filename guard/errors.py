"""Every exception raised on purpose.

    GuardError                  exit code 1
    ├── ConfigError       78    astguard.yaml or a rule file: all mistakes at once, each file:line:column
    ├── AddressError       2    text that is no address or network
    ├── ProtocolError      1    the peer on the AMI port does not speak AMI
    │   └── LoginRefused   1    it does, but not to us
    ├── CaptureError       1    a recording that replay cannot read
    ├── HostError          1    no Asterisk on this host, or a file of it that cannot be changed
    ├── FirewallError      1    the kernel said no
    │   ├── FirewallUnavailable 1   ... and will go on saying it: no root, no nf_tables
    │   │   └── FirewallMissing 1   ... because it has no such thing, so nothing of ours can be in it
    │   └── TableGone    1    ... because somebody removed or changed what is ours: set it up, add the bans again
    ├── StoreError         1    there is no place for the state, or another astguard has it
    │   └── StoreUnreadable 1   the file is damaged, newer, or none of ours
    └── ControlError       1    a request to the running daemon failed
        ├── DaemonUnreachable 3
        └── NotFound       4

A message is lower case without a full stop and says what was seen, what was expected and what to do. Any other
exception that reaches the user is a bug.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class GuardError(Exception):
    """An error with a message for the administrator and an exit code; docs and `--help` list the codes."""

    exit_code: ClassVar[int] = 1


class ConfigError(GuardError):
    """Mistakes in configuration or rules; `mistakes` holds one `file:line:column: text` each."""

    exit_code = 78

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class AddressError(GuardError, ValueError):
    """Text that is no address or network."""

    exit_code = 2


class ProtocolError(GuardError):
    """The peer does not speak AMI, or broke a limit of ours."""


class LoginRefused(ProtocolError):
    """Asterisk answered the login with an error."""


class CaptureError(GuardError):
    """A recording that replay cannot read."""


class HostError(GuardError):
    """This host is not as a command needs it; what was begun is undone or said."""


class FirewallError(GuardError):
    """The kernel refused a change; the ledger still holds what should be true."""


class FirewallUnavailable(FirewallError):
    """The kernel cannot serve us at all: no permission, or no nf_tables."""


class FirewallMissing(FirewallUnavailable):
    """The kernel has no such firewall, so nothing of ours can be in it either."""


class TableGone(FirewallError):
    """Something of ours is not there any more, or is another: somebody flushed it. Call setup() and add the bans again.

    `bans_kept`: the sets of bans are still those we filled, so the bans need not be added again.
    """

    def __init__(self, message: str, *, bans_kept: bool = False) -> None:
        super().__init__(message)
        self.bans_kept = bans_kept


class StoreError(GuardError):
    """The state cannot be used at all; a disk that refuses for a while is no such error."""


class StoreUnreadable(StoreError):
    """What is in the file is of no use to this version; `kind` is one word for it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ControlError(GuardError):
    """A request to the running daemon failed."""


class DaemonUnreachable(ControlError):
    """Nothing answers on the control socket."""

    exit_code = 3


class NotFound(ControlError):
    """What was asked for does not exist."""

    exit_code = 4

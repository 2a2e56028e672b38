"""The AMI secret: what one may look like, and the file of its own that it is best kept in.

No error here quotes what was read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from guard.errors import ConfigError
from guard.settings.mistakes import Place
from guard.settings.yamlfile import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SECRET = 256  # characters; Asterisk refuses an AMI line of more than 1024 bytes


CREDENTIALS = "$CREDENTIALS_DIRECTORY"
"""The only variable that is read: the folder that systemd makes for LoadCredential=, for the service alone."""


def secret_path(file_path: Callable[[str], Path]) -> Callable[[str], Path]:
    """Make a reader of the path of a secret from a reader of paths; one below CREDENTIALS stays as it is written."""

    def read(text: str) -> Path:
        return Path(text) if text.startswith(f"{CREDENTIALS}/") else file_path(text)

    return read


def is_credential(path: Path | None) -> bool:
    """Tell whether systemd hands this secret over, so that nobody but the service can read it."""
    return path is not None and path.parts[0] == CREDENTIALS


def secret_text(text: str, longest: int = MAX_SECRET) -> str:
    """Check a secret; ValueError does not quote it."""
    if not text or len(text) > longest:
        raise ValueError(f"a secret has 1 to {longest} characters")
    if not text.isprintable() or text != text.strip():
        raise ValueError("a secret is one line without control characters or spaces around it")
    return text


def read_secret_file(path: Path, what: str = "the AMI secret", longest: int = MAX_SECRET) -> str:
    """Return the only line of a file that others may not read; ConfigError names the file and the remedy."""
    try:
        return _read(path, longest)
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except FileNotFoundError:
        reason = f"no such file; put {what} there, alone on one line"
    except PermissionError as error:
        reason = f"cannot be read: {error.strerror}; run this as root"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except ValueError as error:
        reason = str(error)
    raise ConfigError([f"{Place(str(path))}: {reason}"])


def _read(path: Path, longest: int) -> str:
    if is_credential(path):
        if "CREDENTIALS_DIRECTORY" not in os.environ:
            name = path.relative_to(CREDENTIALS)
            raise ValueError(f"systemd hands over none; the unit needs LoadCredential={name}:/path/of/the/file")
        path = Path(os.environ["CREDENTIALS_DIRECTORY"]) / path.relative_to(CREDENTIALS)
    if path.stat().st_mode & stat.S_IRWXO:
        raise ValueError("every user of this host has access to the secret; run 'chmod o=' on the file")
    return secret_text(read_bytes(path, 4 * longest).decode().removesuffix("\n").removesuffix("\r"), longest)

"""The AMI secret: what one may look like, and the file of its own that it is best kept in.

No error here quotes what was read.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from guard.errors import ConfigError
from guard.settings.mistakes import Place
from guard.settings.yamlfile import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

MAX_SECRET = 256  # characters; Asterisk refuses an AMI line of more than 1024 bytes


def secret_text(text: str) -> str:
    """Check a secret; ValueError does not quote it."""
    if not text or len(text) > MAX_SECRET:
        raise ValueError(f"a secret has 1 to {MAX_SECRET} characters")
    if not text.isprintable() or text != text.strip():
        raise ValueError("a secret is one line without control characters or spaces around it")
    return text


def read_secret_file(path: Path) -> str:
    """Return the only line of a file that others may not read; ConfigError names the file and the remedy."""
    try:
        return _read(path)
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except FileNotFoundError:
        reason = "no such file; put the AMI secret there, alone on one line"
    except PermissionError as error:
        reason = f"cannot be read: {error.strerror}; run this as root"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except ValueError as error:
        reason = str(error)
    raise ConfigError([f"{Place(str(path))}: {reason}"])


def _read(path: Path) -> str:
    if path.stat().st_mode & stat.S_IRWXO:
        raise ValueError("every user of this host has access to the secret; run 'chmod o=' on the file")
    return secret_text(read_bytes(path, 4 * MAX_SECRET).decode().removesuffix("\n").removesuffix("\r"))

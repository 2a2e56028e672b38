"""How a guard runs in its root tree without ever writing to it: in an overlay that goes with its round."""

from __future__ import annotations

OVERLAY = """\
set -eu
mkdir -p "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir -p "$1/root/var/log/asterisk"
mount --bind "$3" "$1/root/var/log/asterisk"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
echo "127.0.0.1 localhost $(hostname)" > "$1/root/etc/hosts"
echo "nameserver 127.0.0.1" > "$1/root/etc/resolv.conf"
cd "$1"
"""
"""Run by `sh -c` with FOLDER TREE LOGS; the mounts are the process's own.

No resolver is reachable, and fail2ban asks one for its own name at the first line: it shall be refused at once.
"""

"""How much gets through? The same attack on a real Asterisk 22: unguarded, and guarded by one tool after the other.

    sudo script/bench race [--short] [--repeats N] [--json FILE] [--write PAGE]

A round is one fresh Asterisk and one guard in a network namespace, attacked from another by one source after the other:
svcrack as fast as it goes, and REGISTER floods at several rates (`attack.py`). All tools get the same Asterisk with the
same logs, and are set up as their packages are (`fail2ban.py`, `crowdsec.py`, `astguard.py`); rounds are interleaved.

- **The deciding offence** of a tool is the one with which its own rule was full: the tenth line for fail2ban's stock
  jail, the sixth event for CrowdSec's stock scenario; for astguard its engine is asked. Who needs how many is another
  matter, see `bench/quality`; here counts what came after.
- **What reached Asterisk** is logged by the kernel, with its time, in a chain of the bench's own behind the chains of
  all guards (`wire.py`); what Asterisk answered is logged on its way out.
- **What it cost** is read from /proc before and after 30 s of a flood (`load.py`).
"""

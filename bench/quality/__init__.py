"""Who judges better? Labelled recordings, played through astguard, fail2ban and CrowdSec.

    script/bench quality [--peers] [--json FILE] [--write PAGE] [RECORDING...]

Compared is detection, not latency: every tool is given each line or event at the time it was recorded, as if nothing
took any time, and stops the clock in that instant. What a poll every ten seconds or a busy core adds is not in here;
`script/bench latency` measures that for astguard.

The unit is a *try* of a source, counted from what Asterisk reported (`tries.py`), never from what a tool made of it:

- a guess (g) is one ChallengeResponseFailed or InvalidPassword;
- a request (r) is one InvalidAccountID, or one ChallengeSent `<unknown>` without it, per session and account;
- a challenge (c) is one ChallengeSent for an account that exists, which nobody answered.

What a tool needed is the number of tries with a time up to that of its ban. A source that both asks and answers is
counted in the unit of which it has more, guesses first. Accounts are the distinct names tried until then.
"""

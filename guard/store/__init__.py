"""What outlives the daemon: one SQLite file, written by one thread.

Bans, strikes, trust, learnt ports, what a command allowed, the history with the events that led to each ban, and what
a clean stop left behind. All times in it are the wall clock's, in nanoseconds since 1970 UTC; the driver turns them
into instants. What is read from it is checked like anything from outside: a row that cannot be right is left out and
counted.
"""

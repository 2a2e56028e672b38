"""How long bans take to come back after a reboot: astguard beside nft, ipset, a bare loop and fail2ban."""

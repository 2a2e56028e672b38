"""This host: where Asterisk lives, who else minds the firewall, who may read what; and files changed safely."""

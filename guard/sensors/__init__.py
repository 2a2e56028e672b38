"""What brings news: the link to Asterisk, and names that may have new addresses. All asyncio."""

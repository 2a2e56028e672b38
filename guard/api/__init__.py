"""What the daemon offers to others over HTTP. aiohttp is imported here and nowhere else."""

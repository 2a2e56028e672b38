"""Sans-IO: bytes or text in, core types out, and back. Nothing here opens, waits or asks a clock."""

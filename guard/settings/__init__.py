"""Text files to checked, typed values; every mistake has its file:line:column."""

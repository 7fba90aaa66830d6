"""API keys: what one looks like, the file that remembers them, and who stands behind one."""

"""The embedded log: segment files with a small database beside them."""

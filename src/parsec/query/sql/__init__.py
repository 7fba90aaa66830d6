"""The syntax tree and a time range to SQL, and rows to answers."""

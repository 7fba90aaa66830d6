"""HTTP/1.1 connections: limits, deadlines, and the fast path of small ingest requests."""

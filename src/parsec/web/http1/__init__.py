"""HTTP/1.1 connections on uvicorn: how they end, their limits, and the fast path of small ingest requests."""

"""The structs that cross HTTP, written once.

The server encodes them, the client decodes them, and the OpenAPI document is derived from them.
"""

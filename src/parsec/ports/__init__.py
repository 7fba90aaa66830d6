"""Contracts only: what a stage may ask of a broker or a store, on one screen each."""

"""Tests of :mod:`thing.asyncio`, the adapter for asyncio."""

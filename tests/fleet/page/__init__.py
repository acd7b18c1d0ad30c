"""Tests of the page's sources: how they are joined, and what their modules do by themselves."""

"""
Hostile input in quantity: ``python -m fuzz`` says how.

A target is a module with ``oneInput``, which takes any octets and raises if something is wrong,
and ``seeds``, which gives inputs to begin with. ``CONTRIBUTING.rst`` ("Fuzz") has the commands.
"""

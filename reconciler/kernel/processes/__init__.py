"""Processes that netctl starts in namespaces, and the worker itself."""

"""Kinds of settings of an interface or a namespace: sysctls, offloads, rate limits."""

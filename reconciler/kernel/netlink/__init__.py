"""Rtnetlink: messages, dumps, and the backend that sends batches of steps (rtnetlink(7))."""

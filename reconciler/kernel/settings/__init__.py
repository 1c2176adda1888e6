"""Kernel settings under /proc/sys."""

"""The worker: the process that reads, plans and executes on one host. It is the same for local, lab and ssh hosts.

It uses JSON lines on its standard streams (`worker.channel`), so any means to start a process on a host suffices. It
needs no YAML and no pydantic. Code that may crash (libnftables) or must run in a namespace (a lab host) is in it, never
in the controller.
"""

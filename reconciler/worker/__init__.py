"""The worker: the process that reads, plans and executes on one host. The same for local, lab and ssh hosts.

It speaks JSON lines on its standard streams (`worker.channel`), so any way to start a process on a host will do. It needs no
YAML and no pydantic. What may crash (libnftables) or must be in a namespace (a lab host) is in it, never in the controller.
"""

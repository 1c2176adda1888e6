"""Containers of Docker that start only with their network: the program that holds them back, and what netctl reads of it.

- `program`: the OCI runtime and the hook. A copy of it alone is installed on a host; it imports nothing of netctl.
- `records`: the files by which a start waits, and the answers to it.
- `docker_files`: Docker's own files, for as long as dockerd does not answer.
- `install`: what is installed on a host, and the setting of dockerd.
"""

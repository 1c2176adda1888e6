"""Container engines: Docker, Podman and LXC."""

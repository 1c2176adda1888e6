"""The kind of container engines: a container."""

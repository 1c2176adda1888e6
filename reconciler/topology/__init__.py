"""The topology file: YAML with positions, the pydantic model of its shape, its checks, and the plain values it becomes."""

DEFAULT_FILE = "topology.yaml"
"""The file that a command reads if none is named."""

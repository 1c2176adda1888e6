"""The topology file: YAML with positions, the pydantic model of its shape, its checks, and the plain values it becomes."""

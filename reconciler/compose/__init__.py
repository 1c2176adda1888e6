"""Compose applications as topologies: the normalised form of a Compose file in, the text of two files out.

Compose runs the containers, and netctl their networks. Everything here is pure. `model` has what Compose prints.
`convert` makes a `draft` of it, and `topology_text` and `override_text` write the files. `running` makes the same draft
of what an engine runs.
"""

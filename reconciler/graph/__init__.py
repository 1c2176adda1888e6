"""A topology as a picture: hosts are columns, subnets bars, containers and published ports nodes, policies arrows.

Pure, in this order:

    model       the values that are drawn, each with its identity
    compile     from the topology and its addresses to these values   (badges, details, cells)
    lanes       the lanes of wires beside the nodes
    layout      where everything is
    svg, html   the picture as text; mermaid, dot and document are other forms of the same values
"""

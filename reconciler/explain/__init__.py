"""The path of one packet through the records of all hosts, hop by hop: what lets it on, and what ends it. Pure.

The modules:

    rules       the constant programs of nftables, parsed from their own text
    tables      the elements of a host's tables, and the run of a packet through a chain
    flows       the same for the rules of an Open vSwitch bridge
    world       the nodes (containers, hosts, the lab's router) with their interfaces, addresses and routes
    build       the same from the records and the facts of all hosts
    packet      the packet, its connection on each host, and the hops of its path
    walk        the packet on its way from node to node                  (segment: frames; routing: addresses)
    words       the sentence of each hop
    source      the line of the topology file that asked for a record
    remedy      what would let a packet pass that ends
    ask         the words of a user: FROM, TO, port and protocol
    trace       the rules that a real packet matched, beside those that it should
    exposure    what everyone can reach
"""

"""The topology's nftables tables: their constant program, and their elements."""

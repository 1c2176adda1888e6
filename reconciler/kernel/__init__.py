"""The only code that touches a host: sockets, libraries, commands. Steps go in; what was read comes out as plain values."""

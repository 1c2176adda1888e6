"""The only code that touches a host: sockets, libraries, commands. Its input are steps; it returns plain values."""

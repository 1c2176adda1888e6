"""The only code that touches a host: sockets, libraries, commands. Steps go in and are carried out; dumps come out as plain values."""

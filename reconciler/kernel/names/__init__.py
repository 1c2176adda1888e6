"""Names of containers on the host: the resolvers, their files, and the resolv.conf of containers."""

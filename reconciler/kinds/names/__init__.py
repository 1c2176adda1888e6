"""Names of containers: the resolvers of a host, the files that they answer from, and the resolv.conf of containers."""

"""A container's spec with a value for every key, and the same as a topology file says it."""

from __future__ import annotations

from reconciler.state.container_spec import ContainerSpec, Healthcheck, Logging, Ulimit

STAYS = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")
"""A command that ends at SIGTERM: a first process ignores signals that it does not handle."""
FULL = ContainerSpec(
    "docker",
    "busybox:latest",
    ("trap 'exit 0' TERM; sleep 1000 & wait",),
    (("COLOUR", "blue"),),
    ("/usr/share:/data:ro",),
    "on-failure",
    entrypoint=("sh", "-c"),
    user="1000:1000",
    working_dir="/tmp",
    labels=(("role", "web"),),
    healthcheck=Healthcheck(test=("CMD", "true"), interval_ns=5 * 10**9, timeout_ns=10**9, start_period_ns=2 * 10**9, retries=2),
    init=True,
    cap_add=("NET_ADMIN",),
    cap_drop=("MKNOD",),
    read_only=True,
    tmpfs=("/run:size=1m", "/cache"),
    devices=("/dev/null:/dev/empty:r",),
    security_opt=("no-new-privileges:true",),
    ulimits=(Ulimit("nofile", 512, 1024),),
    shm_size=8 << 20,
    memory=64 << 20,
    cpus=500_000_000,
    pids_limit=20,
    stop_signal="SIGTERM",
    stop_timeout=3,
    logging=Logging("json-file", (("max-size", "1m"),)),
    hostname="full.example",
)
"""Every key but `privileged`, which would undo others."""
FULL_TEXT = """\
    image: busybox:latest
    entrypoint: [sh, -c]
    command: ["trap 'exit 0' TERM; sleep 1000 & wait"]
    env: {COLOUR: blue}
    volumes: ["/usr/share:/data:ro"]
    restart: on-failure
    user: "1000:1000"
    working_dir: /tmp
    labels: [role=web]
    healthcheck: {test: [CMD, "true"], interval: 5s, timeout: 1000ms, start_period: 2s, retries: 2}
    init: true
    cap_add: [CAP_NET_ADMIN]
    cap_drop: [mknod]
    read_only: true
    tmpfs: ["/run:size=1m", /cache]
    devices: ["/dev/null:/dev/empty:r"]
    security_opt: ["no-new-privileges:true"]
    ulimits: {nofile: {soft: 512, hard: 1024}}
    shm_size: 8m
    memory: 64mb
    cpus: 0.5
    pids_limit: 20
    hostname: full.example
    stop_signal: SIGTERM
    stop_timeout: 3s
    logging: {driver: json-file, options: {max-size: 1m}}
"""

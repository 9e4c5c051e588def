#!/usr/bin/env bash
# inside.sh DIR COMMAND...: run a command in the chroot DIR, as root and with
# nothing of the caller's environment.  Mounts and processes end with it.
set -euo pipefail

export INSIDE_DIR=$1
shift
exec unshare --mount --pid --fork --kill-child -- bash -euo pipefail -c '
    dir=$INSIDE_DIR
    mount -t proc proc "$dir/proc"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$dir/dev/pts"
    mkdir -p "$dir/dev/shm"
    mount -t tmpfs tmpfs "$dir/dev/shm"
    exec chroot "$dir" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        ${http_proxy:+"http_proxy=$http_proxy"} "$@"
' inside "$@"

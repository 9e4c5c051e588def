#!/usr/bin/env bash
# make torture: test/torture, long, on private servers.  As root, servers' data and
# WAL are on small file systems of their own, which can be filled.
. "$(dirname "$0")/common.sh"

install_for_use

if [ "$(id -u)" = 0 ]; then
    if mount_small "$WORK/room/data" 400m && mount_small "$WORK/room/wal" 100m; then
        export TORTURE_ROOM=$WORK/room
    else
        echo "no small file systems can be mounted here" >&2
    fi
fi
status=0
run perl test/torture/torture.pl || status=$?
if [ "$status" != 0 ]; then
    KEEP=1
fi
exit "$status"

#!/bin/sh
# can-installcheck.sh BINDIR VERSION: can "make installcheck" work?  If not, says
# what to do, before every test fails for the same reason.
bindir=$1
version=$2

cannot() {
    echo "make installcheck: $1" >&2
    if [ "$(id -un)" != postgres ] && id postgres >/dev/null 2>&1; then
        echo "Where the server knows its superuser by the user postgres of the system, as on Debian, run" >&2
        echo "    runuser -u postgres -- make installcheck        (or: sudo -u postgres make installcheck)" >&2
        echo "with this tree in a folder that postgres may read. It need not be writable." >&2
    else
        echo "Set PGHOST, PGPORT and PGUSER to a running server and a superuser of it." >&2
    fi
    exit 1
}

ask() {
    "$bindir/psql" -XAtqd postgres -c "$1" 2>&1
}

answer=$(ask "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user") ||
    cannot "cannot connect: $answer"
[ "$answer" = t ] ||
    cannot "the role \"$(ask 'SELECT current_user')\" is no superuser"
answer=$(ask "SELECT count(*) FROM pg_catalog.pg_available_extension_versions WHERE name = 'credits' AND version = '$version'")
if [ "$answer" != 1 ]; then
    echo "make installcheck: the server, PostgreSQL $(ask 'SHOW server_version'), has no credits $version." >&2
    echo "Run make install first; if there are several servers, with its PG_CONFIG=/path/to/pg_config." >&2
    exit 1
fi

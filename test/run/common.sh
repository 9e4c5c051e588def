# Shared by demo.sh, test.sh, check-one.sh and others: a private PostgreSQL with the
# extension in it.
#
# Everything happens in one directory under /tmp, owned by an unprivileged
# user: a copy of the installed PostgreSQL (it finds its files relative to its
# programs, so a copy is an installation of its own), a copy of this tree, the
# servers and their sockets.  On exit, however it comes, the servers are
# stopped and the directory is removed.  Called by root, the work is done as
# the user postgres; called by anybody else, as the caller.
set -euo pipefail

PG_MAJOR=${PG_MAJOR:-15}
TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WORK=
JOB=
MOUNTS=()

# Nothing of the caller's settings may leak in: not a PGHOST, not make's flags.
for name in $(compgen -e PG) MAKEFLAGS MFLAGS MAKELEVEL TZ LANGUAGE PERL5LIB PROVE_OPTS; do
    [ "$name" = PG_MAJOR ] || unset "$name"
done
export LC_ALL=C.UTF-8

die() {
    echo "$*" >&2
    exit 1
}

need_deps() {
    PG_MAJOR=$PG_MAJOR SUITES=${suites:-none} "$TREE/test/run/deps.sh"
}

# Run a command as the unprivileged user, whose home is the working directory.
as_user() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u postgres -- env "HOME=$WORK" "$@"
    else
        env "HOME=$WORK" "$@"
    fi
}

# The same for what takes long: in a process group of its own, which an
# interrupt ends as a whole.
run() {
    local status=0
    set -m
    as_user "$@" </dev/null &
    JOB=$!
    set +m
    wait "$JOB" || status=$?
    JOB=
    return "$status"
}

end_job() {
    local i
    [ -n "$JOB" ] || return 0
    kill -TERM -- "-$JOB" 2>/dev/null || true
    for i in $(seq 100); do
        kill -0 -- "-$JOB" 2>/dev/null || break
        [ "$i" != 50 ] || kill -KILL -- "-$JOB" 2>/dev/null || true
        sleep 0.1
    done
}

# stop_servers_in FOLDER: all whose data are below it.
stop_servers_in() {
    local pidfile
    while read -r pidfile; do
        as_user "$PG_BIN/pg_ctl" -D "${pidfile%/*}" -m immediate -s stop || true
    done < <(find "$1" -name postmaster.pid 2>/dev/null)
}

cleanup() {
    local dir
    trap '' INT TERM HUP
    end_job
    [ -n "$WORK" ] || return 0
    cd /
    stop_servers_in "$WORK"
    for dir in "${MOUNTS[@]}"; do
        umount "$dir" || umount -l "$dir" || true
    done
    if [ "${KEEP:-}" = 1 ]; then
        echo "kept: $WORK" >&2
    else
        rm -rf "$WORK"
    fi
}

# pack_tree: the sources only, so that the build is from scratch, as a tar file.
pack_tree() {
    tar -C "$TREE" --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
        --exclude=./results --exclude='./regression.*' --exclude='tmp_check' -cf - .
}

# copy_tree DIR
copy_tree() {
    pack_tree | tar -C "$1" --no-same-owner -xf -
}

trap_signals() {
    trap "$1" EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# The installation, in the working directory.
copy_postgres() {
    local pg=/usr/lib/postgresql/$PG_MAJOR share=/usr/share/postgresql/$PG_MAJOR
    local libdir

    libdir=$("$pg/bin/pg_config" --libdir)
    mkdir -p "$WORK${pg%/*}" "$WORK${share%/*}" "$WORK${libdir%/*}" "$WORK/tree" "$WORK/tmp"
    cp -a "$pg" "$WORK${pg%/*}/"
    cp -a "$share" "$WORK${share%/*}/"
    ln -s /usr/include "$WORK/usr/include"
    ln -s "$libdir" "$WORK$libdir"
}

# The installation is the one to use.
use_installation() {
    PG_BIN=$WORK/usr/lib/postgresql/$PG_MAJOR/bin
    PG_TEST=$WORK/usr/lib/postgresql/$PG_MAJOR/lib/pgxs/src/test
    export PATH=$PG_BIN:$PATH TMPDIR=$WORK/tmp WORK PG_BIN PG_TEST
}

need_postgres() {
    local pg=/usr/lib/postgresql/$PG_MAJOR
    [ -x "$pg/bin/postgres" ] || die "no PostgreSQL $PG_MAJOR in $pg"
}

# Make the working directory and, in it, the installation and the tree's copy.
make_temp_install() {
    need_postgres
    trap_signals cleanup
    WORK=$(mktemp -d /tmp/credits.XXXXXX)
    copy_postgres
    copy_tree "$WORK/tree"
    if [ "$(id -u)" = 0 ]; then
        chown -Rh postgres: "$WORK"
    fi
    use_installation
    cd "$WORK/tree"
}

# With ASSERTIONS=1, all is done on a server with assertions (test/memory/build-server.sh)
# in VALGRIND_DIR, which is built if it is not there yet, and stays.
use_assertions() {
    [ "${ASSERTIONS:-}" = 1 ] || return 0
    VALGRIND_DIR=${VALGRIND_DIR:-/tmp/credits-valgrind}
    "$TREE/test/memory/build-server.sh" "$PG_MAJOR" "$VALGRIND_DIR" >"$WORK/server-build.log" 2>&1 || {
        tail -n 30 "$WORK/server-build.log" >&2
        die "the server did not build in $VALGRIND_DIR"
    }
    if [ "$(id -u)" = 0 ]; then
        chown -R postgres: "$VALGRIND_DIR"
    fi
    PG_BIN=$VALGRIND_DIR/bin
    export PATH=$PG_BIN:$PATH
}

# build_extension [VAR=VALUE...]: build the copy, with these settings of make,
# and install it into the private PostgreSQL.
build_extension() {
    build_in "$WORK/tree" "$PG_BIN" "$@" >"$WORK/build.log" 2>&1
}

# build_in TREE BIN [VAR=VALUE...]: the same with another tree, for another
# installation.
build_in() {
    run make -C "$1" -j2 install "PG_CONFIG=$2/pg_config" with_llvm=no "WERROR=${WERROR:-}" "${@:3}"
}

# All of it, for what is no test of the build.
install_for_use() {
    need_deps
    make_temp_install
    use_assertions
    build_extension || {
        tail -n 30 "$WORK/build.log" >&2
        die "the extension did not build"
    }
}

# run_prove ARGUMENT...: TAP programs, those that use PostgreSQL::Test among them.
run_prove() {
    export TESTDIR=$PWD TESTDATADIR=$PWD/tmp_check TESTLOGDIR=$PWD/tmp_check/log
    export PG_REGRESS=$PG_TEST/regress/pg_regress
    run prove --timer -I "$PG_TEST/perl" -I test/t/lib "$@"
}

# show_failures: when PostgreSQL::Test programs fail, why is in their logs.  True if
# something was shown.
show_failures() {
    local log shown=1
    for log in tmp_check/log/regress_log_*; do
        [ -e "$log" ] || continue
        if grep -q 'not ok' "$log" || ! grep -Eq '1\.\.[0-9]' "$log"; then
            echo "--- the end of $log"
            tail -n 40 "$log"
            shown=0
        fi
    done
    if [ -e "$WORK/server.log" ] && grep -Eq 'PANIC|terminated by signal' "$WORK/server.log"; then
        echo "--- the end of $WORK/server.log"
        tail -n 40 "$WORK/server.log"
        shown=0
    fi
    return "$shown"
}

# mount_small DIRECTORY SIZE: a file system of its own, for anybody to fill.
mount_small() {
    mkdir -p "$1"
    mount -t tmpfs -o "size=$2,mode=0777" tmpfs "$1" || return
    MOUNTS+=("$1")
}

# start_server LINE...: a new server, with these lines in its configuration, what
# the array SERVER_ENV has in its environment, and SERVER_PROGRAM for postgres.
SERVER_ENV=()
SERVER_PROGRAM=
name_server() {
    export PGHOST=$WORK/socket PGPORT=65432 PGUSER=postgres
}

start_server() {
    mkdir "$WORK/socket"
    if [ "$(id -u)" = 0 ]; then
        chown postgres: "$WORK/socket"
    fi
    name_server
    start_in "$WORK/server" "$PG_BIN" "$PGPORT" "$@"
}

# start_in FOLDER BIN PORT LINE...: the same in another folder, by another
# installation.  Its socket is beside the first one's.
start_in() {
    local folder=$1 bin=$2 port=$3
    shift 3
    as_user "$bin/initdb" -D "$folder" -U postgres -A trust -E UTF8 --no-sync >"$folder.initdb.log"
    printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$PGHOST'" "$@" |
        as_user tee -a "$folder/postgresql.conf" >/dev/null
    as_user env "${SERVER_ENV[@]}" "$bin/pg_ctl" ${SERVER_PROGRAM:+-p "$SERVER_PROGRAM"} -D "$folder" -o "-p $port" -l "$folder.log" -w -s start || {
        tail -n 30 "$folder.log" >&2
        die "the server did not start"
    }
}

stop_server() {
    as_user pg_ctl -D "$WORK/server" -m fast -s stop
}

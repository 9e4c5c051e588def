#!/usr/bin/env bash
# make check-one T="NAME ...": the tests of these names, in seconds.
#
# All is as in "make test", but the working directory and a server in it stay for the
# next call.  That copies the tree again, compiles the sources that changed, installs the
# extension into the private PostgreSQL, and runs the tests.  A session that begins after
# that loads the new library, so the server goes on running.  Each tree, each user and
# each PG_MAJOR has a directory and a server of its own.
#
#   check-one.sh run     T names the tests, as in usage(); COPT="-O0": options of the compiler
#   check-one.sh psql    psql in a database with the extension
#   check-one.sh stop    ends the server and removes the directory
. "$(dirname "$0")/common.sh"

usage() {
    cat >&2 <<'EOF'
make check-one T="NAME ...", where a NAME is the name of one of these files without its
ending, or its path:
    sql/NAME.sql                      a regression test
    test/isolation/specs/NAME.spec    an isolation test
    test/pgtap/NAME.sql               a pgTAP test
    test/t/NAME.pl                    a TAP test; its number is enough
    test/unit/NAME.c                  a unit test of the core; T=unit runs all of these
If several files have the name, all of them run. A path runs one: T=sql/deduct.sql
EOF
    exit 2
}

# choose NAME: add what it names to the lists.
regress=() specs=() units=() files=() all_units=
choose() {
    local name=$1 path found=
    if [ "$name" = unit ]; then
        all_units=1
        return
    fi
    for path in "${name#./}" "sql/$name.sql" "test/isolation/specs/$name.spec" "test/pgtap/$name.sql" \
        "test/t/$name.pl" "test/t/${name}_"*.pl "test/unit/$name.c"; do
        [ -f "$TREE/$path" ] || continue
        case $path in
            sql/*--*.sql) continue ;;
            sql/*.sql) regress+=("$(basename "$path" .sql)") ;;
            test/isolation/specs/*.spec) specs+=("$(basename "$path" .spec)") ;;
            test/unit/*_test.c) units+=("$(basename "$path" _test.c)") ;;
            test/pgtap/*.sql | test/t/*.pl) files+=("$path") ;;
            *) continue ;;
        esac
        found=1
    done
    [ -n "$found" ] || {
        echo "check-one: no test has the name '$name'" >&2
        usage
    }
}

# leave: what ends with the call.  The server and the directory do not.
leave() {
    trap '' INT TERM HUP
    end_job
    cd /
    stop_servers_in "$WORK/tree/tmp_check"
}

# The directory has a name that others can know, so it must be a directory of ours.
find_place() {
    USER_NAME=$(id -un)
    [ "$(id -u)" != 0 ] || USER_NAME=postgres
    WORK=/tmp/credits-one-$USER_NAME-$(printf '%s %s' "$TREE" "$PG_MAJOR" | cksum | cut -d ' ' -f 1)
    if [ ! -e "$WORK" ] && [ ! -L "$WORK" ]; then
        return 1
    fi
    [ -d "$WORK" ] && [ ! -L "$WORK" ] && [ "$(stat -c %U "$WORK")" = "$USER_NAME" ] ||
        die "$WORK is not a directory of the user $USER_NAME"
}

# One call at a time: it has the directory locked by descriptor 9, which what may outlive
# the call does not get.
lock_place() {
    exec 9<"$WORK"
    flock -n 9 || die "another check-one is at work in $WORK"
}

remove_place() {
    PG_BIN=$WORK/usr/lib/postgresql/$PG_MAJOR/bin
    stop_servers_in "$WORK"
    rm -rf "$WORK"
    exec 9<&-
}

# Of an upgraded PostgreSQL, there is a new copy.
is_usable() {
    [ -e "$WORK/complete" ] &&
        cmp -s "/usr/lib/postgresql/$PG_MAJOR/bin/postgres" "$WORK/usr/lib/postgresql/$PG_MAJOR/bin/postgres"
}

make_place() {
    mkdir -m 700 "$WORK"
    lock_place
    copy_postgres
    if [ "$(id -u)" = 0 ]; then
        chown -Rh postgres: "$WORK"
    fi
    as_user touch "$WORK/complete"
}

# The tree as it is now, with the objects whose sources, headers and options are the same.
# The library is always linked anew: it may have lost an object.
copy_sources() {
    as_user rm -rf "$WORK/new"
    as_user mkdir "$WORK/new"
    pack_tree | as_user tar -C "$WORK/new" --no-same-owner -xf -
    as_user env "COPT=${COPT:-}" bash -euo pipefail -s -- "$WORK" <<'EOF'
cd "$1"
echo "COPT=$COPT" >new/options
sums() { (cd "$1" && find src -name "$2" | sort | xargs cksum "${@:3}"); }
if [ -e tree/options ] && [ "$(sums tree '*.h' options Makefile)" = "$(sums new '*.h' options Makefile)" ]; then
    comm -12 <(sums tree '*.c' | sort) <(sums new '*.c' | sort) | cut -d ' ' -f 3 | sed 's/c$/o/' | sort >same
    cd tree
    find src -name '*.o' | sort | comm -12 - ../same | xargs -r cp -p --parents -t ../new
    cd ..
fi
rm -rf tree
mv new tree
EOF
}

# The server that the last call left, or a new one.
find_server() {
    name_server
    if ! as_user pg_ctl -D "$WORK/server" status >/dev/null 2>&1; then
        as_user rm -rf "$WORK/server" "$WORK/socket"
        start_server "fsync = off" 9<&-
    fi
    as_user truncate -s 0 "$WORK/server.log"
}

said_by_compiler() {
    grep -E -A 3 "$1" "$WORK/build.log" | grep -Ev '^(gcc|cc|make|ccache) ' >&2
}

prepare() {
    trap_signals leave
    if find_place; then
        lock_place
        is_usable || remove_place
    fi
    if [ ! -e "$WORK" ] || [ -n "${suites:-}" ]; then
        need_deps
    fi
    need_postgres
    [ -e "$WORK" ] || make_place
    use_installation
    copy_sources
    cd "$WORK/tree"
    build_extension "COPT=${COPT:-}" 9<&- || {
        said_by_compiler '(warning|error):' || tail -n 30 "$WORK/build.log" >&2
        die "the extension did not build"
    }
    said_by_compiler 'warning:' || true
    find_server
    echo "built and installed in ${SECONDS} s: $(grep -c ' -c -o ' "$WORK/build.log" || true) sources compiled"
}

run_tests() {
    local tests=() status=0 name
    if [ ${#regress[@]} != 0 ]; then
        export TESTS="setup ${regress[*]}"
        tests+=(test/memory/regress.sh)
    fi
    if [ ${#specs[@]} != 0 ]; then
        export SPECS="${specs[*]}"
        tests+=(test/run/suite-isolation.sh)
    fi
    if [ ${#units[@]} != 0 ] || [ -n "$all_units" ]; then
        export UNIT="${units[*]}" UNIT_LOG="$PWD/unit.log"
        [ -z "$all_units" ] || UNIT=
        tests+=(test/run/suite-unit.sh)
    fi
    tests+=("${files[@]}")
    run_prove --source pgTAP --pgtap-option suffix=.sql --pgtap-option psql=test/run/pgtap-psql.sh \
        "${tests[@]}" 9<&- || status=$?
    [ "$status" != 0 ] || return 0
    show_failures || true
    [ -z "${UNIT_LOG:-}" ] || grep -A 4 '^not ok' "$UNIT_LOG" | head -60 || true
    for name in "${regress[@]}"; do
        if ! cmp -s "results/$name.out" "expected/$name.out"; then
            echo "If the new output is right: cp $PWD/results/$name.out expected/"
        fi
    done
    for name in "${specs[@]}"; do
        if ! cmp -s "output_iso/results/$name.out" "test/isolation/expected/$name.out"; then
            echo "If the new output is right: cp $PWD/output_iso/results/$name.out test/isolation/expected/"
        fi
    done
    echo "Result: FAIL"
    return "$status"
}

case ${1:-} in
    run)
        [ -n "${T:-}" ] || usage
        for name in $T; do
            choose "$name"
        done
        [[ " ${files[*]}" != *" test/t/"* ]] || suites=tap
        prepare
        run_tests
        ;;
    psql)
        prepare
        export PGDATABASE=debug
        as_user createdb 2>/dev/null || true
        as_user psql -qX -c "ALTER DATABASE debug SET credits.allow_drop = on" -c "CREATE EXTENSION IF NOT EXISTS credits"
        exec 9<&-
        as_user psql -X -v PROMPT1='%/, process %p%R%x%# '
        ;;
    stop)
        if find_place; then
            lock_place
            remove_place
        fi
        ;;
    *) usage ;;
esac

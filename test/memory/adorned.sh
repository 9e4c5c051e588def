#!/usr/bin/env bash
# make adorned: the regression tests on a server with assertions (build-server.sh), with
# what apps and DBAs add to tables on every table of the extension (t.adorn in
# sql/setup.sql): one kind of it after the other, and all of it at once.  Then the
# SQL fuzz and the model, or the tests that TAP names, with all of it.
#
# What is added may show: "SELECT *" has more columns, ALTER TABLE finds pending trigger
# events, TRUNCATE a foreign key.  The tests where it does are named here.  They have
# to come to their ends; all others have to give what they always give.
#
#   VALGRIND_DIR=DIR   where that server is, or is built (/tmp/credits-valgrind)
. "$(dirname "$0")/../run/common.sh"

ASSERTIONS=1 install_for_use
. test/run/tap.sh
set +e

# shellcheck disable=SC2016 # make's
all=$(printf 'include Makefile\nnames: ; @echo $(REGRESS)\n' | make -s -f - names "PG_CONFIG=$PG_BIN/pg_config")
tests=
for name in ${TESTS:-$all}; do
    case $name in
        setup | adorned) ;;     # the one comes first, the other adds it itself
        *) tests="$tests $name" ;;
    esac
done
as_user cp test/memory/adorn_all.sql sql/adorn_all.sql
as_user touch expected/adorn_all.out
start_server "fsync = off"

# with KINDS NAME...: all tests with that; the output of those that are named shows it.
with() {
    local kinds=$1 shows=" adorn_all ${*:2} " dir name verdict died n=0
    dir=$WORK/with-${kinds//,/-}
    as_user mkdir -p "$dir"
    # shellcheck disable=SC2086
    run env PGOPTIONS="-c t.adorn=$kinds" "$PG_TEST/regress/pg_regress" --inputdir=. --outputdir="$dir" \
        --bindir="$PG_BIN" --dbname=adorned --encoding=UTF8 --no-locale setup adorn_all $tests >"$dir/log" 2>&1 || true
    while read -r name verdict died; do
        n=$((n + 1))
        if [[ $shows = *" $name "* ]]; then
            [[ $died != *"process exited"* ]]
            ok $? "$kinds: $name comes to its end"
        else
            [ "$verdict" = ok ]
            ok $? "$kinds: $name"
        fi
    done < <(sed -nE 's/^test +([^ ]+) +\.\.\. (ok|FAILED)(.*)/\1 \2 \3/p' "$dir/log")
    [ "$n" = $(($(wc -w <<<"$tests") + 2)) ]
    ok $? "$kinds: all tests were run"
    if [ "$failed" -gt 0 ]; then
        head -n "${DIFF_LINES:-300}" "$dir/regression.diffs" >&2
    fi
}
with indexes drop_guard maintenance
with columns,checks,code drop_guard guards constraints verify verify_scale verify_grants_holds hold archive metrics
with triggers drop_guard
with keys drop_guard guards verify verify_grants_holds hold
with deferred drop_guard erase maintenance verify verify_scale verify_grants_holds anchor undo import archive
with indexes,columns,checks,code,triggers,keys drop_guard maintenance guards constraints verify verify_scale verify_grants_holds hold archive metrics
stop_server

export CREDITS_ADORN=indexes,columns,checks,code,triggers,deferred,keys
# shellcheck disable=SC2086
run_prove ${TAP:-test/t/060_model.pl test/t/072_fuzz.pl}
ok $? "with TAP tests"

if grep -Eh 'TRAP:|terminated by signal|WARNING:  (problem in|detected write)' "$WORK"/server.log tmp_check/log/*.log >&2; then
    ok 1 "no assertion failed, nobody wrote where he should not"
fi
done_testing

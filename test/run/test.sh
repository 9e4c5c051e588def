#!/usr/bin/env bash
# make test: every suite, on private servers.  One prove runs them all, so its
# last line and exit status are the verdict.  SUITES selects some of them, TAP
# files of the suite tap.
# With COVERAGE=PERCENT, it says at the end which lines of src/ were not run, and
# fails if fewer than that were.  With ASSERTIONS=1, on a server with assertions.
. "$(dirname "$0")/common.sh"

all="checkver build lint unit regress isolation pgtap tap orms"
suites=" ${SUITES:-$all} "
for suite in $suites; do
    [[ " $all " = *" $suite "* ]] || die "no suite '$suite'; there are: $all"
done
if [ -n "${CI:-}" ]; then
    WERROR=${WERROR:-1}
fi

need_deps
make_temp_install
use_assertions
export BUILD_STATUS=0 WERROR
flags=()
if [ -n "${COVERAGE:-}" ]; then
    flags=(COPT="-O0 --coverage" SHLIB_LINK=--coverage)
fi
build_extension "${flags[@]}" || BUILD_STATUS=$?
if [ "$BUILD_STATUS" != 0 ]; then
    suites=" checkver build "
fi
echo "PostgreSQL $PG_MAJOR, extension built in ${SECONDS} s, suites:$suites"

# add SUITE FILE...: to what prove is to run.  A suite without a test fails.
tests=()
add() {
    local suite=$1
    shift
    [[ $suites = *" $suite "* ]] || return 0
    if [ ! -e "$1" ]; then
        printf '1..1\nnot ok 1 - there are tests like %s\n' "$1" >"no-tests-$suite.tap"
        set -- "no-tests-$suite.tap"
        echo "no tests for the suite $suite" >&2
    fi
    tests+=("$@")
}
add checkver test/run/checkver.sh
add build test/run/suite-build.sh
add lint test/run/suite-lint.sh
add unit test/run/suite-unit.sh
add regress test/run/suite-regress.sh
add isolation test/run/suite-isolation.sh
add pgtap test/pgtap/*.sql
add orms test/orms/*.pl
add tap ${TAP:-test/t/*.pl}

if [[ $suites = *" pgtap "* ]]; then
    start_server "fsync = off"
fi
if [[ $suites = *" orms "* ]]; then
    export CREDITS_NODE=$WORK/node
    test/orms/install.sh "$CREDITS_NODE" >"$WORK/npm.log" 2>&1 || {
        tail -n 30 "$WORK/npm.log" >&2
        die "npm could not install what the suite orms needs; the others run with SUITES"
    }
fi

status=0
run_prove --jobs "${JOBS:-2}" \
    --source pgTAP --pgtap-option suffix=.sql --pgtap-option psql=test/run/pgtap-psql.sh \
    "${tests[@]}" || status=$?

if [ "$status" != 0 ] && show_failures; then
    echo "Result: FAIL"
fi
if [ -n "${COVERAGE:-}" ]; then
    run perl test/run/coverage.pl "$COVERAGE" src || status=$?
fi
exit "$status"

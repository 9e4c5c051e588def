#!/usr/bin/env bash
# make test-majors: "make test" on every other PostgreSQL that Debian has, each
# in a chroot of the suite that has it, and pg_upgrade to it from PG_MAJOR.
# Wants root, debootstrap and a Debian mirror.
#
#   MAJORS="17 18"    which
#   MAJORS_DIR=DIR    where the chroots are, or are made: by default, and
#                     without KEEP=1 removed at the end, /tmp/credits-majors
#   SUITES="…"        of test.sh; by default all but checkver and lint, which
#                     know no major; TAP="…": of the suite tap
. "$(dirname "$0")/../run/common.sh"

declare -A suite=([17]=trixie [18]=forky)
MAJORS=${MAJORS:-17 18}
MAJORS_DIR=${MAJORS_DIR:-/tmp/credits-majors}
SUITES=${SUITES:-build unit regress isolation pgtap tap}
keep=${KEEP:-}

[ "$(id -u)" = 0 ] || die "test-majors: chroots need root"
command -v debootstrap >/dev/null || die "test-majors: needs debootstrap"
for major in $MAJORS; do
    [ -n "${suite[$major]:-}" ] || die "test-majors: no Debian suite is known to have PostgreSQL $major"
done

# What is upgraded from: this major with the extension, as the tests have it.
KEEP=
need_deps
make_temp_install
build_extension || {
    tail -n 30 "$WORK/build.log" >&2
    die "the extension did not build"
}

inside=$TREE/test/majors/inside.sh

# The libraries that programs from here need and the chroot has not.
copy_libraries() {
    local dir=$1 name file
    mkdir -p "$dir/usr/local/lib"
    while name=$("$inside" "$dir" bash -c 'ldd /old/usr/lib/postgresql/*/bin/* || true' 2>/dev/null |
        awk '/=> not found/ && !n++ { print $1 }') && [ -n "$name" ]; do
        file=$(ldconfig -p | awk -v name="$name" '$1 == name && !n++ { print $NF }')
        [ -n "$file" ] || die "test-majors: there is no $name"
        cp -L "$file" "$dir/usr/local/lib/"
        "$inside" "$dir" ldconfig
    done
}

status=0
for major in $MAJORS; do
    dir=$MAJORS_DIR/${suite[$major]}
    began=$SECONDS
    "$TREE/test/majors/chroot.sh" "${suite[$major]}" "$major" "$dir" >"$WORK/chroot.log" 2>&1 || {
        tail -n 30 "$WORK/chroot.log" >&2
        die "test-majors: no chroot of ${suite[$major]} in $dir"
    }
    echo "PostgreSQL $major: chroot of ${suite[$major]} ready in $((SECONDS - began)) s"

    rm -rf --one-file-system "$dir/tree" "$dir/old"
    mkdir -p "$dir/old" "$dir/tree"
    copy_tree "$dir/tree"
    (cd "$WORK" && cp -a --parents "usr/lib/postgresql/$PG_MAJOR" "usr/share/postgresql/$PG_MAJOR" "$dir/old/")
    copy_libraries "$dir"
    "$inside" "$dir" make --no-print-directory -C /tree test "PG_MAJOR=$major" "SUITES=$SUITES" "TAP=${TAP:-}" WERROR=1 \
        "CREDITS_OLD=/old/usr/lib/postgresql/$PG_MAJOR" </dev/null || status=1
done
if [ "$keep" != 1 ]; then
    for major in $MAJORS; do
        rm -rf --one-file-system "${MAJORS_DIR:?}/${suite[$major]}"
    done
    rmdir --ignore-fail-on-non-empty "$MAJORS_DIR"
fi
exit "$status"

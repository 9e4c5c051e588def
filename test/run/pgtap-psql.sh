#!/usr/bin/env bash
# The psql that runs a pgTAP file, which prove names last: in a database of
# the file's own.
set -euo pipefail

PGDATABASE=$(basename "${*: -1}" .sql)
dropdb --if-exists "$PGDATABASE" 2>/dev/null
createdb "$PGDATABASE"
export PGDATABASE
psql -qX -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION credits'
exec psql "$@"

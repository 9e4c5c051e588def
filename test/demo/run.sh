#!/usr/bin/env bash
# The demo: replay a month and a bit of an AI app's life, report, and check the
# outcome.  Wants an empty database of a superuser's, named by the PG*
# variables; "make demo" provides one.  Exits with 1 if a check fails.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Nothing may depend on the caller's settings.
export PGTZ=UTC PGDATESTYLE=ISO PGCLIENTENCODING=UTF8 PGOPTIONS="-c client_min_messages=warning"
sql() {
    psql -X -q -v ON_ERROR_STOP=1 "$@"
}

accounts=$(sql -At -c 'CREATE EXTENSION IF NOT EXISTS credits' -c 'SELECT count(*) FROM credit_account')
if [ "$accounts" != 0 ]; then
    echo "demo: this database has $accounts accounts already; use an empty one" >&2
    exit 1
fi

echo "credits: 45 days of an AI app's life, 20 September to 3 November 2026"
sql -o /dev/null -f test/demo/load.sql -f test/demo/replay.sql

# The scheduler sweeps at the end of September, and then is out of order: from
# 8 October on, boundaries are applied by the calls that meet them.
sql -o /dev/null <<'SQL'
CALL demo.replay('-infinity', '2026-09-30 12:05Z');
SET credits.clock = '2026-09-30 12:05Z';
CALL credits_run_reset();
CALL demo.replay('2026-09-30 12:05Z', '2026-10-01 00:05Z');
SET credits.clock = '2026-10-01 00:05Z';
CALL credits_run_reset();
CALL demo.replay('2026-10-01 00:05Z', '2026-10-08 03:00Z');
SET credits.clock = '2026-10-08 03:00Z';
CALL credits_run_reset();
CALL demo.replay('2026-10-08 03:00Z', 'infinity');
SQL

# Now it works again.  Balances are looked at before and after.
sql -o /dev/null -v end='2026-11-04 00:00Z' <<'SQL'
SET credits.clock = :'end';
CREATE TABLE demo.unswept AS SELECT * FROM credit_balance;
CALL credits_run_reset(dry_run => true);
\gset dry_
SELECT :'dry_report'::jsonb ->> 'accounts' AS foretold \gset
CALL credits_run_reset();
ANALYZE;
\i test/demo/check.sql
\o
\i test/demo/report.sql
SQL

failed=$(sql -At -c 'SELECT count(*) FROM demo.verdict WHERE ok IS NOT TRUE')
if [ "$failed" != 0 ]; then
    echo "demo: $failed of the checks failed" >&2
    exit 1
fi

-- pgledger's accounts: one per user, and a thousand that take what is spent,
-- so that no single one of them is what everybody waits for.  Its functions
-- are loaded before, into the schema pgledger.
SET search_path = pgledger, public;
INSERT INTO pgledger_accounts (id, name, currency, balance, allow_negative_balance, allow_positive_balance, created_at, updated_at)
SELECT user_id, user_id, 'credits', 1001000000, false, true, now(), now() FROM bench.users ORDER BY n;
INSERT INTO pgledger_accounts (id, name, currency, balance, allow_negative_balance, allow_positive_balance, created_at, updated_at)
SELECT (4300000000000000 + n)::text, 'spent ' || n, 'credits', 0, true, true, now(), now() FROM generate_series(1, 1000) n;
GRANT USAGE ON SCHEMA pgledger TO bench_app;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA pgledger TO bench_app;
VACUUM (ANALYZE) pgledger_accounts;

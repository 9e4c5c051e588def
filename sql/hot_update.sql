-- A deduction is a HOT update of the account: it writes to no index of that table.
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 1000) ->> 'version' AS version;
SELECT count(credits_open_account('u' || n, 'free')) FROM generate_series(1, 20) n;

-- Each call in a transaction of its own, counted by the backend itself.
DO $$
DECLARE
    account regclass := 'credit_account';
    updated int8 := pg_stat_get_xact_tuples_updated('credit_account'::regclass);
    hot int8 := pg_stat_get_xact_tuples_hot_updated('credit_account'::regclass);
BEGIN
    FOR n IN 1 .. 500 LOOP
        PERFORM credits_deduct('u' || 1 + n % 20, 1, 'image', 'key ' || n, '{"a": 1}', 'me');
        COMMIT;
    END LOOP;
    updated := pg_stat_get_xact_tuples_updated(account) - updated;
    hot := pg_stat_get_xact_tuples_hot_updated(account) - hot;
    RAISE WARNING '% updates, % not HOT', updated, updated - hot;
END $$;
SELECT sum((credits_balance('u' || n) ->> 'available')::int) AS available FROM generate_series(1, 20) n;
-- the pages were pruned as they filled
SELECT pg_relation_size('credit_account') / current_setting('block_size')::int <= 4 AS small;
SELECT * FROM credits_verify();
DROP EXTENSION credits;

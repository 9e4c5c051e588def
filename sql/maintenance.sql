-- What a DBA does to the tables in the meantime does not disturb a session
-- that has used them before.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;
SELECT credits_add_purchased('u', 50, 'pay_1', NULL, 'k') ->> 'available' AS available;

-- new files, rows in other places, other object ids of the files
VACUUM FULL credit_account;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
REINDEX TABLE credit_account;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
REINDEX TABLE CONCURRENTLY credit_account;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
REINDEX TABLE CONCURRENTLY credit_history;
SELECT credits_add_purchased('u', 50, 'pay_1', NULL, 'k') -> 'replayed' AS replayed;
CLUSTER credit_history USING credit_history_pkey;
SELECT credits_add_purchased('u', 50, 'pay_1') -> 'replayed' AS replayed;
VACUUM FULL credit_payment;
VACUUM FULL credit_plan;
SELECT credits_add_purchased('u', 1, 'pay_2') ->> 'available' AS available;
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT credits_deduct('u', 1) ->> 'available' AS available;
VACUUM (ANALYZE) credit_account;
VACUUM (FREEZE) credit_history;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
-- indexes and columns that come and go
CREATE INDEX dba_spender ON credit_history (spender, created_at);
ALTER TABLE credit_account ADD COLUMN dba_total int8 GENERATED ALWAYS AS (monthly + purchased) STORED;
ALTER TABLE credit_history ADD COLUMN dba_note text;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
SELECT dba_total FROM credit_account;
DROP INDEX dba_spender;
ALTER TABLE credit_account DROP COLUMN dba_total;
ALTER TABLE credit_history DROP COLUMN dba_note;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
-- options, statistics, comments, another owner
ALTER TABLE credit_account SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE credit_history ALTER COLUMN metadata SET STORAGE EXTERNAL;
CREATE ROLE regress_credits_owner;
ALTER TABLE credit_account OWNER TO regress_credits_owner;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
SELECT t.sqlstate(format('ALTER TABLE credit_account OWNER TO %I', current_user));
DROP ROLE regress_credits_owner;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
-- all in one transaction with the calls, and undone
BEGIN;
SELECT credits_deduct('u', 1) ->> 'available' AS available;
REINDEX TABLE credit_account;
CREATE UNIQUE INDEX dba_one_a_day ON credit_history (user_id, effective_at) WHERE effective_at > '2026-02-11';
SET LOCAL credits.clock = '2026-02-12 00:00:00+00';
SELECT credits_deduct('u', 1) ->> 'available' AS available;
SELECT t.sqlstate($$SELECT credits_deduct('u', 1)$$);
ROLLBACK;
SELECT credits_deduct('u', 1) ->> 'available' AS available;

SELECT * FROM credits_verify();
SELECT count(*) AS rows, max(seq) AS seq FROM credit_history;
DROP EXTENSION credits;

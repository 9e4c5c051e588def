-- A DBA adds to the ledger's tables what the reference allows, and calls go on: indexes of
-- any kind, columns with a domain's default, triggers that look back at the ledger.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION credits;
SELECT credits_define_plan('pro', 1000) ->> 'ok' AS plan;
SELECT credits_open_account(u, 'pro') ->> 'ok' AS opened FROM unnest(ARRAY['u1', 'u2', 'u3', 'u4']) u;

-- Indexes that keep something for the rest of a statement, renamed alone in
-- between: nothing of the old one is used again.
CREATE INDEX dba_brin ON credit_history USING brin (created_at) WITH (pages_per_range = 1);
CREATE INDEX dba_gin ON credit_history USING gin (metadata);
CREATE INDEX dba_gist ON credit_history USING gist (tstzrange(created_at, NULL));
CREATE INDEX dba_hash ON credit_account USING hash (plan);
CREATE TABLE dba_junk (a int, b text);
CREATE INDEX ON dba_junk (b);
SELECT r ->> 'seq' AS seq FROM generate_series(1, 3) n, credits_deduct('u1', n, 'r', NULL, '{"a": 1}') r;
ALTER INDEX dba_brin RENAME TO dba_brin2;
ALTER INDEX dba_gin SET (fastupdate = off);
ALTER INDEX dba_gist RENAME TO dba_gist2;
SELECT count(*) >= 0 AS memory_used_again FROM pg_stat_user_tables;
SELECT count(*) AS junk FROM dba_junk WHERE b = 'x';
SELECT count(*) > 0 AS memory_used_again FROM information_schema.columns;
SELECT credits_deduct('u1', 1, 'r', NULL, '{"a": 2}') ->> 'seq' AS seq;
SELECT count(r) AS batch FROM credits_deduct_many(
    ARRAY(SELECT 'u' || 1 + n % 3 FROM generate_series(1, 500) n), ARRAY(SELECT 1::int8 FROM generate_series(1, 500)),
    metadata => ARRAY(SELECT '{"b": 1}'::jsonb FROM generate_series(1, 500))) r;
BEGIN;
SELECT credits_deduct('u1', 1, 'r', NULL, '{"a": 3}') ->> 'seq' AS seq;
SAVEPOINT s;
SELECT credits_deduct('u1', 1, 'r', NULL, '{"a": 3}') ->> 'seq' AS seq;
ROLLBACK TO s;
SELECT credits_deduct('u1', 1, 'r', NULL, '{"a": 3}') ->> 'seq' AS seq;
COMMIT;
SET enable_seqscan = off;
SELECT count(*) AS by_gin FROM credit_history WHERE metadata @> '{"a": 3}';
SELECT count(*) AS by_brin FROM credit_history WHERE created_at > '2020-01-01';
SELECT count(*) AS by_gist FROM credit_history WHERE tstzrange(created_at, NULL) && tstzrange('2020-01-01', NULL);
SELECT count(*) AS by_hash FROM credit_account WHERE plan = 'pro';
RESET enable_seqscan;
SELECT count(*) AS rows FROM credit_history;
DROP INDEX dba_brin2, dba_gin, dba_gist2, dba_hash;
DROP TABLE dba_junk;

-- A trigger finds the history complete, also in the middle of a batch, and can
-- use the key of the call that it came from: a replay.
CREATE TABLE dba_seen (what text, user_id text, account_seq int8, history_seq int8);
CREATE FUNCTION dba_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dba_seen SELECT TG_TABLE_NAME, NEW.user_id, a.history_seq,
           (SELECT max(h.seq) FROM credit_history h WHERE h.user_id = NEW.user_id)
      FROM credit_account a WHERE a.user_id = NEW.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER dba_note AFTER UPDATE ON credit_account FOR EACH ROW EXECUTE FUNCTION dba_note();
SELECT credits_deduct('u4', 1) ->> 'seq' AS seq;
SELECT r ->> 'seq' AS seq FROM credits_deduct_many(ARRAY['u4', 'u4', 'u2'], ARRAY[1, 1, 1]) r;
CREATE TRIGGER dba_note AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION dba_note();
SELECT r ->> 'seq' AS seq FROM credits_deduct_many(ARRAY['u4', 'u4'], ARRAY[1, 1]) r;
SELECT what, count(*), count(*) FILTER (WHERE account_seq = history_seq) AS complete FROM dba_seen GROUP BY 1 ORDER BY 1;
DROP TRIGGER dba_note ON credit_account;
DROP TRIGGER dba_note ON credit_history;
CREATE FUNCTION dba_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        INSERT INTO dba_seen SELECT credits_deduct(NEW.user_id, 1, NULL, 'k' || NEW.history_seq) ->> 'replayed', NEW.user_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER dba_again AFTER UPDATE ON credit_account FOR EACH ROW EXECUTE FUNCTION dba_again();
SELECT credits_deduct('u4', 1, NULL, 'k7') ->> 'seq' AS seq;
SELECT r ->> 'seq' AS seq FROM credits_deduct_many(ARRAY['u4'], ARRAY[1], idempotency_keys => ARRAY['k8']) r;
SELECT what AS replayed, user_id FROM dba_seen WHERE account_seq IS NULL;
DROP TRIGGER dba_again ON credit_account;
DROP FUNCTION dba_again(), dba_note();
DROP TABLE dba_seen;

-- A domain's default is anybody's code, and nobody else's: each caller's right
-- to it is checked, and it is what it is now.
CREATE ROLE regress_credits_a;
CREATE ROLE regress_credits_b;
SELECT credits_grant_role(r, 'app') ->> 'ok' AS granted FROM unnest(ARRAY['regress_credits_a', 'regress_credits_b']) r;
CREATE FUNCTION dba_default() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 7; END';
REVOKE EXECUTE ON FUNCTION dba_default() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dba_default() TO regress_credits_a;
CREATE DOMAIN dba_domain AS int DEFAULT dba_default();
ALTER TABLE credit_history ADD COLUMN dba_column dba_domain;
SET ROLE regress_credits_a;
SELECT credits_deduct('u3', 1) ->> 'ok' AS ok;
SET ROLE regress_credits_b;
SELECT credits_deduct('u3', 1);
RESET ROLE;
ALTER DOMAIN dba_domain SET DEFAULT 9;
SELECT credits_deduct('u3', 1) ->> 'ok' AS ok;
SELECT dba_column FROM credit_history WHERE user_id = 'u3' ORDER BY seq DESC LIMIT 2;
ALTER TABLE credit_history DROP COLUMN dba_column;
DROP DOMAIN dba_domain;
DROP FUNCTION dba_default();
DROP OWNED BY regress_credits_a, regress_credits_b;
DROP ROLE regress_credits_a, regress_credits_b;

-- A column that a domain makes NOT NULL: without a default every call is refused, as
-- a plain INSERT would be, in batches as well; with one it is filled in.
CREATE DOMAIN dba_domain AS int NOT NULL CHECK (value > 0);
CREATE DOMAIN dba_over AS dba_domain;
ALTER TABLE credit_grant ADD COLUMN dba_column dba_domain;
SELECT t.sqlstate('INSERT INTO credit_grant SELECT 1, 1, 999, now(), false, false, ''u1''') AS plain_insert,
       t.sqlstate('SELECT credits_grant(''u1'', 5, now() + ''1 day''::interval)') AS granted;
ALTER DOMAIN dba_domain SET DEFAULT 3;
SELECT credits_grant('u1', 5, now() + '1 day'::interval) ->> 'ok' AS granted;
SELECT dba_column FROM credit_grant;
ALTER TABLE credit_grant DROP COLUMN dba_column;
ALTER DOMAIN dba_domain DROP DEFAULT;
ALTER TABLE credit_history ADD COLUMN dba_column dba_domain DEFAULT 2;
ALTER TABLE credit_history ALTER COLUMN dba_column DROP DEFAULT;
SELECT credits_deduct('u1', 1);
SELECT credits_deduct_many(ARRAY['u1', 'u2'], ARRAY[1, 1]);
ALTER TABLE credit_history ALTER COLUMN dba_column TYPE dba_over;
SELECT credits_deduct('u1', 1);
-- One that allows it, until it does not any more.
ALTER TABLE credit_history ALTER COLUMN dba_column TYPE dba_domain;
ALTER DOMAIN dba_domain DROP NOT NULL;
SELECT credits_deduct('u1', 1) ->> 'ok' AS ok;
SELECT count(*) AS nulls FROM credit_history WHERE dba_column IS NULL;
ALTER DOMAIN dba_domain ADD CONSTRAINT dba_not_null CHECK (value IS NOT NULL) NOT VALID;
SELECT credits_deduct('u1', 1);
ALTER TABLE credit_history DROP COLUMN dba_column;
DROP DOMAIN dba_over, dba_domain;

SELECT * FROM credits_verify();
DROP EXTENSION credits;

-- What a DBA adds to the tables is not in a dump, as they are the extension's members.  It can
-- be listed as DDL: nothing at first, ...
CREATE EXTENSION credits;
SELECT * FROM credits_dump_customizations();
-- ... then all of it.
CREATE FUNCTION dba_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE dba_user (id text COLLATE "C" PRIMARY KEY, email text);
SET client_min_messages = error;
CREATE PUBLICATION dba_pub;
CREATE PUBLICATION dba_pub2;
SET client_min_messages = warning;
ALTER TABLE credit_account ADD COLUMN dba_email text COLLATE "POSIX" DEFAULT 'x''y', ADD COLUMN "Dba n" bigint GENERATED ALWAYS AS (history_seq * 2) STORED, ADD COLUMN dba_gone int;
ALTER TABLE credit_account DROP COLUMN dba_gone;
ALTER TABLE credit_account ADD FOREIGN KEY (user_id) REFERENCES dba_user DEFERRABLE INITIALLY DEFERRED, ADD CONSTRAINT dba_check CHECK (length(user_id) < 100), ADD CONSTRAINT dba_unique UNIQUE (dba_email), ADD CONSTRAINT dba_later CHECK (monthly < 1000000) NOT VALID;
ALTER TABLE credit_account SET (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_enabled = false);
ALTER TABLE credit_grant RESET (fillfactor);
ALTER TABLE credit_history ALTER COLUMN user_id SET STATISTICS 500, ALTER COLUMN metadata SET STORAGE EXTERNAL, ALTER COLUMN kind SET (n_distinct = 20), ALTER COLUMN reason SET DEFAULT 'none', ALTER COLUMN reason SET COMPRESSION pglz;
ALTER TABLE credit_history REPLICA IDENTITY FULL;
CREATE INDEX dba_idx ON credit_history (created_at, lower(reason)) WITH (fillfactor = 80) WHERE kind = 'deduct';
ALTER INDEX dba_idx ALTER COLUMN 2 SET STATISTICS 300;
CREATE UNIQUE INDEX "Dba unique" ON credit_payment (user_id, seq);
ALTER INDEX credit_history_pkey SET (fillfactor = 95);
CREATE STATISTICS dba_stats (ndistinct) ON kind, amount FROM credit_history;
ALTER STATISTICS dba_stats SET STATISTICS 400;
CREATE INDEX dba_archive ON credit_history_archive (payment_ref);
ALTER TABLE credit_payment CLUSTER ON credit_payment_pkey;
CREATE TRIGGER dba_note AFTER INSERT OR UPDATE OF monthly ON credit_account FOR EACH ROW WHEN (NEW.monthly > 5) EXECUTE FUNCTION dba_f('a', 'b''c');
CREATE CONSTRAINT TRIGGER dba_later AFTER INSERT ON credit_history DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dba_f();
ALTER TABLE credit_history ENABLE ALWAYS TRIGGER dba_later;
ALTER TABLE credit_account DISABLE TRIGGER dba_note;
ALTER PUBLICATION dba_pub ADD TABLE credit_account, credit_history (user_id, seq);
ALTER PUBLICATION dba_pub2 ADD TABLE credit_history WHERE (kind = 'deduct');
SET search_path = pg_catalog;
CREATE TEMP TABLE listed AS SELECT row_number() OVER () AS n, s.section, statement
  FROM unnest(ARRAY['pre-data', 'post-data']) s(section), public.credits_dump_customizations(s.section) statement;
RESET search_path;
SELECT section, statement FROM listed ORDER BY n;
SELECT count(*) FROM credits_dump_customizations() c WHERE c NOT IN (SELECT statement FROM listed);
-- Run on a new ledger, they give the same, and again the same.
DROP EXTENSION credits;
CREATE EXTENSION credits;
SET client_min_messages = error;
SELECT statement FROM listed ORDER BY n
\gexec
SELECT statement FROM listed ORDER BY n
\gexec
SET client_min_messages = warning;
SELECT n, l.section, l.statement, c AS now FROM listed l FULL JOIN (SELECT row_number() OVER () AS n, c FROM credits_dump_customizations() c) c USING (n) WHERE l.statement IS DISTINCT FROM c;
SELECT * FROM credits_verify();
SELECT t.sqlstate($$SELECT credits_dump_customizations('data')$$) AS section;
DROP PUBLICATION dba_pub, dba_pub2;
DROP EXTENSION credits;
DROP FUNCTION dba_f();
DROP TABLE dba_user;

-- What is deferred to the commit fails in a bulk run for the account that it is about, and keeps
-- nobody else from it.
CREATE EXTENSION credits;
SET client_min_messages = error;
SET credits.key_retention = 0;
CREATE FUNCTION pg_temp.said(r jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', r ->> 'accounts', 'failures', r ->> 'failures', r -> 'failed' -> 0 ->> 'user_id', r -> 'failed' -> 0 ->> 'sqlstate')
$$;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('pro', 100) ->> 'ok' AS plan;
SELECT count(credits_open_account(u, 'pro')) FROM unnest('{u1,u2,u3}'::text[]) u;
SELECT count(credits_deduct(u, 1)) FROM unnest('{u1,u2,u3}'::text[]) u, generate_series(1, 3);
CALL credits_grant_many('{u1,u2,u3}', '{5,5,5}', '2027-01-01') \gset
SELECT :'report'::jsonb ->> 'run_id' AS run \gset
SELECT (credits_anchor() ->> 'anchor_no')::int AS anchor;
SELECT credits_define_plan('pro', 120, effective_from => '2026-01-12 00:00:00+00') ->> 'ok' AS plan;
SET credits.clock = '2026-01-13 00:00:00+00';
-- a trigger
CREATE FUNCTION dba_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation USING MESSAGE = 'refused'; END $$;
CREATE CONSTRAINT TRIGGER dba_refuse AFTER INSERT ON credit_history DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.user_id IN ('u2', 'v2')) EXECUTE FUNCTION dba_refuse();
CALL credits_grant_many('{u1,u2,u3}', '{7,7,7}', '2027-01-01') \gset
SELECT pg_temp.said(:'report') AS grant_many;
CALL credits_apply_plan('pro') \gset
SELECT pg_temp.said(:'report') AS apply_plan;
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report') AS undo_run;
CALL credits_import($$SELECT u AS user_id, 5 AS purchased FROM unnest('{v1,v2,v3}'::text[]) u$$) \gset
SELECT pg_temp.said(:'report') AS import;
SET credits.clock = '2026-02-13 00:00:00+00';
CALL credits_run_reset() \gset
SELECT pg_temp.said(:'report') AS run_reset;
DROP TRIGGER dba_refuse ON credit_history;
-- many failures in one batch leave no memory behind
CREATE FUNCTION dba_measure() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE check_violation USING MESSAGE = (SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'credits %'); END $$;
CREATE TRIGGER dba_measure AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION dba_measure();
CREATE FUNCTION pg_temp.grows(r jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN b - a < 1000000 THEN 'little' ELSE format('by %s bytes', b - a) END
      FROM (SELECT (r -> 'failed' -> 1 ->> 'message')::int8 AS a, (r -> 'failed' -> 99 ->> 'message')::int8 AS b) x
$$;
CALL credits_import($$SELECT 'm' || n AS user_id, 5 AS purchased FROM generate_series(100, 220) n ORDER BY 1$$) \gset
SELECT :'report'::jsonb ->> 'failures' AS failures, pg_temp.grows(:'report') AS grows;
DROP TRIGGER dba_measure ON credit_history;
SELECT count(credits_open_account('m' || n, 'pro')) FROM generate_series(100, 220) n;
CREATE TRIGGER dba_measure AFTER INSERT ON credit_history FOR EACH ROW WHEN (NEW.user_id LIKE 'm%') EXECUTE FUNCTION dba_measure();
SET credits.clock = '2026-03-13 00:00:00+00';
CALL credits_run_reset() \gset
SELECT :'report'::jsonb ->> 'failures' AS failures, pg_temp.grows(:'report') AS grows;
DROP TRIGGER dba_measure ON credit_history;
DROP FUNCTION dba_measure();
-- a run reads what its transaction has done before
DO $$ DECLARE report jsonb; BEGIN
    PERFORM credits_open_account('w1', 'pro');
    PERFORM credits_define_plan('pro', 150);
    CALL credits_apply_plan('pro', report => report);
    IF (SELECT count(*) FROM credit_account WHERE plan = 'pro') <>
       (report ->> 'accounts')::int + (report ->> 'already')::int + (report ->> 'skipped')::int THEN
        RAISE 'the run found %', report;
    END IF;
END $$;
-- a foreign key
CREATE TABLE dba_invoice (user_id text COLLATE "C", seq int8, FOREIGN KEY (user_id, seq) REFERENCES credit_history DEFERRABLE INITIALLY DEFERRED);
INSERT INTO dba_invoice VALUES ('u2', 1);
CALL credits_archive('2026-01-11') \gset
SELECT pg_temp.said(:'report') AS archive;
-- in the caller's transaction it waits for the caller's COMMIT
BEGIN;
CALL credits_archive('2026-01-11') \gset
SELECT pg_temp.said(:'report') AS archive;
DELETE FROM dba_invoice;
COMMIT;
DROP TABLE dba_invoice;
SELECT user_id, history_seq FROM credit_checkpoint ORDER BY 1;
SELECT * FROM credits_verify();
RESET credits.clock;
RESET credits.key_retention;
DROP EXTENSION credits;
DROP FUNCTION dba_refuse();

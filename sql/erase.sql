-- Erasing a user's texts keeps the proof: the chain's digests take their place.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free')) FROM unnest(ARRAY['u', 'u2', 'plain']) u;
SELECT credits_deduct('u', 1, 'both', 'k1', '{"name": "Zoë", "n": 1}', 'alice') ->> 'seq' AS seq;
SELECT credits_deduct('u', 2, 'a reason', 'k2') ->> 'seq' AS seq;
SELECT credits_deduct('u', 3, NULL, 'k3', '{"b": 2}') ->> 'seq' AS seq;
SELECT credits_deduct('u', 4, NULL, 'k4') ->> 'seq' AS seq;
SELECT credits_add_purchased('u', 5, 'pay_1', '', NULL, 'null') ->> 'seq' AS seq;
SELECT credits_adjust('u', 'monthly', -1, 'goodwill') ->> 'seq' AS seq;
SELECT credits_freeze('u', 'owes money') ->> 'seq' AS seq;
SELECT credits_unfreeze('u') ->> 'seq' AS seq;
SELECT credits_deduct('u', 1, repeat('long ', 2000), 'k9', jsonb_build_object('long', repeat('text ', 5000))) ->> 'seq' AS seq;
SELECT credits_deduct('u2', 1, 'not u', 'k1', '{"not": "u"}') ->> 'seq' AS seq;
CREATE TEMP TABLE before AS SELECT * FROM credit_history;
CREATE TEMP TABLE receipt AS SELECT key, credits_deduct('u', n, 'retry', 'k' || key) AS r FROM (VALUES (1, 1), (2, 2), (3, 3), (4, 4), (9, 1)) x(key, n);
CREATE TEMP TABLE account AS SELECT * FROM credit_account;
CREATE VIEW t.texts AS
    SELECT user_id, seq, kind, length(reason) AS reason, length(metadata::text) AS metadata, length(text_salt) AS salt,
           length(reason_digest) AS reason_digest, length(metadata_digest) AS metadata_digest
      FROM credit_history WHERE num_nulls(reason, metadata, text_salt, reason_digest, metadata_digest) < 5;
SELECT * FROM t.texts ORDER BY user_id, seq;

-- each row has a salt of its own, so that the same text has another digest
SELECT count(*) AS salts, count(DISTINCT text_salt) AS different FROM credit_history WHERE text_salt IS NOT NULL;

SELECT credits_erase_user('u', 'request 4711') AS erased;
-- a call that was looking its key up while rows moved finds that the account has changed
SELECT a.xmin::text = max(h.xmin::text) AS changed FROM credit_account a JOIN credit_history h USING (user_id)
 WHERE user_id = 'u' AND reason_digest IS NOT NULL GROUP BY a.xmin::text;
SELECT * FROM t.texts ORDER BY user_id, seq;
-- the digests are those that the chain has
SELECT count(*) AS rows,
       bool_and(h.reason_digest IS NOT DISTINCT FROM sha256(b.text_salt || convert_to(b.reason, 'UTF8'))) AS reason,
       bool_and(h.metadata_digest IS NOT DISTINCT FROM sha256(b.text_salt || convert_to(b.metadata::text, 'UTF8'))) AS metadata
  FROM credit_history h JOIN before b USING (user_id, seq) WHERE user_id = 'u';
-- and nothing else has changed
SELECT count(*) AS rows, count(*) FILTER (WHERE o.h = o.b) AS same FROM (
    SELECT to_jsonb(h) - '{reason,metadata,text_salt,reason_digest,metadata_digest}'::text[] AS h,
           to_jsonb(b) - '{reason,metadata,text_salt,reason_digest,metadata_digest}'::text[] AS b
      FROM credit_history h JOIN before b USING (user_id, seq)) o;
SELECT count(*) AS different FROM (TABLE credit_account EXCEPT TABLE account) x;
SELECT * FROM credits_verify();
SELECT * FROM credits_verify_account('u');
CALL credits_run_verify();
-- replays give the same receipts
SELECT count(*) AS replays, bool_and(credits_deduct('u', (r->>'amount')::int8, NULL, 'k' || key) = r) AS same FROM receipt;
SELECT seq, kind, reason, metadata FROM credits_history('u', 4);

-- It is in the audit log, with nothing of what was erased; again it does nothing.
SELECT seq, action, subject, actor = session_user AS actor, before, after FROM credit_audit_log WHERE action = 'erase_user';
SELECT t.fingerprint() AS before \gset
SELECT credits_erase_user('u', 'again') AS erased;
SELECT credits_erase_user('plain') AS erased;
SELECT t.fingerprint() = :'before' AS nothing_written;
-- what comes later has texts again, and can be erased again
SELECT credits_deduct('u', 1, 'later', 'k11') ->> 'seq' AS seq;
BEGIN;
SELECT credits_deduct('u', 1, 'in this transaction') ->> 'seq' AS seq;
SELECT credits_erase_user('u') AS erased;
SELECT credits_deduct('u', 1, 'after it') ->> 'seq' AS seq;
SELECT credits_erase_user('u') AS erased;
COMMIT;
SELECT credits_erase_user('u') AS erased;
SELECT * FROM t.texts WHERE user_id = 'u' AND seq > 10;
SELECT seq, after FROM credit_audit_log WHERE action = 'erase_user' ORDER BY seq;
SELECT credits_deduct('u2', 1) ->> 'seq' AS seq FROM credits_erase_user('u2');
SELECT * FROM credits_verify();
-- above READ COMMITTED too
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT credits_deduct('u2', 1, 'text') ->> 'seq' AS seq;
SELECT credits_erase_user('u2') AS erased;
COMMIT;
-- undone with the transaction
SELECT credits_deduct('u', 1, 'kept') ->> 'seq' AS seq;
BEGIN;
SELECT credits_erase_user('u') AS erased;
ROLLBACK;
SELECT seq, reason FROM credits_history('u', NULL, 1);

-- A digest that was put in a text's place, or the other way round, is found out.
BEGIN;
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET reason_digest = NULL WHERE user_id = 'u' AND seq = 3;
UPDATE credit_history SET metadata_digest = sha256('other') WHERE user_id = 'u2' AND seq = 2;
ALTER TABLE credit_history ENABLE ALWAYS TRIGGER credits_guard;
SELECT * FROM credits_verify();
ROLLBACK;
-- erasing hides no tampering
BEGIN;
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET reason = 'tampered' WHERE user_id = 'u' AND reason = 'kept';
ALTER TABLE credit_history ENABLE ALWAYS TRIGGER credits_guard;
SELECT credits_erase_user('u') AS erased;
SELECT * FROM credits_verify();
ROLLBACK;

-- With a DBA's trigger and columns.
BEGIN;
ALTER TABLE credit_history ADD COLUMN note text DEFAULT 'mine', ADD COLUMN twice int8 GENERATED ALWAYS AS (amount * 2) STORED;
CREATE TABLE seen (seq int8, old text, new text);
CREATE FUNCTION t.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (new.seq, old.reason, new.reason); RETURN NULL; END $$;
CREATE TRIGGER see AFTER UPDATE ON credit_history FOR EACH ROW EXECUTE FUNCTION t.see();
SELECT credits_erase_user('u') AS erased;
SELECT * FROM seen;
SELECT seq, reason, note, twice FROM credit_history WHERE user_id = 'u' ORDER BY seq DESC LIMIT 1;
SELECT * FROM credits_verify();
ROLLBACK;

-- Arguments.
SELECT args, t.sqlstate('SELECT credits_erase_user(' || args || ')')
  FROM unnest(ARRAY['NULL', $$''$$, $$'nobody'$$, $$'u', ''$$, $$'u', repeat('x', 256)$$]) WITH ORDINALITY AS x(args, n) ORDER BY n;
SET credits.default_plan = 'free';
SELECT t.sqlstate($$SELECT credits_erase_user('nobody')$$) AS not_opened;
RESET credits.default_plan;
DROP VIEW t.texts;
DROP EXTENSION credits;

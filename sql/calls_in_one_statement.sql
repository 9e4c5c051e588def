-- Several calls in one statement see each other's effects, wherever in the statement they are.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 1000) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;

SELECT credits_deduct('u', 1) ->> 'available' AS first, credits_deduct('u', 1) ->> 'available' AS second;
SELECT count(*) AS calls, min((credits_deduct('u', 1) ->> 'available')::int) AS least FROM generate_series(1, 100);
SELECT count(DISTINCT r->>'seq') AS seqs FROM (SELECT credits_deduct('u', 1) AS r FROM generate_series(1, 100)) s;
-- a read in the same statement has the statement's snapshot
SELECT credits_balance('u') ->> 'available' AS before,
       credits_deduct('u', 1) ->> 'available' AS deducted,
       credits_balance('u') ->> 'available' AS after;
-- in a CTE, a WHERE clause, a lateral join, an expression
WITH spent AS (SELECT credits_deduct('u', 7) AS r) SELECT r->>'available' AS available FROM spent;
SELECT count(*) FROM generate_series(1, 3) WHERE (credits_deduct('u', 1) ->> 'ok')::bool;
SELECT d.r->>'available' AS available FROM (VALUES (1), (2), (3)) v(n), LATERAL (SELECT credits_deduct('u', v.n) AS r) d;
-- different calls, one account
SELECT credits_deduct('u', 10) ->> 'available' AS spent,
       credits_add_purchased('u', 5, 'pay_1') ->> 'available' AS bought,
       credits_adjust('u', 'monthly', -80, 'x') ->> 'available' AS adjusted,
       credits_deduct('u', 695) ->> 'purchased' AS purchased;
-- opened and used in one statement
SELECT credits_open_account('v', 'free') ->> 'available' AS opened, credits_deduct('v', 1) ->> 'available' AS spent;
-- defined, taken and used in one statement
SELECT credits_define_plan('new', 5) ->> 'version' AS defined,
       credits_open_account('w', 'new') ->> 'available' AS opened,
       credits_deduct('w', 5) ->> 'available' AS spent;
-- refused in the middle, the whole statement is undone
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('w', n) FROM generate_series(0, 1) n$$);
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('v', 400) FROM generate_series(1, 3)$$);
SELECT credits_balance('v') ->> 'available' AS available;

-- From functions, triggers and cursors.
CREATE TABLE request (who text, cost int8, seq int8);
CREATE FUNCTION charge() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.seq := (credits_deduct(NEW.who, NEW.cost) ->> 'seq')::int8; RETURN NEW; END $$;
CREATE TRIGGER charge BEFORE INSERT ON request FOR EACH ROW EXECUTE FUNCTION charge();
INSERT INTO request VALUES ('v', 10), ('v', 20), ('w', 1);
INSERT INTO request VALUES ('v', 10), ('v', 20);
SELECT * FROM request;
BEGIN;
DECLARE c CURSOR FOR SELECT credits_deduct('v', n) ->> 'available' AS available FROM generate_series(1, 5) n;
FETCH 2 FROM c;
SELECT credits_balance('v') ->> 'available' AS available;
FETCH 1 FROM c;
CLOSE c;
COMMIT;
PREPARE d(text, int8) AS SELECT credits_deduct($1, $2) ->> 'available' AS available;
EXECUTE d('v', 1);
EXECUTE d('v', 1);
DEALLOCATE d;

SELECT user_id, count(*) = max(seq) AS gapless, max(seq) AS seq FROM credit_history GROUP BY 1 ORDER BY 1;
SELECT * FROM credits_verify();
DROP TABLE request;
DROP FUNCTION charge();
DROP EXTENSION credits;

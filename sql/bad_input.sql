-- Bad input is refused with the SQLSTATE that says why, and leaves nothing.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;
SELECT t.fingerprint() AS before \gset

-- Amounts, for every call that takes one.
SELECT amount, t.sqlstate(format('SELECT credits_deduct(''u'', %s)', amount)) AS deduct,
       t.sqlstate(format('SELECT credits_try_deduct(''u'', %s)', amount)) AS try_deduct,
       t.sqlstate(format('SELECT credits_add_purchased(''u'', %s, ''p'')', amount)) AS add_purchased,
       t.sqlstate(format('SELECT credits_adjust(''u'', ''monthly'', %s, ''x'')', amount)) AS adjust
  FROM unnest(ARRAY['NULL', '0', '9007199254740992', '9223372036854775807', '-9223372036854775808']) WITH ORDINALITY AS a(amount, n) ORDER BY n;
SELECT t.sqlstate($$SELECT credits_deduct('u', -1)$$) AS deduct, t.sqlstate($$SELECT credits_try_deduct('u', -1)$$) AS try_deduct,
       t.sqlstate($$SELECT credits_add_purchased('u', -1, 'p')$$) AS add_purchased;
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_deduct('u', 0)$$);
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_deduct('u', 9007199254740992)$$);
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_deduct('u', NULL)$$);
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_deduct('nobody', 1)$$);
-- no fractions, no text, no overflow on the way in
SELECT t.sqlstate($$SELECT credits_deduct('u', 1.5)$$) AS numeric, t.sqlstate($$SELECT credits_deduct('u', '1e3')$$) AS text,
       t.sqlstate($$SELECT credits_deduct('u', '9223372036854775808')$$) AS overflow;

-- User ids: 1 to 255 bytes, for every call that takes one.
SELECT f, t.sqlstate(format('SELECT %s', replace(f, 'USER', 'NULL::text'))) AS "null",
       t.sqlstate(format('SELECT %s', replace(f, 'USER', ''''''))) AS empty,
       t.sqlstate(format('SELECT %s', replace(f, 'USER', 'repeat(''x'', 256)'))) AS b256,
       t.sqlstate(format('SELECT %s', replace(f, 'USER', 'repeat(''é'', 128)'))) AS utf256
  FROM unnest(ARRAY['credits_deduct(USER, 1)', 'credits_try_deduct(USER, 1)', 'credits_add_purchased(USER, 1, ''p'')',
                    'credits_adjust(USER, ''monthly'', 1, ''x'')', 'credits_open_account(USER)', 'credits_set_plan(USER, ''free'')',
                    'credits_freeze(USER)', 'credits_unfreeze(USER)', 'credits_repair_clock(USER)', 'credits_balance(USER)',
                    'credits_history(USER)', 'credits_verify_account(USER)']) WITH ORDINALITY AS c(f, n) ORDER BY n;
-- not one of the refused calls has written
SELECT t.fingerprint() = :'before' AS nothing_written;
-- anything else is a name, byte for byte
SELECT octet_length(who) AS bytes, credits_open_account(who, 'free') ->> 'user_id' = who AS opened,
       credits_deduct(who, 1) ->> 'available' AS available
  FROM unnest(ARRAY['x', ' ', 'user_2NNEqL2nrIRdJ194ndJqAHwEfxC', 'USER_2NNEqL2nrIRdJ194ndJqAHwEfxC', repeat('x', 255), repeat('é', 127) || 'x',
                    'ünïcødé', 'u' || U&'\0308', '用户', '😀', E'a\nb\tc', 'it''s "quoted" \ and %s', '{}', 'null', '-1', ''' OR 1=1; --']) WITH ORDINALITY AS c(who, n) ORDER BY n;
SELECT count(*) AS accounts, count(*) FILTER (WHERE credits_balance(user_id) ->> 'user_id' = user_id) AS same FROM credit_account;

-- Texts: the optional ones may be NULL; keys, spenders and references are 1 to
-- 255 bytes; reason and metadata are free.
SELECT t.sqlstate($$SELECT credits_deduct('u', 1, NULL, NULL, NULL, '')$$) AS empty_spender,
       t.sqlstate($$SELECT credits_deduct('u', 1, NULL, NULL, NULL, repeat('s', 256))$$) AS long_spender,
       t.sqlstate($$SELECT credits_deduct('u', 1, NULL, '')$$) AS empty_key,
       t.sqlstate($$SELECT credits_deduct('u', 1, NULL, repeat('k', 256))$$) AS long_key;
SELECT r->>'available' AS available FROM credits_deduct('u', 1, '', NULL, 'null') r;
SELECT r->>'available' AS available FROM credits_deduct('u', 1, E'line\nline 😀', 'ключ', '[1, "two", {"three": null}]', '花子') r;
SELECT seq, reason, idempotency_key, metadata, spender FROM credits_history('u', NULL, 2);
SELECT idempotency_key = 'ключ' AS key, credits_deduct('u', 1, NULL, 'ключ', NULL, '花子') -> 'replayed' AS replayed
  FROM credit_history WHERE user_id = 'u' AND seq = 3;
-- 10 MB of metadata, and of a reason: stored, and part of the chain
SELECT credits_deduct('u', 1, NULL, 'big', jsonb_build_object('big', repeat('0123456789', 1048576))) ->> 'available' AS available;
SELECT credits_deduct('u', 1, repeat('0123456789', 1048576)) ->> 'available' AS available;
SELECT seq, length(reason) AS reason, length(metadata->>'big') AS metadata FROM credits_history('u', NULL, 2);
SELECT credits_deduct('u', 1, NULL, 'big') -> 'replayed' AS replayed;
-- very deep
SELECT credits_deduct('u', 1, NULL, NULL, (repeat('[', 1000) || repeat(']', 1000))::jsonb) ->> 'available' AS available;
SELECT count(*) AS bad FROM credits_verify();

-- Time zones and plans that do not exist.
SELECT left(zone, 20) AS zone, t.sqlstate(format('SELECT credits_open_account(''z'', ''free'', NULL, %L)', zone))
  FROM unnest(ARRAY['FOO5BAR', 'Mars/Base', 'localtime', 'posixrules', 'Factory', '', repeat('x', 10000), 'Europe/Berlin' || chr(10), 'europe berlin']) WITH ORDINALITY AS z(zone, n) ORDER BY n;
SELECT t.sqlstate($$SELECT credits_open_account('z', 'nope')$$) AS open, t.sqlstate($$SELECT credits_set_plan('u', 'nope')$$) AS set_plan,
       t.sqlstate($$SELECT credits_open_account('z', repeat('x', 100000))$$) AS long_plan;
SELECT count(*) AS opened FROM credit_account WHERE user_id = 'z';

-- Times at the end of the range.
SELECT t.sqlstate($$SELECT credits_define_plan('late', 1, effective_from => '294276-12-31 23:59:59+00')$$) AS plan,
       t.sqlstate($$SELECT credits_open_account('z1', 'free', '294276-12-31 23:59:59')$$) AS late_anchor,
       t.sqlstate($$SELECT credits_open_account('z2', 'free', '4713-01-01 00:00:00 BC')$$) AS early_anchor;
SELECT left(setting, 25) AS setting, t.sqlstate(format('SET credits.clock = %L', setting))
  FROM unnest(ARRAY['yesterday evening', 'infinity', '2026-02-30', '', '1969-12-31 23:59:59+00', '10000-01-01 00:00:00+00',
                    repeat('2026-01-10 ', 12), repeat('1 ', 40)]) setting;
SET credits.clock = '2026-01-10 00:00:00+00';

-- Inside savepoints that roll back: what remains is what was kept.
SELECT credits_open_account('s', 'free') ->> 'available' AS available;
BEGIN;
SAVEPOINT a;
SELECT credits_deduct('s', 1) ->> 'available' AS available;
SAVEPOINT b;
SELECT credits_deduct('s', 10) ->> 'available' AS available;
SELECT credits_add_purchased('s', 5, 'pay_s') ->> 'available' AS available;
ROLLBACK TO b;
SELECT credits_add_purchased('s', 7, 'pay_s') ->> 'available' AS available;
SELECT credits_deduct('s', 1000);
ROLLBACK TO b;
SELECT credits_add_purchased('s2', 7, 'pay_s2') ->> 'available' AS available;
ROLLBACK TO a;
SELECT credits_deduct('s', 2) ->> 'available' AS available;
COMMIT;
SELECT kind, amount, balance FROM t.history('s');
SELECT count(*) AS payments FROM credit_payment WHERE payment_ref LIKE 'pay_s%';
DO $$
BEGIN
    FOR n IN 1 .. 200 LOOP
        BEGIN
            PERFORM credits_deduct('s', 1), credits_add_purchased('s', 1, 'pay ' || n % 7);
            IF n % 3 > 0 THEN
                RAISE EXCEPTION 'undo' USING ERRCODE = 'TT000';
            END IF;
        EXCEPTION WHEN SQLSTATE 'TT000' OR SQLSTATE 'UC001' THEN
            NULL;
        END;
    END LOOP;
END $$;
-- 66 of the 200 were kept, with the 7 payments credited once
SELECT credits_balance('s') ->> 'available' AS available, credits_balance('s') ->> 'seq' AS seq;
-- a prepared transaction's worth of calls in one
BEGIN;
SELECT count(credits_deduct('u', 1)) FROM generate_series(1, 50);
ROLLBACK;
SELECT credits_balance('u') ->> 'available' AS available;

SELECT count(*) AS bad FROM credits_verify();
DROP EXTENSION credits;

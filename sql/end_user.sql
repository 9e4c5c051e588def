-- An end user sees the account of the user that request.jwt.claims names, and no other account.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free')) FROM unnest(ARRAY['user_2abc', 'user_2abd']) u;
SELECT credits_deduct('user_2abc', 3, 'image', 'k1', '{"cost": 0.02}', 'alice') ->> 'available' AS available;

-- Nobody: no claims, no sub that is a text.  Claims that are no JSON are an error.
SELECT credits_current_user_id() IS NULL AS nobody, credits_my_balance() IS NULL AS no_balance,
       (SELECT count(*) FROM credits_my_history()) AS rows;
CREATE FUNCTION pg_temp.me(claims text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.jwt.claims', claims, false);
    RETURN coalesce(credits_current_user_id(), 'nobody');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
SELECT claims, pg_temp.me(claims)
  FROM unnest(ARRAY['', '{}', '{"sub": null}', '{"sub": ""}', '{"sub": 7}', '{"sub": {"sub": "user_2abc"}}', '{"Sub": "user_2abc"}',
                    '[]', '["sub", "user_2abc"]', '"user_2abc"', 'null', 'user_2abc', '{"sub": "user_2abc"',
                    '{"sub": "user_2abc"}', '{"role": "authenticated", "sub": "user_2abd", "aud": {"sub": "user_2abc"}}']) WITH ORDINALITY AS c(claims, n) ORDER BY n;

-- Somebody.
SET request.jwt.claims = '{"sub": "user_2abc", "role": "authenticated"}';
SELECT credits_current_user_id();
SELECT jsonb_pretty(credits_my_balance());
SELECT * FROM credits_my_history();
SELECT seq FROM credits_my_history(2);
SELECT seq FROM credits_my_history(page_size => 1);
SELECT t.sqlstate('SELECT * FROM credits_my_history(page_size => 0)') AS zero, t.sqlstate('SELECT * FROM credits_my_history(page_size => 1001)') AS many;
-- what is due is applied
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT credits_my_balance() ->> 'monthly' AS monthly;

-- An unknown one.
SET request.jwt.claims = '{"sub": "user_none"}';
SELECT sqlstate FROM t.refused('SELECT credits_my_balance()');
SELECT t.sqlstate('SELECT * FROM credits_my_history()');

-- The end_user preset is just that: the role can call the _my_ functions,
-- and reads no table, no view, and no other user.
CREATE ROLE regress_credits_end_user;
SELECT credits_grant_role('regress_credits_end_user', 'end_user') IS NOT NULL AS granted;
SET SESSION AUTHORIZATION regress_credits_end_user;
SET request.jwt.claims = '{"sub": "user_2abd"}';
SELECT credits_current_user_id(), credits_my_balance() ->> 'available' AS available;
SELECT seq, kind, available FROM credits_my_history();
SELECT call, t.sqlstate(call)
  FROM unnest(ARRAY[
    $$SELECT credits_balance('user_2abd')$$,
    $$SELECT * FROM credits_history('user_2abd')$$,
    $$SELECT credits_deduct('user_2abd', 1)$$,
    $$SELECT credits_add_purchased('user_2abd', 1, 'p')$$,
    $$SELECT * FROM credits_verify_account('user_2abd')$$,
    $$SELECT * FROM credits_verify()$$,
    $$SELECT * FROM credit_account$$,
    $$SELECT * FROM credit_balance$$,
    $$SELECT * FROM credit_history$$,
    $$SELECT * FROM credit_plan$$,
    $$SELECT user_id FROM credit_account$$
  ]) WITH ORDINALITY AS c(call, n) ORDER BY n;
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_credits_end_user;
DROP ROLE regress_credits_end_user;
DROP EXTENSION credits;

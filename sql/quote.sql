-- credits_quote: what a deduction would do.  credits_balances: many balances at once.  And
-- how long a balance holds.  test/t/045_quote.pl compares random quotes with deductions.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10, low_balance_threshold => 5) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'seq' AS seq,
       credits_add_purchased('u', 5, 'pay_1') ->> 'seq' AS seq,
       credits_grant('u', 4, '2026-01-25 00:00Z') ->> 'seq' AS seq,
       credits_grant('u', 4, '2026-01-24 00:00Z') ->> 'seq' AS seq;
SELECT t.fingerprint() AS before \gset

-- From which buckets and grants, and what would be left.
SELECT jsonb_pretty(credits_quote('u', 15));
SELECT jsonb_pretty(credits_quote('u', 24));
CREATE FUNCTION pg_temp.quoted(who text, amount int8, OUT ok text, OUT deltas text, OUT grants text, OUT left_ text, OUT shortfall text, OUT low text) LANGUAGE sql AS $$
    SELECT q ->> 'ok', concat_ws(' ', q ->> 'monthly_delta', q ->> 'granted_delta', q ->> 'purchased_delta', q ->> 'owed_delta'),
           (SELECT string_agg((g ->> 'seq') || ':' || (g ->> 'credits'), ' ') FROM jsonb_array_elements(q -> 'grants') g),
           concat_ws(' ', q ->> 'monthly', q ->> 'granted', q ->> 'purchased', q ->> 'available', q ->> 'owed'), q ->> 'shortfall', q ->> 'low'
      FROM credits_quote(who, amount) q $$;
SELECT amount, q.* FROM unnest('{1,10,11,14,15,18,19,23,24,9007199254740991}'::int8[]) amount, pg_temp.quoted('u', amount) q;
-- nothing is written, nothing is reserved
SELECT t.fingerprint() = :'before' AS nothing_written;
SELECT credits_balance('u') -> 'available' AS available;

-- The receipt and the refusal say the same, field by field.
BEGIN;
SELECT credits_quote('u', 20) AS q \gset
SELECT credits_try_deduct('u', 20) AS r \gset
SELECT r.key FROM jsonb_each(:'r'::jsonb) r WHERE :'q'::jsonb -> r.key IS DISTINCT FROM r.value ORDER BY 1;
SELECT allocations FROM credit_history WHERE user_id = 'u' AND kind = 'deduct';
ROLLBACK;
SELECT credits_quote('u', 24) @> credits_try_deduct('u', 24) AS same_refusal;

-- With an overdraft: what the user would owe, and what is missing beyond it.
BEGIN;
SELECT credits_set_overdraft('u', 6) -> 'overdraft_limit' AS overdraft_limit;
SELECT amount, q.* FROM unnest('{23,24,29,30,35}'::int8[]) amount, pg_temp.quoted('u', amount) q;
SELECT credits_deduct('u', 27) -> 'owed' AS owed;
SELECT amount, q.* FROM unnest('{2,3,10}'::int8[]) amount, pg_temp.quoted('u', amount) q;
SELECT credits_add_purchased('u', 8, 'pay_2') ->> 'ok' AS ok;
SELECT q.* FROM pg_temp.quoted('u', 10) q;
-- a chargeback makes the user owe more than the limit
SELECT credits_revoke_purchase('pay_2') -> 'owed' AS owed, credits_revoke_purchase('pay_1') -> 'owed' AS owed;
SELECT q.* FROM pg_temp.quoted('u', 1) q;
SELECT credits_add_purchased('u', 3, 'pay_3') ->> 'ok' AS ok;
SELECT q.* FROM pg_temp.quoted('u', 1) q;
SELECT credits_add_purchased('u', 1, 'pay_4') ->> 'ok' AS ok;
SELECT q.* FROM pg_temp.quoted('u', 1) q;
ROLLBACK;

-- What is due is applied: the end of a grant, then the reset.
SET credits.clock = '2026-01-24 00:00:00+00';
SELECT q.* FROM pg_temp.quoted('u', 19) q;
SET credits.clock = '2026-02-01 00:00:00+00';
SELECT q.* FROM pg_temp.quoted('u', 12) q;
SELECT credits_quote('u', 1) ->> 'seq' AS seq, credits_quote('u', 1) ->> 'as_of' AS as_of, credits_quote('u', 1) ->> 'valid_until' AS valid_until;
SET credits.clock = '2026-01-10 00:00:00+00';

-- Refused for another reason than the balance.  The error comes as the answer.
BEGIN;
SELECT credits_freeze('u') ->> 'ok' AS ok;
SELECT q ->> 'ok' AS ok, q ->> 'error' AS error, q ->> 'sqlstate' AS sqlstate, q ->> 'status' AS status, q ->> 'shortfall' AS shortfall, q ? 'required' AS required FROM credits_quote('u', 1) q;
SELECT q ->> 'shortfall' AS shortfall FROM credits_quote('u', 25) q;
SELECT credits_close_account('u') ->> 'ok' AS ok;
SELECT q ->> 'ok' AS ok, q ->> 'error' AS error, q ->> 'sqlstate' AS sqlstate, q ->> 'status' AS status FROM credits_quote('u', 1) q;
ROLLBACK;
BEGIN;
ALTER TABLE credit_account DISABLE TRIGGER credits_guard;
UPDATE credit_account SET time_zone = 'Asia/Nowhere' WHERE user_id = 'u';
SELECT q ->> 'ok' AS ok FROM credits_quote('u', 1) q;
SET LOCAL credits.clock = '2026-02-10 00:00:00+00';
SELECT q ->> 'ok' AS ok, q ->> 'error' AS error, q ->> 'sqlstate' AS sqlstate, q ->> 'time_zone' AS time_zone, q ->> 'as_of' AS as_of, q ->> 'valid_until' AS valid_until FROM credits_quote('u', 1) q;
ROLLBACK;

-- Errors that are raised.
SELECT call, t.sqlstate('SELECT ' || call) FROM unnest(ARRAY[
    $$credits_quote('nobody', 1)$$, $$credits_quote(NULL, 1)$$, $$credits_quote('u', NULL)$$, $$credits_quote('', 1)$$, $$credits_quote(repeat('u', 256), 1)$$,
    $$credits_quote('u', 0)$$, $$credits_quote('u', -1)$$, $$credits_quote('u', 9007199254740992)$$,
    $$credits_balances(NULL)$$, $$credits_balances('{u,NULL}')$$, $$credits_balances('{u,""}')$$, $$credits_balances(ARRAY[repeat('u', 256)])$$,
    $$credits_balances('{{u},{v}}')$$, $$credits_balances(array_fill('u'::text, ARRAY[10001]))$$]) call;

-- Many balances: in the order of the input, each for itself, unknown users as well.
SELECT credits_open_account('v', 'free') ->> 'seq' AS seq, credits_add_purchased('w', 7, 'pay_w') ->> 'seq' AS seq;
SELECT b ->> 'user_id' AS user_id, b ->> 'available' AS available, b ->> 'error' AS error FROM credits_balances('{w,nobody,u,v,w}') b;
SELECT credits_balances('{nobody}');
SELECT count(*) FROM credits_balances('{}');
SELECT b.n, b.b = credits_balance(u.id) AS same FROM unnest('{v,u,w}'::text[]) WITH ORDINALITY u(id, n) JOIN credits_balances('{v,u,w}') WITH ORDINALITY b(b, n) USING (n);
SELECT count(*), count(DISTINCT b) FROM credits_balances(array_fill('u'::text, ARRAY[10000])) b;
-- what is due is applied, for all at one time
SET credits.clock = '2026-02-01 00:00:00+00';
SELECT b ->> 'user_id' AS user_id, b ->> 'available' AS available, b ->> 'period' AS period, b ->> 'as_of' AS as_of FROM credits_balances('{v,u,w}') b;
SET credits.clock = '2026-01-10 00:00:00+00';
SET credits.default_plan = 'free';
SELECT b ->> 'user_id' AS user_id, b ->> 'available' AS available, b ->> 'seq' AS seq FROM credits_balances('{nobody,u}') b;
SELECT q.* FROM pg_temp.quoted('nobody', 7) q;
SET credits.default_plan = 'no such plan';
SELECT t.sqlstate($$SELECT credits_balances('{nobody}')$$), t.sqlstate($$SELECT credits_quote('nobody', 1)$$);
RESET credits.default_plan;

-- How long a balance holds: to the next end of a grant, a hold or the period; no end: NULL.
SELECT b ->> 'user_id' AS user_id, b ->> 'valid_until' AS valid_until FROM credits_balances('{u,v,w}') b;
SELECT user_id, as_of, valid_until FROM credit_balance ORDER BY 1;
BEGIN;
SELECT credits_hold('v', 3, '1 hour') ->> 'ok' AS ok;
SELECT credits_balance('v') ->> 'valid_until' AS valid_until;
SELECT credits_release('v', 2) ->> 'ok' AS ok;
SELECT credits_balance('v') ->> 'valid_until' AS valid_until;
-- a hold has been released while another goes on: asked at its end, the balance says the rest
SELECT credits_hold('v', 3, '1 hour') ->> 'ok' AS ok, credits_hold('v', 3, '2 hours') ->> 'ok' AS ok;
SELECT credits_release('v', 4) ->> 'ok' AS ok;
SELECT credits_balance('v') ->> 'valid_until' AS valid_until;
SET LOCAL credits.clock = '2026-01-10 01:00:00+00';
SELECT credits_balance('v') ->> 'held' AS held, credits_balance('v') ->> 'valid_until' AS valid_until;
ROLLBACK;
-- a grant that is spent ends nothing; a silent end of a period changes no credits
BEGIN;
SELECT credits_grant('w', 2, '2026-01-12 00:00Z') ->> 'ok' AS ok;
SELECT credits_balance('w') ->> 'valid_until' AS valid_until;
SELECT credits_deduct('w', 2) -> 'granted' AS granted;
SELECT credits_balance('w') ->> 'valid_until' AS valid_until;
ROLLBACK;
BEGIN;
SELECT credits_deduct('v', 10) -> 'monthly' AS monthly, credits_set_plan('v', NULL) -> 'plan' AS plan;
SELECT next_event_at FROM credit_account WHERE user_id = 'v';
SET LOCAL credits.clock = '2026-03-10 00:00:00+00';
SELECT b ->> 'period' AS period, b ->> 'as_of' AS as_of, b ->> 'valid_until' AS valid_until FROM credits_balance('v') b;
SELECT as_of, valid_until FROM credit_balance WHERE user_id = 'v';
ROLLBACK;
-- a balance of the past
SELECT b ->> 'seq' AS seq, b ->> 'as_of' AS as_of, b ->> 'valid_until' AS valid_until FROM credits_balance_at('u', '2026-01-10 00:00Z') b;

-- Two balances of a user: the one with the later (seq, as_of) is the newer one.
SELECT credits_balance('v') AS first \gset
SET credits.clock = '2026-02-01 00:00:00+00';
SELECT credits_balance('v') AS second \gset
SELECT credits_deduct('v', 1) -> 'seq' AS seq;
SELECT credits_balance('v') AS third \gset
SELECT b ->> 'seq' AS seq, b ->> 'as_of' AS as_of, b ->> 'available' AS available
  FROM (VALUES (:'third'::jsonb), (:'first'), (:'second')) x(b) ORDER BY (b ->> 'seq')::int8, (b ->> 'as_of')::timestamptz;
DROP EXTENSION credits;

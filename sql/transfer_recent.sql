-- Credits that were bought so lately that a chargeback can still come: a transfer reports them, and, by a
-- setting, refuses them.  Else the giver would owe what the receiver keeps.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-01 00:00Z';
SELECT name, setting, unit, context FROM pg_settings WHERE name IN ('credits.chargeback_days', 'credits.refuse_recent_transfers') ORDER BY 1;
CREATE FUNCTION t.recent(r jsonb) RETURNS text
LANGUAGE sql AS $$ SELECT concat(r->>'purchased', ' recent ', coalesce(r->>'recently_purchased', 'none')) $$;

CALL t.story($$
    01-01 | credits_open_account('to') | 0/0/0
          | credits_add_purchased('u', 100, 'u1') | 0/0/100
    -- after 120 days nothing comes back any more: on the last instant it does
    04-30 23:59:59.999999 | t.recent(credits_transfer('u', 'to', 10)) | 90 recent 10
    05-01 00:00:00.000001 | t.recent(credits_transfer('u', 'to', 10)) | 80 recent 0
    -- the older credits go first
          | credits_add_purchased('u', 50, 'u2') | 0/0/130
          | t.recent(credits_transfer('u', 'to', 70)) | 60 recent 0
          | t.recent(credits_transfer('u', 'to', 20, idempotency_key => 'k')) | 40 recent 10
          | t.recent(credits_transfer('u', 'to', 20, idempotency_key => 'k')) | 40 recent 10
    -- what was revoked can not come back once more
          | credits_revoke_purchase('u2', 30) | 0/0/10
          | t.recent(credits_transfer('u', 'to')) | 0 recent 10
    -- credits that were received are not bought: as if they were the older ones
          | t.recent(credits_transfer('to', 'u', 100)) | 20 recent 0
    -- a pack that ends is not transferred, and does not count
          | credits_grant('u', 40, '2026-12-01 00:00Z', payment_ref => 'u3') | 0/40/100
          | t.recent(credits_transfer('u', 'to', 80)) | 20 recent 0
$$);
SELECT * FROM t.told;

-- Refused: nothing moves, and no key is kept.  Older credits may go.
SET credits.refuse_recent_transfers = on;
CALL t.story($$
    05-02 | credits_add_purchased('v', 30, 'v1') | 0/0/30
    -- all of what was bought on 1 May and not revoked can still come back, wherever it went
    05-03 | credits_transfer('u', 'v', 20) | 55000
    09-10 | credits_add_purchased('v', 5, 'v2') | 0/0/35
          | credits_transfer('v', 'to', 31, idempotency_key => 'k') | 55000
          | credits_transfer('v', 'to') | 55000
          | t.recent(credits_transfer('v', 'to', 30, idempotency_key => 'k')) | 5 recent 0
          | credits_transfer('v', 'to', 1) | 55000
          | credits_balance('v') | 0/0/5
          | credits_balance('to') | 0/0/130
$$);
SELECT * FROM t.told;
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_transfer('v', 'to', 4)$$);

-- 0 days: no chargeback comes, and nothing is recent.
SET credits.chargeback_days = 0;
SELECT t.recent(credits_transfer('v', 'to', 4)) AS no_chargebacks;
SET credits.chargeback_days = 1;
SELECT sqlstate FROM t.refused($$SELECT credits_transfer('v', 'to', 1)$$);
RESET credits.chargeback_days;
SET credits.refuse_recent_transfers = off;
SELECT t.recent(credits_transfer('v', 'to', 1)) AS reported;
SELECT sqlstate FROM t.refused('SET credits.chargeback_days = -1');
CREATE ROLE regress_credits_transfer;
SET ROLE regress_credits_transfer;
SELECT sqlstate FROM t.refused('SET credits.chargeback_days = 0');
SELECT sqlstate FROM t.refused('SET credits.refuse_recent_transfers = off');
RESET ROLE;
DROP ROLE regress_credits_transfer;

-- A transfer is one instant for both, after the last rows of both, and the pair is exact: the sum of both
-- is the same at every time.
SET credits.clock = '2026-09-10 12:01Z';
SELECT credits_deduct('to', 1) ->> 'ok' AS ok;
SET credits.clock = '2026-09-10 12:00Z';
SELECT credits_transfer('u', 'to', 3) ->> 'ok' AS ok;
SELECT user_id, kind, amount, created_at, effective_at FROM credit_history WHERE effective_at >= '2026-09-10 12:00Z' AND kind LIKE 'transfer%' ORDER BY 1;
SET credits.clock = '2026-09-12 00:00Z';
SELECT at, (credits_balance_at('u', at) ->> 'purchased')::int8 + (credits_balance_at('to', at) ->> 'purchased')::int8 AS together
  FROM (SELECT DISTINCT effective_at + d * interval '1 us' AS at FROM credit_history, generate_series(-1, 1) d
         WHERE user_id IN ('u', 'to') AND effective_at >= '2026-09-10 12:00Z') t ORDER BY 1;
SELECT * FROM credits_verify();
DROP FUNCTION t.recent(jsonb);
DROP EXTENSION credits;

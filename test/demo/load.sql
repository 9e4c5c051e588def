-- The demo's data as tables, and one list of all that happens in time order.
CREATE SCHEMA demo;
SET search_path = demo, public;

CREATE TABLE plan (
    n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, plan text NOT NULL,
    monthly_credits bigint, cycle text, rollover_limit bigint, low_balance_threshold bigint,
    effective_from timestamptz);
CREATE TABLE account (
    n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, user_id text NOT NULL,
    plan text, cycle_anchor timestamp, time_zone text);
CREATE TABLE payment (
    n bigint GENERATED ALWAYS AS IDENTITY, received_at timestamptz NOT NULL, event_id text NOT NULL,
    type text NOT NULL, created bigint NOT NULL, payment_ref text NOT NULL, user_id text NOT NULL,
    credits bigint NOT NULL, amount_cents bigint NOT NULL);
CREATE TABLE usage (
    n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, user_id text NOT NULL,
    credits bigint NOT NULL, feature text NOT NULL, idempotency_key text NOT NULL, spender text);
CREATE TABLE admin (
    n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, action text NOT NULL,
    user_id text NOT NULL, plan text, moment text, bucket text, delta bigint, reason text,
    idempotency_key text);
CREATE TABLE story (n bigint GENERATED ALWAYS AS IDENTITY, user_id text NOT NULL, title text NOT NULL);

\copy plan (at, plan, monthly_credits, cycle, rollover_limit, low_balance_threshold, effective_from) FROM 'test/demo/data/plans.csv' (FORMAT csv, HEADER)
\copy account (at, user_id, plan, cycle_anchor, time_zone) FROM 'test/demo/data/accounts.csv' (FORMAT csv, HEADER)
\copy payment (received_at, event_id, type, created, payment_ref, user_id, credits, amount_cents) FROM 'test/demo/data/payments.csv' (FORMAT csv, HEADER)
\copy usage (at, user_id, credits, feature, idempotency_key, spender) FROM 'test/demo/data/usage.csv' (FORMAT csv, HEADER)
\copy admin (at, action, user_id, plan, moment, bucket, delta, reason, idempotency_key) FROM 'test/demo/data/admin.csv' (FORMAT csv, HEADER)
\copy story (user_id, title) FROM 'test/demo/data/stories.csv' (FORMAT csv, HEADER)

-- What the app does about each: which call it makes, with which arguments.
CREATE TABLE event AS
SELECT row_number() OVER (ORDER BY at, source, n) AS id, e.*
  FROM (SELECT at, 1 AS source, n, 'define_plan' AS call, NULL AS user_id, monthly_credits AS amount,
               plan, NULL::timestamp AS cycle_anchor, NULL AS time_zone, NULL AS payment_ref,
               NULL AS moment, NULL AS bucket, NULL AS reason, NULL AS idempotency_key, NULL AS spender,
               jsonb_build_object('cycle', cycle, 'rollover_limit', rollover_limit,
                   'low_balance_threshold', low_balance_threshold, 'effective_from', effective_from) AS more
          FROM plan
        UNION ALL
        SELECT at, 2, n, 'open_account', user_id, NULL, plan, cycle_anchor, time_zone, NULL, NULL, NULL,
               NULL, NULL, NULL, NULL
          FROM account
        UNION ALL
        SELECT at, 3, n, action, user_id, delta, plan, NULL, NULL, NULL, moment, bucket, reason,
               idempotency_key, NULL, NULL
          FROM admin
        UNION ALL
        -- A declined card is an event like the others, but not one to credit.
        SELECT received_at, 4, n,
               CASE WHEN type IN ('invoice.paid', 'payment_intent.succeeded', 'checkout.session.completed')
                    THEN 'add_purchased' ELSE 'ignore' END,
               user_id, credits, NULL, NULL, NULL, payment_ref, NULL, NULL, type, NULL, NULL,
               jsonb_build_object('event_id', event_id)
          FROM payment
        UNION ALL
        -- Suggestions while typing are nice to have: no credits, no suggestion, no error.
        SELECT at, 5, n, CASE feature WHEN 'suggest' THEN 'try_deduct' ELSE 'deduct' END,
               user_id, credits, NULL, NULL, NULL, NULL, NULL, NULL, feature, idempotency_key, spender, NULL
          FROM usage) e;
ALTER TABLE event ADD PRIMARY KEY (id);
CREATE INDEX ON event (at);
CREATE INDEX ON event (user_id, id);

-- What came of it.
CREATE TABLE outcome (
    id bigint PRIMARY KEY, verdict text NOT NULL, code text, message text, answer jsonb);

CREATE TABLE timing (what text, seconds numeric, events bigint);
ANALYZE;

-- What must hold whatever is called: random calls against a model that knows
-- nothing but arithmetic, and invariants of the rows that they leave.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS credits;
SET LOCAL timezone = 'UTC';
SELECT plan(17);

-- The model: one period a month, nothing rolls over.  Twins get the same calls
-- at the same times; the second is also swept now and then.
CREATE TEMP TABLE model (who text PRIMARY KEY, monthly int8, purchased int8, period timestamptz);
CREATE TEMP TABLE difference (step int, who text, what text, want text, got text);
CREATE TEMP TABLE tally (what text);

CREATE FUNCTION pg_temp.play(steps int) RETURNS void LANGUAGE plpgsql AS $$
<<v>>
DECLARE
    clock timestamptz := '2026-01-01 00:00:00+00';
    n int;
    base text;
    who text;
    m model;
    amount int8;
    kind text;
    want text;
    got text;
    r jsonb;
    b jsonb;
    key text;
BEGIN
    PERFORM set_config('credits.clock', clock::text, true);
    PERFORM credits_define_plan('model', 100);
    FOR n IN 1 .. 5 LOOP
        FOREACH who IN ARRAY ARRAY['lazy ' || n, 'swept ' || n] LOOP
            PERFORM credits_open_account(who, 'model');
            INSERT INTO model VALUES (who, 100, 0, clock);
        END LOOP;
    END LOOP;
    FOR step IN 1 .. steps LOOP
        clock := clock + random() ^ 8 * interval '40 days';
        PERFORM set_config('credits.clock', clock::text, true);
        IF random() < 0.1 THEN
            -- the sweep meets the swept twins only: the others are ahead of the clock
            PERFORM credits_reset_due(1);
        END IF;
        base := 1 + floor(random() * 5);
        kind := (ARRAY['deduct', 'deduct', 'deduct', 'try_deduct', 'try_deduct', 'purchase', 'adjust_up', 'adjust_down', 'replay'])[1 + floor(random() * 9)::int];
        amount := 1 + floor(random() ^ 2 * 90);
        key := CASE WHEN random() < 0.5 THEN 'key ' || step END;
        FOREACH who IN ARRAY ARRAY['lazy ' || base, 'swept ' || base] LOOP
            SELECT * INTO m FROM model WHERE model.who = v.who;
            IF date_trunc('month', clock) > m.period THEN
                m.period := date_trunc('month', clock);
                m.monthly := 100;
            END IF;
            want := '00000';
            got := '00000';
            BEGIN
                CASE kind
                    WHEN 'deduct' THEN
                        want := CASE WHEN m.monthly + m.purchased >= amount THEN '00000' ELSE 'UC001' END;
                        r := credits_deduct(who, amount, NULL, key);
                    WHEN 'try_deduct' THEN
                        want := CASE WHEN m.monthly + m.purchased >= amount THEN '00000' ELSE 'refused' END;
                        r := credits_try_deduct(who, amount, NULL, key);
                        got := CASE WHEN (r->>'ok')::bool THEN '00000' ELSE 'refused' END;
                    WHEN 'purchase' THEN
                        r := credits_add_purchased(who, amount, 'pay ' || who || step, NULL, key);
                    WHEN 'adjust_up' THEN
                        r := credits_adjust(who, 'monthly', amount, 'up', key);
                    WHEN 'adjust_down' THEN
                        want := CASE WHEN m.purchased >= amount THEN '00000' ELSE 'UC001' END;
                        r := credits_adjust(who, 'purchased', -amount, 'down', key);
                    WHEN 'replay' THEN
                        -- the latest keyed deduction of this user, sent again
                        SELECT credits_deduct(h.user_id, h.amount, NULL, h.idempotency_key) INTO r
                          FROM (SELECT * FROM credit_history c WHERE c.user_id = v.who AND c.kind = 'deduct' AND c.idempotency_key IS NOT NULL
                                 ORDER BY c.seq DESC LIMIT 1) h;
                        IF NOT coalesce((r->>'replayed')::bool, true) THEN
                            INSERT INTO difference VALUES (step, who, 'replay', 'true', 'false');
                        END IF;
                END CASE;
            EXCEPTION WHEN SQLSTATE 'UC001' THEN
                got := 'UC001';
            END;
            INSERT INTO tally VALUES (kind || ' ' || got);
            IF want IS DISTINCT FROM got THEN
                INSERT INTO difference VALUES (step, who, kind, want, got);
            END IF;
            IF want = '00000' THEN
                IF kind IN ('deduct', 'try_deduct') THEN
                    m.purchased := m.purchased - greatest(amount - m.monthly, 0);
                    m.monthly := greatest(m.monthly - amount, 0);
                ELSIF kind = 'purchase' THEN
                    m.purchased := m.purchased + amount;
                ELSIF kind = 'adjust_up' THEN
                    m.monthly := m.monthly + amount;
                ELSIF kind = 'adjust_down' THEN
                    m.purchased := m.purchased - amount;
                END IF;
            END IF;
            UPDATE model SET monthly = m.monthly, purchased = m.purchased, period = m.period WHERE model.who = v.who;
            b := credits_balance(who);
            IF (b->>'monthly')::int8 <> m.monthly OR (b->>'purchased')::int8 <> m.purchased
               OR (b->>'available')::int8 <> m.monthly + m.purchased THEN
                INSERT INTO difference VALUES (step, who, 'balance after ' || kind, concat_ws('/', m.monthly, m.purchased), b::text);
            END IF;
        END LOOP;
    END LOOP;
    PERFORM set_config('credits.clock', (clock + interval '2 months')::text, true);
END $$;
SELECT setseed(0.42);
SELECT pg_temp.play(1500);
CREATE FUNCTION pg_temp.rows() RETURNS SETOF credit_history LANGUAGE sql STABLE AS
    $$ SELECT * FROM credit_history WHERE user_id LIKE 'lazy %' OR user_id LIKE 'swept %' $$;

SELECT is_empty('SELECT * FROM difference', 'every call does what the model does');
SELECT bag_eq('SELECT DISTINCT what FROM tally',
              $$VALUES ('deduct 00000'), ('deduct UC001'), ('try_deduct 00000'), ('try_deduct refused'), ('purchase 00000'),
                       ('adjust_up 00000'), ('adjust_down 00000'), ('adjust_down UC001'), ('replay 00000')$$, 'everything has happened');
SELECT cmp_ok((SELECT count(*) FROM pg_temp.rows() WHERE kind = 'reset' AND run_id IS NOT NULL), '>', 0::bigint, 'the sweep has reset some');
SELECT cmp_ok((SELECT count(*) FROM pg_temp.rows() WHERE kind = 'reset' AND run_id IS NULL), '>', 0::bigint, 'calls have reset others');

-- Twins end alike, swept or not.
SELECT set_eq($$SELECT substr(user_id, 6), monthly, purchased, next_reset_at FROM credit_balance WHERE user_id LIKE 'lazy %'$$,
              $$SELECT substr(user_id, 7), monthly, purchased, next_reset_at FROM credit_balance WHERE user_id LIKE 'swept %'$$,
              'twins have the same');
SELECT lives_ok($$SELECT credits_reset_due()$$, 'a sweep of all');
SELECT set_eq($$SELECT substr(user_id, 6), monthly, purchased, next_reset_at, last_monthly_reset FROM credit_account WHERE user_id LIKE 'lazy %'$$,
              $$SELECT substr(user_id, 7), monthly, purchased, next_reset_at, last_monthly_reset FROM credit_account WHERE user_id LIKE 'swept %'$$,
              'and still the same when everything due is written');

-- The rows.
SELECT is_empty($$SELECT user_id FROM pg_temp.rows() GROUP BY 1 HAVING min(seq) <> 1 OR max(seq) <> count(*)$$, 'seq has no gaps');
SELECT is_empty($$SELECT user_id, seq FROM (SELECT *, lag(monthly, 1, 0::int8) OVER w AS m, lag(granted, 1, 0::int8) OVER w AS g, lag(purchased, 1, 0::int8) OVER w AS p
                    FROM pg_temp.rows() WINDOW w AS (PARTITION BY user_id ORDER BY seq)) h
                   WHERE m + monthly_delta <> monthly OR g + granted_delta <> granted OR p + purchased_delta <> purchased$$,
                'every balance is the one before it and the delta');
SELECT is_empty($$SELECT user_id, seq FROM pg_temp.rows() WHERE kind = 'deduct' AND (monthly_delta + granted_delta + purchased_delta <> -amount
                   OR monthly_delta > 0 OR purchased_delta > 0 OR purchased_delta < 0 AND monthly > 0)$$, 'a deduction takes its amount, monthly first');
SELECT is_empty($$SELECT user_id, seq FROM pg_temp.rows() WHERE kind = 'purchase' AND (purchased_delta <> amount OR monthly_delta <> 0)$$,
                'a purchase gives its amount to its bucket');
SELECT is_empty($$SELECT user_id, seq FROM pg_temp.rows() WHERE kind = 'reset' AND (purchased_delta <> 0 OR monthly <> 100 OR amount <> 100
                   OR effective_at <> date_trunc('month', effective_at) OR monthly_delta <> amount - coalesce(expired, 0))$$, 'a reset replaces the monthly credits, at a boundary');
SELECT is_empty($$SELECT user_id, date_trunc('month', effective_at) FROM pg_temp.rows() WHERE kind = 'reset' GROUP BY 1, 2 HAVING count(*) > 1$$,
                'no boundary is applied twice');
SELECT is_empty($$SELECT user_id, seq FROM (SELECT *, lag(effective_at) OVER (PARTITION BY user_id ORDER BY seq) AS e FROM pg_temp.rows()) h WHERE e > effective_at$$,
                'time never goes back');
SELECT is_empty($$SELECT user_id, idempotency_key FROM pg_temp.rows() WHERE idempotency_key IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1$$,
                'a key is used once');
SELECT is_empty($$SELECT payment_ref FROM credit_payment p LEFT JOIN pg_temp.rows() h USING (user_id, seq, payment_ref, amount) WHERE h.hash IS NULL AND p.user_id ~ '^(lazy|swept) '$$,
                'a payment is its row');
SELECT is_empty('SELECT * FROM credits_verify()', 'verification finds nothing');

SELECT * FROM finish();
ROLLBACK;

-- Replay what happened in a stretch of time: one call an event, as the app
-- made it, with the ledger's clock at the moment at which it came.
CREATE PROCEDURE demo.replay(since timestamptz, until timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    e        demo.event;
    answer   jsonb;
    verdict  text;
    code     text;
    message  text;
    detail   text;
    n        bigint := 0;
    started  timestamptz := clock_timestamp();
BEGIN
    FOR e IN SELECT * FROM demo.event WHERE at >= since AND at < until ORDER BY id LOOP
        PERFORM set_config('credits.clock', e.at::text, true);
        answer := NULL; verdict := NULL; code := NULL; message := NULL;
        BEGIN
            CASE e.call
            WHEN 'deduct' THEN
                answer := credits_deduct(e.user_id, e.amount, e.reason, e.idempotency_key,
                                         spender => e.spender);
            WHEN 'try_deduct' THEN
                answer := credits_try_deduct(e.user_id, e.amount, e.reason, e.idempotency_key,
                                             spender => e.spender);
            WHEN 'add_purchased' THEN
                answer := credits_add_purchased(e.user_id, e.amount, e.payment_ref,
                                                metadata => e.more);
            WHEN 'open_account' THEN
                answer := credits_open_account(e.user_id, e.plan, e.cycle_anchor::text, e.time_zone);
            WHEN 'set_plan' THEN
                answer := credits_set_plan(e.user_id, e.plan, e.moment, e.reason, e.idempotency_key);
            WHEN 'adjust' THEN
                answer := credits_adjust(e.user_id, e.bucket, e.amount, e.reason, e.idempotency_key);
            WHEN 'freeze' THEN
                answer := credits_freeze(e.user_id, e.reason);
            WHEN 'unfreeze' THEN
                answer := credits_unfreeze(e.user_id, e.reason);
            WHEN 'define_plan' THEN
                answer := credits_define_plan(e.plan, e.amount, e.more ->> 'cycle',
                                              (e.more ->> 'rollover_limit')::bigint,
                                              (e.more ->> 'low_balance_threshold')::bigint,
                                              (e.more ->> 'effective_from')::timestamptz);
            WHEN 'ignore' THEN
                verdict := 'ignored';
            END CASE;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                                    detail = PG_EXCEPTION_DETAIL;
            -- The app knows what to tell its user about these; anything else is a bug.
            IF code !~ '^UC0' AND code NOT IN ('22003', '22023') THEN
                RAISE;
            END IF;
            verdict := 'refused';
            answer := nullif(detail, '')::jsonb;
        END;
        IF verdict IS NULL AND answer -> 'ok' = 'false' THEN    -- credits_try_deduct
            verdict := 'refused';
            code := 'UC001';
        ELSIF verdict IS NULL THEN
            verdict := CASE WHEN answer -> 'replayed' = 'true' THEN 'replayed' ELSE 'done' END;
        END IF;
        INSERT INTO demo.outcome VALUES (e.id, verdict, code, message, answer);
        n := n + 1;
        IF n % 100 = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
    INSERT INTO demo.timing
    VALUES ('replay', extract(epoch FROM clock_timestamp() - started), n);
END
$$;

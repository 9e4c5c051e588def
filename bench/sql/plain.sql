-- Plain tables and functions, what a good user of PostgreSQL would write.
-- Each contender gets a schema of its own with all of it, so that nobody's
-- history grows by another's work.
--   psql -v schema=NAME
CREATE SCHEMA :"schema";
SET search_path = :"schema";

-- The columns of credit_account, but for the head of the hash chain; its
-- fillfactor, collation and indexes.  Checks are fewer.
CREATE TABLE account (
    monthly            bigint NOT NULL,
    granted            bigint NOT NULL DEFAULT 0,
    purchased          bigint NOT NULL,
    held_monthly       bigint NOT NULL DEFAULT 0,
    held_granted       bigint NOT NULL DEFAULT 0,
    held_purchased     bigint NOT NULL DEFAULT 0,
    owed_monthly       bigint NOT NULL DEFAULT 0,
    owed_purchased     bigint NOT NULL DEFAULT 0,
    overdraft_limit    bigint NOT NULL DEFAULT 0,
    period_granted     bigint NOT NULL,
    last_left          bigint NOT NULL DEFAULT 0,
    last_limit         bigint NOT NULL DEFAULT 0,
    period             bigint NOT NULL DEFAULT 1,
    last_monthly_reset timestamptz NOT NULL,
    effective_at       timestamptz NOT NULL,
    cycle_anchor       timestamp NOT NULL,
    history_seq        bigint NOT NULL,
    period_share       integer NOT NULL DEFAULT 1000000,
    last_undone        boolean NOT NULL DEFAULT false,
    user_id            text COLLATE "C" NOT NULL PRIMARY KEY,
    time_zone          text COLLATE "C" NOT NULL,
    status             text COLLATE "C" NOT NULL,
    next_reset_at      timestamptz,
    next_event_at      timestamptz,
    end_anchor         timestamp,
    closed_seq         bigint,
    forfeited          bigint,
    plan_version       integer,
    plan               text COLLATE "C",
    scheduled_plan     text COLLATE "C",
    cycle              text COLLATE "C" DEFAULT 'calendar',
    end_zone           text COLLATE "C",
    end_cycle          text COLLATE "C",
    CHECK (monthly >= 0 AND purchased >= 0)
) WITH (fillfactor = 70);
CREATE INDEX ON account (next_event_at);

-- The columns of credit_history, but for hash and digests.
CREATE TABLE history (
    seq              bigint NOT NULL,
    created_at       timestamptz NOT NULL,
    effective_at     timestamptz NOT NULL,
    period           bigint NOT NULL,
    amount           bigint NOT NULL,
    monthly_delta    bigint NOT NULL,
    granted_delta    bigint NOT NULL DEFAULT 0,
    purchased_delta  bigint NOT NULL,
    monthly          bigint NOT NULL,
    granted          bigint NOT NULL DEFAULT 0,
    purchased        bigint NOT NULL,
    skipped          integer NOT NULL DEFAULT 0,
    plan_version     integer,
    user_id          text COLLATE "C" NOT NULL,
    kind             text COLLATE "C" NOT NULL,
    actor            text COLLATE "C" NOT NULL DEFAULT session_user,
    next_reset_at    timestamptz,
    ref_seq          bigint,
    ends_at          timestamptz,
    held_monthly     bigint,
    held_granted     bigint,
    held_purchased   bigint,
    owed_monthly     bigint,
    owed_purchased   bigint,
    expired          bigint,
    forfeited        bigint,
    overdraft_limit  bigint,
    period_granted   bigint,
    last_left        bigint,
    last_limit       bigint,
    period_start     timestamptz,
    cycle_anchor     timestamp,
    period_share     integer,
    last_undone      boolean,
    run_id           uuid,
    idempotency_key  text COLLATE "C",
    payment_ref      text COLLATE "C",
    spender          text COLLATE "C",
    plan             text COLLATE "C",
    scheduled_plan   text COLLATE "C",
    time_zone        text COLLATE "C",
    status           text COLLATE "C",
    cycle            text COLLATE "C",
    allocations      bigint[],
    reason           text,
    metadata         jsonb,
    PRIMARY KEY (user_id, seq)
);
CREATE UNIQUE INDEX ON history (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- A good function: one lock, one update, one insert, a receipt.
CREATE FUNCTION deduct(p_user_id text, p_amount bigint, p_reason text DEFAULT NULL, p_metadata jsonb DEFAULT NULL)
    RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    a             record;
    now_at        timestamptz;
    from_monthly  bigint;
    from_purchased bigint;
BEGIN
    IF p_user_id IS NULL OR p_amount IS NULL OR p_amount < 1 THEN
        RAISE EXCEPTION 'a user and an amount above 0 are required';
    END IF;
    SELECT monthly, purchased, status, history_seq, period, next_reset_at, plan_version
      INTO a FROM account WHERE user_id = p_user_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account %', p_user_id;
    END IF;
    IF a.status <> 'active' THEN
        RAISE EXCEPTION 'account % is frozen', p_user_id;
    END IF;
    IF a.monthly + a.purchased < p_amount THEN
        RAISE EXCEPTION 'insufficient credits';
    END IF;
    now_at := clock_timestamp();
    from_monthly := least(a.monthly, p_amount);
    from_purchased := p_amount - from_monthly;
    UPDATE account
       SET monthly = a.monthly - from_monthly, purchased = a.purchased - from_purchased,
           history_seq = a.history_seq + 1, effective_at = now_at
     WHERE user_id = p_user_id;
    INSERT INTO history (user_id, seq, kind, created_at, effective_at, period, next_reset_at, plan_version,
                         amount, monthly_delta, purchased_delta, monthly, purchased, reason, metadata)
    VALUES (p_user_id, a.history_seq + 1, 'deduct', now_at, now_at, a.period, a.next_reset_at, a.plan_version,
            p_amount, -from_monthly, -from_purchased, a.monthly - from_monthly, a.purchased - from_purchased,
            p_reason, p_metadata);
    RETURN jsonb_build_object(
        'ok', true, 'user_id', p_user_id, 'seq', a.history_seq + 1, 'kind', 'deduct', 'amount', p_amount,
        'monthly_delta', -from_monthly, 'granted_delta', 0, 'purchased_delta', -from_purchased,
        'monthly', a.monthly - from_monthly, 'granted', 0, 'purchased', a.purchased - from_purchased,
        'available', a.monthly + a.purchased - p_amount, 'held', 0, 'owed', 0,
        'next_reset_at', a.next_reset_at, 'created_at', now_at, 'effective_at', now_at, 'replayed', false);
END
$$;

-- The same with an idempotency key, looked up under the account's lock.
CREATE FUNCTION deduct_key(p_user_id text, p_amount bigint, p_key text, p_reason text DEFAULT NULL, p_metadata jsonb DEFAULT NULL)
    RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    a             record;
    h             record;
    now_at        timestamptz;
    from_monthly  bigint;
    from_purchased bigint;
BEGIN
    IF p_user_id IS NULL OR p_amount IS NULL OR p_amount < 1 THEN
        RAISE EXCEPTION 'a user and an amount above 0 are required';
    END IF;
    SELECT monthly, purchased, status, history_seq, period, next_reset_at, plan_version
      INTO a FROM account WHERE user_id = p_user_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account %', p_user_id;
    END IF;
    SELECT seq, kind, amount, monthly_delta, purchased_delta, monthly, purchased, next_reset_at, created_at, effective_at
      INTO h FROM history WHERE user_id = p_user_id AND idempotency_key = p_key;
    IF FOUND THEN
        IF h.kind <> 'deduct' OR h.amount <> p_amount THEN
            RAISE EXCEPTION 'the key was used for another request';
        END IF;
        RETURN jsonb_build_object(
            'ok', true, 'user_id', p_user_id, 'seq', h.seq, 'kind', h.kind, 'amount', h.amount,
            'monthly_delta', h.monthly_delta, 'granted_delta', 0, 'purchased_delta', h.purchased_delta,
            'monthly', h.monthly, 'granted', 0, 'purchased', h.purchased,
            'available', h.monthly + h.purchased, 'held', 0, 'owed', 0,
            'next_reset_at', h.next_reset_at, 'created_at', h.created_at, 'effective_at', h.effective_at, 'replayed', true);
    END IF;
    IF a.status <> 'active' THEN
        RAISE EXCEPTION 'account % is frozen', p_user_id;
    END IF;
    IF a.monthly + a.purchased < p_amount THEN
        RAISE EXCEPTION 'insufficient credits';
    END IF;
    now_at := clock_timestamp();
    from_monthly := least(a.monthly, p_amount);
    from_purchased := p_amount - from_monthly;
    UPDATE account
       SET monthly = a.monthly - from_monthly, purchased = a.purchased - from_purchased,
           history_seq = a.history_seq + 1, effective_at = now_at
     WHERE user_id = p_user_id;
    INSERT INTO history (user_id, seq, kind, created_at, effective_at, period, next_reset_at, plan_version,
                         amount, monthly_delta, purchased_delta, monthly, purchased, idempotency_key, reason, metadata)
    VALUES (p_user_id, a.history_seq + 1, 'deduct', now_at, now_at, a.period, a.next_reset_at, a.plan_version,
            p_amount, -from_monthly, -from_purchased, a.monthly - from_monthly, a.purchased - from_purchased,
            p_key, p_reason, p_metadata);
    RETURN jsonb_build_object(
        'ok', true, 'user_id', p_user_id, 'seq', a.history_seq + 1, 'kind', 'deduct', 'amount', p_amount,
        'monthly_delta', -from_monthly, 'granted_delta', 0, 'purchased_delta', -from_purchased,
        'monthly', a.monthly - from_monthly, 'granted', 0, 'purchased', a.purchased - from_purchased,
        'available', a.monthly + a.purchased - p_amount, 'held', 0, 'owed', 0,
        'next_reset_at', a.next_reset_at, 'created_at', now_at, 'effective_at', now_at, 'replayed', false);
END
$$;

GRANT USAGE ON SCHEMA :"schema" TO bench_app;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA :"schema" TO bench_app;

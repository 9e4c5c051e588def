/* credits 1.0.0: a ledger of credits inside PostgreSQL */

\echo Use "CREATE EXTENSION credits" to load this file. \quit

/* The hash chain covers UTF-8 text, so it stays valid after a dump and restore. */
DO LANGUAGE plpgsql $credits$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8'::pg_catalog.name THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = 'credits needs a database with encoding UTF8';
    END IF;
END
$credits$;

/*
 * Tables.  The ledger reads and writes them below the executor, by attribute number.
 * src/store/columns.h names the columns, and they are checked against the catalog.  So
 * columns are only added at the end.  Fixed-width columns come first.  There are no
 * sequences and no foreign keys: ids are (user_id, seq), and the one writer keeps
 * references valid.
 */

CREATE TABLE @extschema@.credit_plan (
    version               pg_catalog.int4        NOT NULL CONSTRAINT credit_plan_version CHECK (version OPERATOR(pg_catalog.>=) 1),
    effective_from        pg_catalog.timestamptz NOT NULL,
    monthly_credits       pg_catalog.int8        NOT NULL,
    rollover_limit        pg_catalog.int8        NOT NULL,
    low_balance_threshold pg_catalog.int8        NOT NULL,
    created_at            pg_catalog.timestamptz NOT NULL,
    plan                  pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    cycle                 pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    CONSTRAINT credit_plan_pkey PRIMARY KEY (plan, version),
    CONSTRAINT credit_plan_name CHECK (pg_catalog.octet_length(plan) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(plan) OPERATOR(pg_catalog.<=) 255),
    CONSTRAINT credit_plan_cycle CHECK (
        cycle OPERATOR(pg_catalog.=) 'calendar' OR cycle OPERATOR(pg_catalog.=) 'anniversary' OR cycle OPERATOR(pg_catalog.=) 'daily' OR
        cycle OPERATOR(pg_catalog.=) 'weekly' OR cycle OPERATOR(pg_catalog.=) 'yearly'),
    CONSTRAINT credit_plan_amounts CHECK (
        monthly_credits OPERATOR(pg_catalog.>=) 0 AND monthly_credits OPERATOR(pg_catalog.<=) 9007199254740991 AND
        rollover_limit OPERATOR(pg_catalog.>=) 0 AND rollover_limit OPERATOR(pg_catalog.<=) 9007199254740991 AND
        low_balance_threshold OPERATOR(pg_catalog.>=) 0 AND low_balance_threshold OPERATOR(pg_catalog.<=) 9007199254740991)
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_plan', '');
COMMENT ON TABLE @extschema@.credit_plan IS 'One row per plan version. Rows never change. A period boundary uses the version that is in force at that time.';
COMMENT ON COLUMN @extschema@.credit_plan.effective_from IS 'This version is in force from this time on. Each version of a plan begins later than the one before it.';
COMMENT ON COLUMN @extschema@.credit_plan.monthly_credits IS 'Allowance of one period, in credits.';
COMMENT ON COLUMN @extschema@.credit_plan.rollover_limit IS 'At most this many unspent monthly credits are kept at a boundary. 0: none.';
COMMENT ON COLUMN @extschema@.credit_plan.low_balance_threshold IS 'credits_balance reports low if available is below this. 0: never.';
COMMENT ON COLUMN @extschema@.credit_plan.cycle IS 'When a period begins, in the account''s time zone. calendar: at 00:00 on the 1st. daily: at 00:00. anniversary, weekly, yearly: n months, weeks or years after the account''s anchor.';

CREATE TABLE @extschema@.credit_account (
    monthly            pg_catalog.int8        NOT NULL,
    granted            pg_catalog.int8        NOT NULL,
    purchased          pg_catalog.int8        NOT NULL,
    held_monthly       pg_catalog.int8        NOT NULL,
    held_granted       pg_catalog.int8        NOT NULL,
    held_purchased     pg_catalog.int8        NOT NULL,
    owed_monthly       pg_catalog.int8        NOT NULL,
    owed_purchased     pg_catalog.int8        NOT NULL,
    overdraft_limit    pg_catalog.int8        NOT NULL,
    period_granted     pg_catalog.int8        NOT NULL,
    last_left          pg_catalog.int8        NOT NULL,
    last_limit         pg_catalog.int8        NOT NULL,
    period             pg_catalog.int8        NOT NULL,
    last_monthly_reset pg_catalog.timestamptz NOT NULL,
    effective_at       pg_catalog.timestamptz NOT NULL,
    cycle_anchor       pg_catalog.timestamp   NOT NULL,
    history_seq        pg_catalog.int8        NOT NULL,
    plan_threshold     pg_catalog.int8        NOT NULL,
    period_share       pg_catalog.int4        NOT NULL,
    last_undone        pg_catalog.bool        NOT NULL,
    user_id            pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    time_zone          pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    status             pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    history_hash       pg_catalog.bytea       NOT NULL,
    next_reset_at      pg_catalog.timestamptz,
    next_event_at      pg_catalog.timestamptz,
    end_anchor         pg_catalog.timestamp,
    closed_seq         pg_catalog.int8,
    forfeited          pg_catalog.int8,
    charged_monthly    pg_catalog.int8,
    charged_purchased  pg_catalog.int8,
    last_charged       pg_catalog.int8,
    last_closed_seq    pg_catalog.int8,
    low_threshold      pg_catalog.int8,
    flags              pg_catalog.int4,
    plan_version       pg_catalog.int4,
    plan               pg_catalog.text COLLATE pg_catalog."C",
    scheduled_plan     pg_catalog.text COLLATE pg_catalog."C",
    cycle              pg_catalog.text COLLATE pg_catalog."C",
    end_zone           pg_catalog.text COLLATE pg_catalog."C",
    end_cycle          pg_catalog.text COLLATE pg_catalog."C",
    level              pg_catalog.text COLLATE pg_catalog."C",
    CONSTRAINT credit_account_pkey PRIMARY KEY (user_id),
    CONSTRAINT credit_account_user_id CHECK (pg_catalog.octet_length(user_id) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(user_id) OPERATOR(pg_catalog.<=) 255),
    CONSTRAINT credit_account_amounts CHECK (
        monthly OPERATOR(pg_catalog.>=) 0 AND granted OPERATOR(pg_catalog.>=) 0 AND purchased OPERATOR(pg_catalog.>=) 0 AND
        held_monthly OPERATOR(pg_catalog.>=) 0 AND held_granted OPERATOR(pg_catalog.>=) 0 AND held_purchased OPERATOR(pg_catalog.>=) 0 AND
        owed_monthly OPERATOR(pg_catalog.>=) 0 AND owed_purchased OPERATOR(pg_catalog.>=) 0 AND
        overdraft_limit OPERATOR(pg_catalog.>=) 0 AND period_granted OPERATOR(pg_catalog.>=) 0 AND
        (monthly OPERATOR(pg_catalog.+) granted OPERATOR(pg_catalog.+) purchased OPERATOR(pg_catalog.+)
         held_monthly OPERATOR(pg_catalog.+) held_granted OPERATOR(pg_catalog.+) held_purchased) OPERATOR(pg_catalog.<=) 9007199254740991),
    CONSTRAINT credit_account_status CHECK (status OPERATOR(pg_catalog.=) 'active' OR status OPERATOR(pg_catalog.=) 'frozen' OR status OPERATOR(pg_catalog.=) 'closed'),
    CONSTRAINT credit_account_plan CHECK ((plan IS NULL) OPERATOR(pg_catalog.=) (plan_version IS NULL) AND (plan IS NULL OR cycle IS NOT NULL)),
    CONSTRAINT credit_account_period CHECK (
        plan_threshold OPERATOR(pg_catalog.>=) 0 AND flags OPERATOR(pg_catalog.>) 0 AND low_threshold OPERATOR(pg_catalog.>=) 0 AND
        period OPERATOR(pg_catalog.>=) 1 AND period_share OPERATOR(pg_catalog.>=) 0 AND period_share OPERATOR(pg_catalog.<=) 1000000 AND
        last_limit OPERATOR(pg_catalog.>=) 0 AND (cycle IS NOT NULL OR next_reset_at IS NULL) AND
        (end_zone IS NULL) OPERATOR(pg_catalog.=) (end_anchor IS NULL) AND (end_zone IS NULL) OPERATOR(pg_catalog.=) (end_cycle IS NULL)),
    CONSTRAINT credit_account_closed CHECK (
        closed_seq OPERATOR(pg_catalog.>=) 1 AND forfeited OPERATOR(pg_catalog.>) 0 AND
        charged_monthly OPERATOR(pg_catalog.>) 0 AND charged_purchased OPERATOR(pg_catalog.>) 0 AND
        last_charged OPERATOR(pg_catalog.>) 0 AND last_closed_seq OPERATOR(pg_catalog.>) 0),
    CONSTRAINT credit_account_head CHECK (history_seq OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(history_hash) OPERATOR(pg_catalog.=) 32)
) WITH (fillfactor = 70);
CREATE INDEX credit_account_next_event_idx ON @extschema@.credit_account (next_event_at);
CREATE INDEX credit_account_flags_idx ON @extschema@.credit_account (flags) WHERE flags IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_account', '');
COMMENT ON TABLE @extschema@.credit_account IS 'One row per user: what is left, what is held and owed, the plan and the period, and the newest row of the user''s history.';
COMMENT ON COLUMN @extschema@.credit_account.monthly IS 'Monthly credits left, without held ones. Each boundary sets them anew.';
COMMENT ON COLUMN @extschema@.credit_account.granted IS 'Granted (expiring) credits left, without held ones.';
COMMENT ON COLUMN @extschema@.credit_account.purchased IS 'Purchased credits left, without held ones. They never expire.';
COMMENT ON COLUMN @extschema@.credit_account.owed_monthly IS 'Monthly credits that a plan change, a closing or an undo should have taken and could not, because they were held or spent. What comes back to the bucket pays this first. The boundary sets this to 0.';
COMMENT ON COLUMN @extschema@.credit_account.owed_purchased IS 'Purchased credits that could not be taken. Every credit to the bucket pays this first.';
COMMENT ON COLUMN @extschema@.credit_account.period_granted IS 'What the plan has granted in this period. Because of it, a plan change never grants the same credits twice.';
COMMENT ON COLUMN @extschema@.credit_account.period IS 'Number of the current period, from 1. A period is known by it.';
COMMENT ON COLUMN @extschema@.credit_account.last_monthly_reset IS 'Start of the current period.';
COMMENT ON COLUMN @extschema@.credit_account.period_share IS 'How much of a full period the current one is, in parts per million. The plan''s allowance is its monthly_credits times this share, rounded down.';
COMMENT ON COLUMN @extschema@.credit_account.cycle IS 'The cycle of the plan, or of the last plan. NULL: the account never had a plan, and its period has no end.';
COMMENT ON COLUMN @extschema@.credit_account.last_left IS 'Monthly credits that were left at the last boundary, minus those that were owed, plus what came back since from the period before it.';
COMMENT ON COLUMN @extschema@.credit_account.last_limit IS 'At most this much of last_left rolls over.';
COMMENT ON COLUMN @extschema@.credit_account.last_undone IS 'That boundary was undone: all of last_left rolls over.';
COMMENT ON COLUMN @extschema@.credit_account.end_zone IS 'end_anchor, end_zone and end_cycle: from which anchor, zone and cycle next_reset_at was worked out, if these have changed since. Empty text: it is no boundary of a cycle, because the period was restarted.';
COMMENT ON COLUMN @extschema@.credit_account.closed_seq IS 'seq of the row that last closed the account. NULL: it never was closed.';
COMMENT ON COLUMN @extschema@.credit_account.forfeited IS 'Purchased credits that were lost when the account was closed, and that no chargeback has used. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_account.charged_purchased IS 'Purchased credits that the account has been charged, since it was last closed, for the time before: what it owed then, and what chargebacks of older payments took. What comes back from that time gives this back. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_account.charged_monthly IS 'The same for monthly credits: what the account owed when it was closed in this period. The boundary clears it. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_account.last_charged IS 'charged_monthly at the last boundary, minus what came back since from before that closing. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_account.last_closed_seq IS 'closed_seq at the last boundary. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_account.plan_threshold IS 'low_balance_threshold of the plan''s version. 0: no plan.';
COMMENT ON COLUMN @extschema@.credit_account.flags IS 'Sum of 1: fewer credits available than the threshold; 2: none available; 4: purchased credits are owed; 8: frozen; 16: closed. As the account''s last row left it. NULL: nothing of that.';
COMMENT ON COLUMN @extschema@.credit_account.low_threshold IS 'The account''s own threshold, instead of the plan''s. NULL: it has none.';
COMMENT ON COLUMN @extschema@.credit_account.level IS 'low or empty: the lowest level that available credits had since the account last recovered. NULL: enough.';
COMMENT ON COLUMN @extschema@.credit_account.effective_at IS 'effective_at of the newest history row. The account''s time never goes back to before it.';
COMMENT ON COLUMN @extschema@.credit_account.cycle_anchor IS 'The boundaries of anniversary, weekly and yearly plans are counted from this local time in the account''s zone.';
COMMENT ON COLUMN @extschema@.credit_account.next_reset_at IS 'End of the current period. Once stored, it is final. NULL: the period has no end.';
COMMENT ON COLUMN @extschema@.credit_account.next_event_at IS 'A time at or before the next event, never after it. NULL: there is no event.';
COMMENT ON COLUMN @extschema@.credit_account.scheduled_plan IS 'The plan from the next boundary on. Empty text: the plan is cancelled then. NULL: no change.';
COMMENT ON COLUMN @extschema@.credit_account.history_hash IS 'Hash of the newest history row (docs/audit-format.md).';

CREATE TABLE @extschema@.credit_history (
    seq              pg_catalog.int8        NOT NULL,
    created_at       pg_catalog.timestamptz NOT NULL,
    effective_at     pg_catalog.timestamptz NOT NULL,
    period           pg_catalog.int8        NOT NULL,
    amount           pg_catalog.int8        NOT NULL,
    monthly_delta    pg_catalog.int8        NOT NULL,
    granted_delta    pg_catalog.int8        NOT NULL,
    purchased_delta  pg_catalog.int8        NOT NULL,
    monthly          pg_catalog.int8        NOT NULL,
    granted          pg_catalog.int8        NOT NULL,
    purchased        pg_catalog.int8        NOT NULL,
    skipped          pg_catalog.int4        NOT NULL,
    plan_version     pg_catalog.int4,
    user_id          pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    kind             pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    actor            pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    hash             pg_catalog.bytea       NOT NULL,
    next_reset_at    pg_catalog.timestamptz,
    ref_seq          pg_catalog.int8,
    ends_at          pg_catalog.timestamptz,
    held_monthly     pg_catalog.int8,
    held_granted     pg_catalog.int8,
    held_purchased   pg_catalog.int8,
    owed_monthly     pg_catalog.int8,
    owed_purchased   pg_catalog.int8,
    expired          pg_catalog.int8,
    forfeited        pg_catalog.int8,
    overdraft_limit  pg_catalog.int8,
    period_granted   pg_catalog.int8,
    last_left        pg_catalog.int8,
    last_limit       pg_catalog.int8,
    low_threshold    pg_catalog.int8,
    period_start     pg_catalog.timestamptz,
    cycle_anchor     pg_catalog.timestamp,
    period_share     pg_catalog.int4,
    last_undone      pg_catalog.bool,
    run_id           pg_catalog.uuid,
    idempotency_key  pg_catalog.text COLLATE pg_catalog."C",
    request_digest   pg_catalog.bytea,
    payment_ref      pg_catalog.text COLLATE pg_catalog."C",
    spender          pg_catalog.text COLLATE pg_catalog."C",
    plan             pg_catalog.text COLLATE pg_catalog."C",
    scheduled_plan   pg_catalog.text COLLATE pg_catalog."C",
    time_zone        pg_catalog.text COLLATE pg_catalog."C",
    status           pg_catalog.text COLLATE pg_catalog."C",
    cycle            pg_catalog.text COLLATE pg_catalog."C",
    crossed          pg_catalog.text COLLATE pg_catalog."C",
    allocations      pg_catalog.int8[],
    text_salt        pg_catalog.bytea,
    reason           pg_catalog.text,
    metadata         pg_catalog.jsonb,
    reason_digest    pg_catalog.bytea,
    metadata_digest  pg_catalog.bytea,
    CONSTRAINT credit_history_pkey PRIMARY KEY (user_id, seq),
    CONSTRAINT credit_history_row CHECK (
        seq OPERATOR(pg_catalog.>=) 1 AND
        monthly OPERATOR(pg_catalog.>=) 0 AND granted OPERATOR(pg_catalog.>=) 0 AND purchased OPERATOR(pg_catalog.>=) 0 AND
        held_monthly OPERATOR(pg_catalog.>) 0 AND held_granted OPERATOR(pg_catalog.>) 0 AND held_purchased OPERATOR(pg_catalog.>) 0 AND
        owed_monthly OPERATOR(pg_catalog.>) 0 AND owed_purchased OPERATOR(pg_catalog.>) 0 AND
        expired OPERATOR(pg_catalog.>) 0 AND forfeited OPERATOR(pg_catalog.>) 0 AND skipped OPERATOR(pg_catalog.>=) 0 AND
        pg_catalog.octet_length(hash) OPERATOR(pg_catalog.=) 32),
    CONSTRAINT credit_history_text CHECK (
        (reason IS NULL OR reason_digest IS NULL) AND (metadata IS NULL OR metadata_digest IS NULL) AND
        CASE WHEN reason IS NULL AND metadata IS NULL THEN text_salt IS NULL ELSE pg_catalog.octet_length(text_salt) OPERATOR(pg_catalog.=) 16 END),
    CONSTRAINT credit_history_facts CHECK (CASE WHEN status IS NULL THEN
        (plan IS NULL AND scheduled_plan IS NULL AND cycle_anchor IS NULL AND time_zone IS NULL AND overdraft_limit IS NULL AND period_granted IS NULL AND
         period_start IS NULL AND period_share IS NULL AND cycle IS NULL AND last_left IS NULL AND last_limit IS NULL AND last_undone IS NULL AND low_threshold IS NULL)
        ELSE cycle_anchor IS NOT NULL AND time_zone IS NOT NULL AND overdraft_limit IS NOT NULL AND period_granted IS NOT NULL AND
         period_start IS NOT NULL AND period_share IS NOT NULL AND last_left IS NOT NULL AND last_limit IS NOT NULL AND last_undone IS NOT NULL END)
);
CREATE INDEX credit_history_ref_idx ON @extschema@.credit_history (user_id, ref_seq) WHERE ref_seq IS NOT NULL;
CREATE UNIQUE INDEX credit_history_key_idx ON @extschema@.credit_history (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_history', '');
COMMENT ON TABLE @extschema@.credit_history IS 'One row per operation, append-only. The rows of a user form a hash chain, and their seq has no gaps.';
COMMENT ON COLUMN @extschema@.credit_history.created_at IS 'The clock when the row was written.';
COMMENT ON COLUMN @extschema@.credit_history.effective_at IS 'When the operation counts. It is never before the row before it, except after a clock_repair. An event has its own time. While a reset waits for a time zone, it is just before that reset.';
COMMENT ON COLUMN @extschema@.credit_history.period IS 'Number of the period that the account is in after this row.';
COMMENT ON COLUMN @extschema@.credit_history.period_start IS 'Start of that period, on rows that have facts.';
COMMENT ON COLUMN @extschema@.credit_history.period_share IS 'How much of a full period it is, in parts per million, on rows that have facts.';
COMMENT ON COLUMN @extschema@.credit_history.last_left IS 'What was left at the last boundary, like in credit_account, on rows that have facts.';
COMMENT ON COLUMN @extschema@.credit_history.last_limit IS 'At most this much of last_left rolls over, on rows that have facts.';
COMMENT ON COLUMN @extschema@.credit_history.low_threshold IS 'The account''s own threshold, on rows that have facts. NULL: it has none.';
COMMENT ON COLUMN @extschema@.credit_history.crossed IS 'low or empty: with this row the available credits became fewer than the threshold, or 0. recovered: they are enough again. NULL: nothing of that. It follows from the rows, so it is not hashed.';
COMMENT ON COLUMN @extschema@.credit_history.last_undone IS 'That boundary was undone: all of last_left rolls over. On rows that have facts.';
COMMENT ON COLUMN @extschema@.credit_history.amount IS 'Credits of the request, or what the event granted. It has a sign for adjust and set_plan.';
COMMENT ON COLUMN @extschema@.credit_history.held_monthly IS 'Monthly credits held after this row. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_history.held_granted IS 'Granted credits held after this row. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_history.held_purchased IS 'Purchased credits held after this row. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_history.owed_monthly IS 'Monthly credits owed after this row. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_history.owed_purchased IS 'Purchased credits owed after this row. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_history.expired IS 'Credits that a boundary or the end of a grant took away, or that came back from a hold to a period or grant that had ended. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_history.forfeited IS 'Credits that could not be given, because the account''s limit was reached or the period had ended. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_history.skipped IS 'How many earlier boundaries had passed before the boundary of this row.';
COMMENT ON COLUMN @extschema@.credit_history.status IS 'If not NULL: plan, scheduled_plan, cycle_anchor, time_zone, status, overdraft_limit and period_granted are those of the account after this row. If NULL: they did not change.';
COMMENT ON COLUMN @extschema@.credit_history.idempotency_key IS 'The caller''s key. Empty text: this row opened the account with its facts.';
COMMENT ON COLUMN @extschema@.credit_history.request_digest IS 'SHA-256 of what the caller asked. A replay must ask the same.';
COMMENT ON COLUMN @extschema@.credit_history.allocations IS 'Pairs: seq of a grant, credits that were taken from it or that a refund gave back to it. A capture has a pair for every source: 0 is monthly, -1 is purchased, -2 is monthly of a period that had ended.';
COMMENT ON COLUMN @extschema@.credit_history.ref_seq IS 'The row that this row refers to: the grant that ended, the hold that ended or was captured or released, the row that was refunded, the purchase that was revoked.';
COMMENT ON COLUMN @extschema@.credit_history.ends_at IS 'When the grant or hold ends. A capture that keeps the hold open has it, too.';
COMMENT ON COLUMN @extschema@.credit_history.text_salt IS 'Salt of the digests of reason and metadata. The hash chain has only the digests.';
COMMENT ON COLUMN @extschema@.credit_history.reason_digest IS 'Replaces a reason that was erased.';
COMMENT ON COLUMN @extschema@.credit_history.metadata_digest IS 'Replaces metadata that was erased.';
COMMENT ON COLUMN @extschema@.credit_history.hash IS 'SHA-256 over the hash of the row before and this row (docs/audit-format.md).';

CREATE TABLE @extschema@.credit_payment (
    amount      pg_catalog.int8 NOT NULL,
    revoked     pg_catalog.int8 NOT NULL,
    seq         pg_catalog.int8 NOT NULL,
    paid_at     pg_catalog.timestamptz NOT NULL,
    granted     pg_catalog.bool NOT NULL,
    payment_ref pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    user_id     pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    reported    pg_catalog.int8,
    CONSTRAINT credit_payment_pkey PRIMARY KEY (payment_ref),
    CONSTRAINT credit_payment_amounts CHECK (
        amount OPERATOR(pg_catalog.>=) 1 AND amount OPERATOR(pg_catalog.<=) 9007199254740991 AND
        revoked OPERATOR(pg_catalog.>=) 0 AND revoked OPERATOR(pg_catalog.<=) amount AND
        reported OPERATOR(pg_catalog.>=) 1 AND reported OPERATOR(pg_catalog.<=) amount)
);
CREATE INDEX credit_payment_user_idx ON @extschema@.credit_payment (user_id, paid_at);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_payment', '');
COMMENT ON TABLE @extschema@.credit_payment IS 'One row per purchase, and per grant that was paid for. Rows are kept for ever, so a payment_ref is credited once.';
COMMENT ON COLUMN @extschema@.credit_payment.revoked IS 'Credits that are revoked now: what chargebacks have taken back, minus what was reinstated. At most amount.';
COMMENT ON COLUMN @extschema@.credit_payment.seq IS 'seq of its history row.';
COMMENT ON COLUMN @extschema@.credit_payment.paid_at IS 'effective_at of its history row.';
COMMENT ON COLUMN @extschema@.credit_payment.granted IS 'The credits are a grant, which ends.';
COMMENT ON COLUMN @extschema@.credit_payment.reported IS 'The highest total that credits_revoke_purchase was called with. NULL: none.';

CREATE TABLE @extschema@.credit_grant (
    amount    pg_catalog.int8        NOT NULL,
    remaining pg_catalog.int8        NOT NULL,
    seq       pg_catalog.int8        NOT NULL,
    ends_at   pg_catalog.timestamptz NOT NULL,
    closed    pg_catalog.bool        NOT NULL,
    paid      pg_catalog.bool        NOT NULL,
    user_id   pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    expired   pg_catalog.int8,
    elsewhere pg_catalog.int8,
    noticed   pg_catalog.bool,
    CONSTRAINT credit_grant_pkey PRIMARY KEY (user_id, seq),
    CONSTRAINT credit_grant_amounts CHECK (remaining OPERATOR(pg_catalog.>=) 0 AND remaining OPERATOR(pg_catalog.<=) amount),
    CONSTRAINT credit_grant_paid CHECK (CASE WHEN paid THEN
        expired OPERATOR(pg_catalog.>) 0 AND expired OPERATOR(pg_catalog.<=) amount AND elsewhere OPERATOR(pg_catalog.>) 0 AND elsewhere OPERATOR(pg_catalog.<=) amount
        ELSE expired IS NULL AND elsewhere IS NULL END)
) WITH (fillfactor = 70);
CREATE INDEX credit_grant_ends_idx ON @extschema@.credit_grant (user_id, ends_at);
CREATE INDEX credit_grant_all_ends_idx ON @extschema@.credit_grant (ends_at);
CREATE INDEX credit_grant_notice_idx ON @extschema@.credit_grant (ends_at) WHERE noticed IS NULL;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_grant', '');
COMMENT ON TABLE @extschema@.credit_grant IS 'One row per grant of expiring credits. Its seq is that of the history row that opened it.';
COMMENT ON COLUMN @extschema@.credit_grant.remaining IS 'Credits of the grant that are neither spent nor held.';
COMMENT ON COLUMN @extschema@.credit_grant.paid IS 'The grant has a payment_ref, so it can be revoked.';
COMMENT ON COLUMN @extschema@.credit_grant.expired IS 'Of a paid grant: credits that ended unused, and that no chargeback has used. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_grant.elsewhere IS 'Of a paid grant: what its chargeback took from the purchased bucket. What comes back to the grant pays this first. NULL: nothing.';
COMMENT ON COLUMN @extschema@.credit_grant.closed IS 'The grant ended with credits left, was undone, or the account was closed. No more credits go back to it.';
COMMENT ON COLUMN @extschema@.credit_grant.noticed IS 'The event grant_ending was written. false: nothing was left when the sweep came to it. NULL: neither. It is no part of the audit trail.';

CREATE TABLE @extschema@.credit_hold (
    amount       pg_catalog.int8        NOT NULL,
    monthly      pg_catalog.int8        NOT NULL,
    purchased    pg_catalog.int8        NOT NULL,
    seq          pg_catalog.int8        NOT NULL,
    period       pg_catalog.int8 NOT NULL,
    user_id      pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    state        pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    ends_at      pg_catalog.timestamptz,
    given_back   pg_catalog.int8,
    allocations  pg_catalog.int8[],
    noticed      pg_catalog.bool,
    CONSTRAINT credit_hold_pkey PRIMARY KEY (user_id, seq),
    CONSTRAINT credit_hold_amounts CHECK (monthly OPERATOR(pg_catalog.>=) 0 AND purchased OPERATOR(pg_catalog.>=) 0 AND amount OPERATOR(pg_catalog.>=) 1),
    CONSTRAINT credit_hold_state CHECK ((state OPERATOR(pg_catalog.=) 'open') OPERATOR(pg_catalog.=) (ends_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX credit_hold_open_idx ON @extschema@.credit_hold (user_id, ends_at) WHERE ends_at IS NOT NULL;
CREATE INDEX credit_hold_all_open_idx ON @extschema@.credit_hold (ends_at) WHERE ends_at IS NOT NULL;
CREATE INDEX credit_hold_notice_idx ON @extschema@.credit_hold (ends_at) WHERE noticed IS NULL;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_hold', '');
COMMENT ON TABLE @extschema@.credit_hold IS 'One row per hold. Its seq is that of the history row that opened it.';
COMMENT ON COLUMN @extschema@.credit_hold.amount IS 'Credits that were held at the beginning.';
COMMENT ON COLUMN @extschema@.credit_hold.monthly IS 'Monthly credits that are still held. Of a hold that has expired: those that expired with it, because their period had ended.';
COMMENT ON COLUMN @extschema@.credit_hold.purchased IS 'Purchased credits that are still held.';
COMMENT ON COLUMN @extschema@.credit_hold.period IS 'Number of the period that its monthly credits belong to.';
COMMENT ON COLUMN @extschema@.credit_hold.given_back IS 'Of a hold that has expired: credits that it gave back and that did not expire. NULL: none.';
COMMENT ON COLUMN @extschema@.credit_hold.state IS 'open, captured, released or expired. settled: captured once after it had expired.';
COMMENT ON COLUMN @extschema@.credit_hold.ends_at IS 'When the hold ends by itself. NULL: it is closed.';
COMMENT ON COLUMN @extschema@.credit_hold.allocations IS 'Granted credits that are still held. Of a hold that has expired: those that expired with it. Pairs: seq of the grant, credits.';
COMMENT ON COLUMN @extschema@.credit_hold.noticed IS 'The event hold_ending was written. false: the hold was closed before. NULL: neither. It is no part of the audit trail.';

CREATE TABLE @extschema@.credit_reset_run (
    started_at      pg_catalog.timestamptz NOT NULL,
    finished_at     pg_catalog.timestamptz,
    accounts        pg_catalog.int8 NOT NULL,
    credits_granted pg_catalog.int8 NOT NULL,
    credits_expired pg_catalog.int8 NOT NULL,
    failures        pg_catalog.int8 NOT NULL,
    run_id          pg_catalog.uuid NOT NULL,
    kind            pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    state           pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    actor           pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    failed          pg_catalog.jsonb,
    history_rows    pg_catalog.int8,
    sample          pg_catalog.float8,
    CONSTRAINT credit_reset_run_pkey PRIMARY KEY (run_id),
    CONSTRAINT credit_reset_run_state CHECK (state OPERATOR(pg_catalog.=) 'running' OR state OPERATOR(pg_catalog.=) 'finished' OR state OPERATOR(pg_catalog.=) 'stopped')
);
CREATE INDEX credit_reset_run_state_idx ON @extschema@.credit_reset_run (state);
CREATE INDEX credit_reset_run_kind_idx ON @extschema@.credit_reset_run (kind, started_at);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_reset_run', '');
COMMENT ON TABLE @extschema@.credit_reset_run IS 'One row per sweep, other bulk run or verification.';
COMMENT ON COLUMN @extschema@.credit_reset_run.state IS 'running. finished: everything that was due is done. stopped: a limit, a lock or another run ended it early, or it was killed and the next run found it.';
COMMENT ON COLUMN @extschema@.credit_reset_run.failures IS 'How many accounts failed. For a verification: how many findings there are.';
COMMENT ON COLUMN @extschema@.credit_reset_run.failed IS 'The first 100 accounts that failed: [{user_id, sqlstate}]. Their messages are in the server''s log. For a verification: its findings [{object, bad_user_id, bad_seq, problem}].';
COMMENT ON COLUMN @extschema@.credit_reset_run.history_rows IS 'For a verification (kind verify): how many history rows it verified.';
COMMENT ON COLUMN @extschema@.credit_reset_run.sample IS 'For a verification: the fraction of the accounts that it had to verify. 1: all.';

CREATE TABLE @extschema@.credit_audit_log (
    seq         pg_catalog.int8        NOT NULL,
    created_at  pg_catalog.timestamptz NOT NULL,
    action      pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    subject     pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    actor       pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    hash        pg_catalog.bytea       NOT NULL,
    client_addr pg_catalog.text COLLATE pg_catalog."C",
    application pg_catalog.text COLLATE pg_catalog."C",
    before      pg_catalog.jsonb,
    after       pg_catalog.jsonb,
    CONSTRAINT credit_audit_log_pkey PRIMARY KEY (seq),
    CONSTRAINT credit_audit_log_row CHECK (seq OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(hash) OPERATOR(pg_catalog.=) 32)
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_audit_log', '');
COMMENT ON TABLE @extschema@.credit_audit_log IS 'One row per administrative act, append-only, in one hash chain.';
COMMENT ON COLUMN @extschema@.credit_audit_log.action IS 'define_plan, freeze, unfreeze, clock_repair, schedule_reset, unschedule_reset, grant_role, revoke_role, repair_guards, erase_user, grant, apply_plan, undo, import, close_account, archive, drop_archive.';
COMMENT ON COLUMN @extschema@.credit_audit_log.subject IS 'The plan, user, role or job that the act was about.';

CREATE TABLE @extschema@.credit_role (
    granted_at        pg_catalog.timestamptz NOT NULL,
    system_identifier pg_catalog.int8 NOT NULL,
    role_oid          pg_catalog.oid  NOT NULL,
    granted_usage     pg_catalog.bool NOT NULL,
    role_name         pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    preset            pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    CONSTRAINT credit_role_pkey PRIMARY KEY (system_identifier, role_oid, preset)
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_role', '');
COMMENT ON TABLE @extschema@.credit_role IS 'Which preset credits_grant_role has granted to which role. credits_roles() shows this with the current names of the roles.';
COMMENT ON COLUMN @extschema@.credit_role.role_oid IS 'The role''s OID in the cluster with system_identifier. A renamed role keeps it. A role that was dropped and created again has another one.';
COMMENT ON COLUMN @extschema@.credit_role.system_identifier IS 'The cluster that role_oid belongs to (pg_control_system()). After a restore into another cluster, the role is found by its name.';
COMMENT ON COLUMN @extschema@.credit_role.role_name IS 'The role''s name when a preset was last granted or revoked.';
COMMENT ON COLUMN @extschema@.credit_role.granted_usage IS 'A preset gave the role USAGE on the schema. It is revoked with the role''s last preset.';

CREATE TABLE @extschema@.credit_anchor (
    anchor_no     pg_catalog.int8        NOT NULL,
    created_at    pg_catalog.timestamptz NOT NULL,
    accounts      pg_catalog.int8        NOT NULL,
    changed       pg_catalog.int8        NOT NULL,
    audit_seq     pg_catalog.int8        NOT NULL,
    audit_hash    pg_catalog.bytea       NOT NULL,
    root          pg_catalog.bytea       NOT NULL,
    changed_root  pg_catalog.bytea       NOT NULL,
    previous_hash pg_catalog.bytea       NOT NULL,
    hash          pg_catalog.bytea       NOT NULL,
    CONSTRAINT credit_anchor_pkey PRIMARY KEY (anchor_no),
    CONSTRAINT credit_anchor_row CHECK (
        anchor_no OPERATOR(pg_catalog.>=) 1 AND audit_seq OPERATOR(pg_catalog.>=) 0 AND
        changed OPERATOR(pg_catalog.>=) 0 AND accounts OPERATOR(pg_catalog.>=) changed AND
        pg_catalog.octet_length(audit_hash) OPERATOR(pg_catalog.=) 32 AND pg_catalog.octet_length(root) OPERATOR(pg_catalog.=) 32 AND
        pg_catalog.octet_length(changed_root) OPERATOR(pg_catalog.=) 32 AND
        pg_catalog.octet_length(previous_hash) OPERATOR(pg_catalog.=) 32 AND pg_catalog.octet_length(hash) OPERATOR(pg_catalog.=) 32)
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_anchor', '');
COMMENT ON TABLE @extschema@.credit_anchor IS 'One row per anchor, append-only, in one hash chain. An anchor is a digest of all histories (docs/audit-format.md).';
COMMENT ON COLUMN @extschema@.credit_anchor.anchor_no IS '1, 2, ... without gaps.';
COMMENT ON COLUMN @extschema@.credit_anchor.accounts IS 'Number of users in the tree.';
COMMENT ON COLUMN @extschema@.credit_anchor.changed IS 'Number of users whose newest row has changed since the anchor before. Each has a row in credit_anchor_leaf.';
COMMENT ON COLUMN @extschema@.credit_anchor.audit_seq IS 'seq of the newest row of credit_audit_log. 0: there was none.';
COMMENT ON COLUMN @extschema@.credit_anchor.root IS 'Root of the RFC 6962 tree over each user''s newest row and the audit log''s newest row.';
COMMENT ON COLUMN @extschema@.credit_anchor.changed_root IS 'Root of the tree over this anchor''s own rows in credit_anchor_leaf.';
COMMENT ON COLUMN @extschema@.credit_anchor.previous_hash IS 'hash of the anchor before. That hash covers the root of that anchor.';
COMMENT ON COLUMN @extschema@.credit_anchor.hash IS 'SHA-256 over previous_hash and this row.';

CREATE TABLE @extschema@.credit_anchor_leaf (
    anchor_no pg_catalog.int8  NOT NULL,
    seq       pg_catalog.int8  NOT NULL,
    user_id   pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    hash      pg_catalog.bytea NOT NULL,
    CONSTRAINT credit_anchor_leaf_pkey PRIMARY KEY (user_id, anchor_no),
    CONSTRAINT credit_anchor_leaf_row CHECK (
        anchor_no OPERATOR(pg_catalog.>=) 1 AND seq OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(hash) OPERATOR(pg_catalog.=) 32)
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_anchor_leaf', '');
COMMENT ON TABLE @extschema@.credit_anchor_leaf IS 'The newest history row of each user whose history has changed since the anchor before. Append-only.';
COMMENT ON COLUMN @extschema@.credit_anchor_leaf.anchor_no IS 'The anchor for which this row was written.';
COMMENT ON COLUMN @extschema@.credit_anchor_leaf.seq IS 'seq of the user''s newest history row at that time.';
COMMENT ON COLUMN @extschema@.credit_anchor_leaf.hash IS 'hash of that history row.';

/*
 * The archive has the history's columns.  It has one partition for each UTC year of
 * created_at.  A partition is made when rows come for it.  Partitions do not belong to
 * the extension, so pg_dump dumps them completely.  Each partition has a primary key of
 * its own and inherits none: a restore attaches the partition before it makes the key,
 * and an inherited key would exist by then.
 */
CREATE TABLE @extschema@.credit_history_archive (
    seq              pg_catalog.int8        NOT NULL,
    created_at       pg_catalog.timestamptz NOT NULL,
    effective_at     pg_catalog.timestamptz NOT NULL,
    period           pg_catalog.int8        NOT NULL,
    amount           pg_catalog.int8        NOT NULL,
    monthly_delta    pg_catalog.int8        NOT NULL,
    granted_delta    pg_catalog.int8        NOT NULL,
    purchased_delta  pg_catalog.int8        NOT NULL,
    monthly          pg_catalog.int8        NOT NULL,
    granted          pg_catalog.int8        NOT NULL,
    purchased        pg_catalog.int8        NOT NULL,
    skipped          pg_catalog.int4        NOT NULL,
    plan_version     pg_catalog.int4,
    user_id          pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    kind             pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    actor            pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    hash             pg_catalog.bytea       NOT NULL,
    next_reset_at    pg_catalog.timestamptz,
    ref_seq          pg_catalog.int8,
    ends_at          pg_catalog.timestamptz,
    held_monthly     pg_catalog.int8,
    held_granted     pg_catalog.int8,
    held_purchased   pg_catalog.int8,
    owed_monthly     pg_catalog.int8,
    owed_purchased   pg_catalog.int8,
    expired          pg_catalog.int8,
    forfeited        pg_catalog.int8,
    overdraft_limit  pg_catalog.int8,
    period_granted   pg_catalog.int8,
    last_left        pg_catalog.int8,
    last_limit       pg_catalog.int8,
    low_threshold    pg_catalog.int8,
    period_start     pg_catalog.timestamptz,
    cycle_anchor     pg_catalog.timestamp,
    period_share     pg_catalog.int4,
    last_undone      pg_catalog.bool,
    run_id           pg_catalog.uuid,
    idempotency_key  pg_catalog.text COLLATE pg_catalog."C",
    request_digest   pg_catalog.bytea,
    payment_ref      pg_catalog.text COLLATE pg_catalog."C",
    spender          pg_catalog.text COLLATE pg_catalog."C",
    plan             pg_catalog.text COLLATE pg_catalog."C",
    scheduled_plan   pg_catalog.text COLLATE pg_catalog."C",
    time_zone        pg_catalog.text COLLATE pg_catalog."C",
    status           pg_catalog.text COLLATE pg_catalog."C",
    cycle            pg_catalog.text COLLATE pg_catalog."C",
    crossed          pg_catalog.text COLLATE pg_catalog."C",
    allocations      pg_catalog.int8[],
    text_salt        pg_catalog.bytea,
    reason           pg_catalog.text,
    metadata         pg_catalog.jsonb,
    reason_digest    pg_catalog.bytea,
    metadata_digest  pg_catalog.bytea
) PARTITION BY RANGE (created_at);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_history_archive', '');
COMMENT ON TABLE @extschema@.credit_history_archive IS 'History rows that credits_archive has moved here. Each partition has one year of created_at.';

CREATE TABLE @extschema@.credit_checkpoint (
    monthly            pg_catalog.int8        NOT NULL,
    granted            pg_catalog.int8        NOT NULL,
    purchased          pg_catalog.int8        NOT NULL,
    held_monthly       pg_catalog.int8        NOT NULL,
    held_granted       pg_catalog.int8        NOT NULL,
    held_purchased     pg_catalog.int8        NOT NULL,
    owed_monthly       pg_catalog.int8        NOT NULL,
    owed_purchased     pg_catalog.int8        NOT NULL,
    overdraft_limit    pg_catalog.int8        NOT NULL,
    period_granted     pg_catalog.int8        NOT NULL,
    last_left          pg_catalog.int8        NOT NULL,
    last_limit         pg_catalog.int8        NOT NULL,
    period             pg_catalog.int8        NOT NULL,
    last_monthly_reset pg_catalog.timestamptz NOT NULL,
    effective_at       pg_catalog.timestamptz NOT NULL,
    cycle_anchor       pg_catalog.timestamp   NOT NULL,
    history_seq        pg_catalog.int8        NOT NULL,
    plan_threshold     pg_catalog.int8        NOT NULL,
    period_share       pg_catalog.int4        NOT NULL,
    last_undone        pg_catalog.bool        NOT NULL,
    user_id            pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    time_zone          pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    status             pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    history_hash       pg_catalog.bytea       NOT NULL,
    next_reset_at      pg_catalog.timestamptz,
    next_event_at      pg_catalog.timestamptz,
    end_anchor         pg_catalog.timestamp,
    closed_seq         pg_catalog.int8,
    forfeited          pg_catalog.int8,
    charged_monthly    pg_catalog.int8,
    charged_purchased  pg_catalog.int8,
    last_charged       pg_catalog.int8,
    last_closed_seq    pg_catalog.int8,
    low_threshold      pg_catalog.int8,
    flags              pg_catalog.int4,
    plan_version       pg_catalog.int4,
    plan               pg_catalog.text COLLATE pg_catalog."C",
    scheduled_plan     pg_catalog.text COLLATE pg_catalog."C",
    cycle              pg_catalog.text COLLATE pg_catalog."C",
    end_zone           pg_catalog.text COLLATE pg_catalog."C",
    end_cycle          pg_catalog.text COLLATE pg_catalog."C",
    level              pg_catalog.text COLLATE pg_catalog."C",
    grants             pg_catalog.int8[],
    holds              pg_catalog.int8[],
    purchases          pg_catalog.int8[],
    payment_refs       pg_catalog.text[] COLLATE pg_catalog."C",
    archived           pg_catalog.int8[] NOT NULL,
    opened_seq         pg_catalog.int8,
    opened_digest      pg_catalog.bytea,
    opened_plan        pg_catalog.text COLLATE pg_catalog."C",
    opened_anchor      pg_catalog.timestamp,
    opened_zone        pg_catalog.text COLLATE pg_catalog."C",
    CONSTRAINT credit_checkpoint_pkey PRIMARY KEY (user_id)
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_checkpoint', '');
COMMENT ON TABLE @extschema@.credit_checkpoint IS 'One row per user with archived history. It has the account as it was after the last archived row (history_seq), and what is still needed from the archived rows. The newest archive row of credit_history has its digest (docs/audit-format.md).';
COMMENT ON COLUMN @extschema@.credit_checkpoint.grants IS 'Grants that had not ended, and paid ones: seq, amount, remaining, ends_at, closed and paid (0 or 1), expired, elsewhere. Times are microseconds since 1970.';
COMMENT ON COLUMN @extschema@.credit_checkpoint.holds IS 'Holds that can still be captured: seq, amount, monthly, purchased, period, ends_at (0: the hold has expired), given_back, number of pairs, and the pairs (seq of a grant, its credits).';
COMMENT ON COLUMN @extschema@.credit_checkpoint.purchases IS 'All archived payments: seq, amount, and by then: revoked and reported; whether it is a grant (0 or 1).';
COMMENT ON COLUMN @extschema@.credit_checkpoint.payment_refs IS 'The payment_ref of each archived purchase, in the same order.';
COMMENT ON COLUMN @extschema@.credit_checkpoint.archived IS 'How many archived rows are in the partition of which year: year, rows.';
COMMENT ON COLUMN @extschema@.credit_checkpoint.opened_seq IS 'seq of the row that opened the account with facts, if that row is archived. The next columns have what credits_open_account was asked, and what it set.';

CREATE TABLE @extschema@.credit_event (
    seq          pg_catalog.int8        NOT NULL,
    amount       pg_catalog.int8        NOT NULL,
    available    pg_catalog.int8        NOT NULL,
    created_at   pg_catalog.timestamptz NOT NULL,
    effective_at pg_catalog.timestamptz NOT NULL,
    user_id      pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    kind         pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    ends_at      pg_catalog.timestamptz,
    CONSTRAINT credit_event_pkey PRIMARY KEY (user_id, seq, kind)
);
CREATE INDEX credit_event_order_idx ON @extschema@.credit_event (created_at, user_id, seq);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.credit_event', '');
COMMENT ON TABLE @extschema@.credit_event IS 'A queue of events of the kinds that credits.events names. Each was written in the transaction of its history row, or, before a grant or hold ends, by the sweep. credits_take_events gives each to one consumer and removes it. It is no part of the audit trail.';
COMMENT ON COLUMN @extschema@.credit_event.seq IS 'seq of the history row; of a notice before an end, of the row that made the grant or hold.';
COMMENT ON COLUMN @extschema@.credit_event.amount IS 'amount of the history row; of a notice before an end, what is left of the grant or held.';
COMMENT ON COLUMN @extschema@.credit_event.available IS 'Credits available after that row; of a notice, when it was written.';
COMMENT ON COLUMN @extschema@.credit_event.kind IS 'low, empty, recovered, purchase, revoke, reinstate, refund, reset, hold_expired, plan_change, freeze, unfreeze, close, grant_ending or hold_ending.';

/*
 * Guards: they refuse UPDATE, DELETE and TRUNCATE to every role, also under
 * session_replication_role = replica.  The ledger's own writes fire no statement
 * triggers.
 */
CREATE FUNCTION @extschema@.credits_guard() RETURNS pg_catalog.trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_guard';
COMMENT ON FUNCTION @extschema@.credits_guard() IS 'The guard trigger of every table of the extension. It refuses UPDATE, DELETE and TRUNCATE with UC007.';

CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_plan FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_account FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_history FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_payment FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_grant FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_hold FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_reset_run FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_audit_log FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_role FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_anchor FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_anchor_leaf FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_history_archive FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_checkpoint FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON @extschema@.credit_event FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.credits_guard();
ALTER TABLE @extschema@.credit_plan ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_account ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_history ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_payment ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_grant ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_hold ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_reset_run ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_audit_log ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_role ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_anchor ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_anchor_leaf ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_checkpoint ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_event ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE @extschema@.credit_history_archive ENABLE ALWAYS TRIGGER credits_guard;

/*
 * While there are accounts, a DROP that would destroy the ledger is refused.  The
 * function of an event trigger is called without the right to EXECUTE it.
 */
CREATE FUNCTION @extschema@.credits_drop_guard() RETURNS pg_catalog.event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_drop_guard';
COMMENT ON FUNCTION @extschema@.credits_drop_guard() IS 'Event trigger. It refuses a DROP that would destroy a ledger with accounts, unless credits.allow_drop is on. Errors: 2BP01.';

CREATE EVENT TRIGGER credits_drop_guard ON ddl_command_start WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED')
    EXECUTE FUNCTION @extschema@.credits_drop_guard();
ALTER EVENT TRIGGER credits_drop_guard ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER credits_drop_guard IS 'Refuses DROP EXTENSION, DROP SCHEMA CASCADE and DROP OWNED if they would destroy a ledger with accounts.';

/*
 * Spending.  Optional arguments default to NULL, so these functions are not STRICT.  A
 * NULL for a required argument is 22004.
 */
CREATE FUNCTION @extschema@.credits_deduct(
    user_id pg_catalog.text, amount pg_catalog.int8,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL, spender pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_deduct';
COMMENT ON FUNCTION @extschema@.credits_deduct(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text) IS
'Spends amount credits (1 .. 2^53-1) of user_id: first monthly, then granted, then purchased credits. Returns the receipt. Errors: UC001 insufficient_credits, UC002 account_not_found, UC003 idempotency_conflict, UC004 account_frozen, UC012 time_zone_unknown, 22003, 22004, 22023, 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_try_deduct(
    user_id pg_catalog.text, amount pg_catalog.int8,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL, spender pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_try_deduct';
COMMENT ON FUNCTION @extschema@.credits_try_deduct(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text) IS
'Like credits_deduct, but where that raises UC001, this answers {"ok": false, "error": "insufficient_credits", "required", "available", ...} and writes nothing. Other errors are those of credits_deduct.';

CREATE FUNCTION @extschema@.credits_deduct_many(
    user_ids pg_catalog.text[], amounts pg_catalog.int8[],
    reasons pg_catalog.text[] DEFAULT NULL, idempotency_keys pg_catalog.text[] DEFAULT NULL,
    metadata pg_catalog.jsonb[] DEFAULT NULL, all_or_nothing pg_catalog.bool DEFAULT NULL,
    spenders pg_catalog.text[] DEFAULT NULL)
    RETURNS SETOF pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'credits_deduct_many';
COMMENT ON FUNCTION @extschema@.credits_deduct_many(pg_catalog.text[], pg_catalog.int8[], pg_catalog.text[], pg_catalog.text[], pg_catalog.jsonb[], pg_catalog.bool, pg_catalog.text[]) IS
'At most 100000 deductions in one call. The arrays have one element for each item. Returns one receipt for each item, in the same order. Each account is locked once, in the order of users. Items of one user are done in their order. If a key occurs twice, the second item is a replay. A refused item (UC001, UC002, UC003, UC004, UC012) answers {"ok": false, "error", ...}. With all_or_nothing it raises the error instead, and the whole batch is undone. After the first account, it waits at most 10 seconds for another one. Other errors: 22003, 22004, 22023, 25006, 40001, 55P03.';

/* Purchases and corrections. */
CREATE FUNCTION @extschema@.credits_add_purchased(
    user_id pg_catalog.text, amount pg_catalog.int8, payment_ref pg_catalog.text,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_add_purchased';
COMMENT ON FUNCTION @extschema@.credits_add_purchased(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'Adds amount purchased credits (1 .. 2^53-1). Each payment_ref (the id of the payment or invoice, 1 to 255 bytes) is credited only once. If the user is unknown, opens an account without a plan. Errors: UC003 (payment_ref is known with another user or amount), 22003, 22004, 22023, 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_adjust(
    user_id pg_catalog.text, bucket pg_catalog.text, delta pg_catalog.int8, reason pg_catalog.text,
    idempotency_key pg_catalog.text DEFAULT NULL, metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_adjust';
COMMENT ON FUNCTION @extschema@.credits_adjust(pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'An administrator corrects one bucket (monthly, granted or purchased) by a signed amount. granted can only be lowered. A reason is required. If the bucket would go below 0, raises UC001. Other errors: UC002, UC003, UC012 (monthly), 22003, 22004, 22023, 25006, 40001, 55P03.';

/* Grants, holds, refunds, chargebacks. */
CREATE FUNCTION @extschema@.credits_grant(
    user_id pg_catalog.text, amount pg_catalog.int8, expires_at pg_catalog.timestamptz,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL,
    payment_ref pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_grant';
COMMENT ON FUNCTION @extschema@.credits_grant(pg_catalog.text, pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text) IS
'Gives amount credits (1 .. 2^53-1) that end at expires_at. They are spent after monthly and before purchased credits. The grant that ends first is spent first. The receipt''s seq identifies the grant. payment_ref: the grant was paid for. Like a purchase, it is then credited once for ever, opens an account for an unknown user, and credits_revoke_purchase can revoke it. Errors: UC002, UC003, UC004 (closed), 22003, 22004, 22023 (expires_at is not in the future), 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_hold(
    user_id pg_catalog.text, amount pg_catalog.int8, expires_in pg_catalog.interval DEFAULT NULL,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL,
    spender pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_hold';
COMMENT ON FUNCTION @extschema@.credits_hold(pg_catalog.text, pg_catalog.int8, pg_catalog.interval, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text) IS
'Holds amount credits, in the order of spending, for expires_in (default 15 minutes, at most 31 days, a day has 24 hours, months are not allowed). The receipt''s seq is the hold_seq for capture and release. A hold that is not captured or released ends by itself. Errors: UC001 (an overdraft limit does not count), UC002, UC003, UC004, UC012, 22003, 22004, 22023, 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_capture(
    user_id pg_catalog.text, hold_seq pg_catalog.int8, amount pg_catalog.int8 DEFAULT NULL, keep_open pg_catalog.bool DEFAULT NULL,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL,
    spender pg_catalog.text DEFAULT NULL, over pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_capture';
COMMENT ON FUNCTION @extschema@.credits_capture(pg_catalog.text, pg_catalog.int8, pg_catalog.int8, pg_catalog.bool, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.text) IS
'Spends amount credits (default: all) of a hold. If amount is more than the hold has, the rest is deducted from the balance. over: what to do if the balance does not have it. refuse (default): UC001. owe: the user owes it, without a limit. Closes the hold and gives back what is left of it; amount 0 only does that. With keep_open, the hold stays open as long as something is left. A hold that has expired can be captured once: first with what expired with it, then as an ordinary deduction. Errors: UC001, UC002, UC003, UC004, UC005 hold_not_found, UC006 hold_closed, UC012, 22003, 22004, 22023, 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_release(
    user_id pg_catalog.text, hold_seq pg_catalog.int8,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_release';
COMMENT ON FUNCTION @extschema@.credits_release(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'Gives back everything that a hold has, to the buckets and grants it came from. Credits of a period or grant that has ended expire. Errors: UC002, UC003, UC005 hold_not_found, UC006 hold_closed, 22004, 22023, 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_refund(
    user_id pg_catalog.text, seq pg_catalog.int8, amount pg_catalog.int8 DEFAULT NULL,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_refund';
COMMENT ON FUNCTION @extschema@.credits_refund(pg_catalog.text, pg_catalog.int8, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'Gives back amount credits (default: all that is not refunded yet) of the deduction or capture seq. What was spent last goes back first, to the bucket or grant it came from. Credits of a period or grant that has ended are forfeited. Errors: UC002, UC003, UC010 refund_exceeds_deduction, 22003, 22004, 22023 (seq is no deduction or capture), 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_revoke_purchase(
    payment_ref pg_catalog.text, amount pg_catalog.int8 DEFAULT NULL,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL, total pg_catalog.int8 DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_revoke_purchase';
COMMENT ON FUNCTION @extschema@.credits_revoke_purchase(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.int8) IS
'A chargeback: takes back amount credits (default: all that are not taken back yet) of a payment. total: instead, how much is revoked in all, as payment providers report it; only what is more than the highest total so far is taken. Takes them from the grant if the payment paid for one (also what ended unused), from what was forfeited if the account was closed since, and from purchased credits that are not held. The user owes the rest, and whatever comes to the bucket pays it. A second call for all, or with the same total, is a replay. Errors: UC003, UC010 (more than the payment has left), UC011 payment_not_found, 22003, 22004, 22023 (both amount and total), 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_reinstate_purchase(
    payment_ref pg_catalog.text, amount pg_catalog.int8 DEFAULT NULL,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_reinstate_purchase';
COMMENT ON FUNCTION @extschema@.credits_reinstate_purchase(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'A dispute that was won: gives back amount credits (default: all) that credits_revoke_purchase has taken: first what the purchased bucket gave or owed, then the grant. What belonged to a grant that has ended is forfeited. If the account was closed since the payment, it gets what it has been charged since for that time, and the rest is forfeited. Errors: UC003, UC010 (more than is revoked), UC011 payment_not_found, 22003, 22004, 22023, 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_set_overdraft(
    user_id pg_catalog.text, overdraft_limit pg_catalog.int8,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_set_overdraft';
COMMENT ON FUNCTION @extschema@.credits_set_overdraft(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'Sets how many purchased credits the user''s deductions may owe (0 .. 2^53-1, at first 0). Errors: UC002, UC003, 22003, 22004, 22023, 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_set_low_threshold(
    user_id pg_catalog.text, threshold pg_catalog.int8,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_set_low_threshold';
COMMENT ON FUNCTION @extschema@.credits_set_low_threshold(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'Sets the number of available credits (0 .. 2^53-1) below which this account is low, instead of its plan''s low_balance_threshold. NULL: the plan''s holds again. Errors: UC002, UC003, 22003, 22004, 22023, 25006, 40001, 55P03.';

/* Accounts and plans. */
CREATE FUNCTION @extschema@.credits_define_plan(
    plan pg_catalog.text, monthly_credits pg_catalog.int8, cycle pg_catalog.text DEFAULT NULL,
    rollover_limit pg_catalog.int8 DEFAULT NULL, low_balance_threshold pg_catalog.int8 DEFAULT NULL,
    effective_from pg_catalog.timestamptz DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_define_plan';
COMMENT ON FUNCTION @extschema@.credits_define_plan(pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.int8, pg_catalog.int8, pg_catalog.timestamptz) IS
'Defines a plan, or a new version of one. It is in force from effective_from on (default: now; a new version begins one microsecond later). A NULL argument is taken from the version before, or is calendar, 0, 0 if there is none. If the newest version already says the same, the call changes nothing and answers replayed. Errors: 22003, 22004, 22023 (effective_from is in the past or not after the newest version), 25006, 55P03 (transactions that use the plan stay open).';

CREATE FUNCTION @extschema@.credits_open_account(
    user_id pg_catalog.text, plan pg_catalog.text DEFAULT NULL,
    cycle_anchor pg_catalog.text DEFAULT NULL, time_zone pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_open_account';
COMMENT ON FUNCTION @extschema@.credits_open_account(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'Opens an account and grants the plan''s first allowance. plan: default credits.default_plan, else none. cycle_anchor: anniversaries are counted from this time (default: now), ISO 8601. Without an offset it is the account''s local time, with an offset or Z it is an instant. time_zone: a name in pg_timezone_names (default UTC). A second call with the same facts is a replay. With other facts it raises UC003. Errors: UC004 (closed), UC009 plan_not_found, 22004, 22023, 25006, 40001.';

CREATE FUNCTION @extschema@.credits_set_plan(
    user_id pg_catalog.text, plan pg_catalog.text, at pg_catalog.text DEFAULT NULL,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL,
    restart pg_catalog.bool DEFAULT NULL, keep_anchor pg_catalog.bool DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_set_plan';
COMMENT ON FUNCTION @extschema@.credits_set_plan(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.bool, pg_catalog.bool) IS
'Changes the plan now (default), or at the next reset (at: next_reset). plan NULL cancels the plan. A change now leaves the running period alone: a larger allowance adds the difference to what this period has granted, and a smaller one takes it; what is held or spent of that is taken when it comes back. So changing back and forth never grants twice. A plan whose periods have another length (day, week, month, year) cannot follow now, but at the next reset or with restart. restart: a new period begins now, with the full allowance, for example because the user has paid for it; it lasts one full period. The anchor moves to now, unless keep_anchor is set. Give restart an idempotency_key. Errors: UC002, UC003, UC004 (closed), UC009, UC012, 22003, 22004, 22023, 25006, 40001.';

CREATE FUNCTION @extschema@.credits_set_cycle(
    user_id pg_catalog.text, cycle_anchor pg_catalog.text DEFAULT NULL, time_zone pg_catalog.text DEFAULT NULL,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_set_cycle';
COMMENT ON FUNCTION @extschema@.credits_set_cycle(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'Changes cycle_anchor (as in credits_open_account) or time_zone. NULL keeps the old value. The running period keeps its end. The next one lasts from there to the first new boundary, and if that is less than a full period, its allowance is prorated. So changing back within a period changes nothing, and no change gains an allowance. Errors: UC002, UC003, UC012 (no time_zone given), 22004, 22023, 25006, 40001, 55P03.';

CREATE FUNCTION @extschema@.credits_freeze(user_id pg_catalog.text, reason pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_freeze';
COMMENT ON FUNCTION @extschema@.credits_freeze(pg_catalog.text, pg_catalog.text) IS
'Freezes an account: spending is refused (UC004) until credits_unfreeze. Credits can still be given, and resets go on. Audited. Errors: UC002, UC004 (closed), 22004, 22023, 25006, 40001.';

CREATE FUNCTION @extschema@.credits_unfreeze(user_id pg_catalog.text, reason pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_unfreeze';
COMMENT ON FUNCTION @extschema@.credits_unfreeze(pg_catalog.text, pg_catalog.text) IS
'Ends a freeze. Audited. Errors: UC002, 22004, 22023, 25006, 40001.';

CREATE FUNCTION @extschema@.credits_repair_clock(user_id pg_catalog.text, reason pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_repair_clock';
COMMENT ON FUNCTION @extschema@.credits_repair_clock(pg_catalog.text, pg_catalog.text) IS
'For the time after a clock was ahead: sets the account''s time back to the clock with a clock_repair row. No balance changes. The period keeps its end, so nothing is granted twice. Audited. Errors: UC002, 22004, 22023 (the account is not ahead), 25006, 40001.';

CREATE FUNCTION @extschema@.credits_erase_user(user_id pg_catalog.text, reason pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_erase_user';
COMMENT ON FUNCTION @extschema@.credits_erase_user(pg_catalog.text, pg_catalog.text) IS
'Erases reason and metadata, and their salts, in every row of the user''s history. Their digests, which the hash chain covers, replace them, so the history can still be verified. User ids, spenders, keys and payment references stay. The reason for the erasure is kept in the audit log. Returns {ok, user_id, rows}. Errors: UC002, 22004, 22023, 25006, 40001.';

/*
 * Reading.  These functions read below the executor, so EXECUTE is the only right that
 * they need.  They apply what is due without writing it, so they also work on a standby.
 */
CREATE FUNCTION @extschema@.credits_balance(user_id pg_catalog.text)
    RETURNS pg_catalog.jsonb
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 300 AS 'MODULE_PATHNAME', 'credits_balance';
COMMENT ON FUNCTION @extschema@.credits_balance(pg_catalog.text) IS
'What the user has now, with everything that is due applied, as jsonb. Read-only, works on a hot standby. Errors: UC002, 22004, 22023.';

CREATE FUNCTION @extschema@.credits_balances(user_ids pg_catalog.text[])
    RETURNS SETOF pg_catalog.jsonb
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 10000 ROWS 100 AS 'MODULE_PATHNAME', 'credits_balances';
COMMENT ON FUNCTION @extschema@.credits_balances(pg_catalog.text[]) IS
'credits_balance of at most 10,000 users, in the order of user_ids, all at one time. The answer for an unknown user is {"error": "account_not_found", "user_id": "..."}. Read-only, works on a hot standby. Errors: UC009, 22004, 22023.';

CREATE FUNCTION @extschema@.credits_quote(user_id pg_catalog.text, amount pg_catalog.int8)
    RETURNS pg_catalog.jsonb
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 300 AS 'MODULE_PATHNAME', 'credits_quote';
COMMENT ON FUNCTION @extschema@.credits_quote(pg_catalog.text, pg_catalog.int8) IS
'What credits_deduct of that amount would do now: ok, or the error and the shortfall; what each bucket and grant would give, and what would be left. Reserves nothing. Read-only, works on a hot standby. Errors: UC002, UC009, 22003, 22004, 22023.';

CREATE FUNCTION @extschema@.credits_balance_at(user_id pg_catalog.text, at pg_catalog.timestamptz)
    RETURNS pg_catalog.jsonb
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'credits_balance_at';
COMMENT ON FUNCTION @extschema@.credits_balance_at(pg_catalog.text, pg_catalog.timestamptz) IS
'What the user had at a past time: the account after the last history row in effect by then, with what was due by then. Replays and verifies the history up to that row. Errors: UC002 (no account then), UC008, UC012, 22004, 22023 (a future time).';

CREATE FUNCTION @extschema@.credits_explain(user_id pg_catalog.text)
    RETURNS pg_catalog.jsonb
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'credits_explain';
COMMENT ON FUNCTION @extschema@.credits_explain(pg_catalog.text) IS
'Explains what credits_balance says: for each bucket where its credits came from and what took them, each open grant and hold, what ends when, and the time and amount of the next reset. Errors: UC002, 22004, 22023.';

CREATE FUNCTION @extschema@.credits_account_state(
    IN account @extschema@.credit_account,
    OUT monthly pg_catalog.int8, OUT granted pg_catalog.int8, OUT purchased pg_catalog.int8,
    OUT available pg_catalog.int8, OUT held pg_catalog.int8, OUT owed pg_catalog.int8,
    OUT plan pg_catalog.text, OUT plan_version pg_catalog.int4, OUT status pg_catalog.text,
    OUT period_start pg_catalog.timestamptz, OUT next_reset_at pg_catalog.timestamptz,
    OUT low pg_catalog.bool, OUT owed_monthly pg_catalog.int8,
    OUT as_of pg_catalog.timestamptz, OUT valid_until pg_catalog.timestamptz)
    RETURNS pg_catalog.record
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 200 AS 'MODULE_PATHNAME', 'credits_account_state';
COMMENT ON FUNCTION @extschema@.credits_account_state(@extschema@.credit_account) IS
'An account row as it is now, with everything that is due applied. The view credit_balance calls it for accounts where something is due.';

CREATE FUNCTION @extschema@.credits_account_from_history(user_id pg_catalog.text)
    RETURNS @extschema@.credit_account
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE AS 'MODULE_PATHNAME', 'credits_account_from_history';
COMMENT ON FUNCTION @extschema@.credits_account_from_history(pg_catalog.text) IS
'The row of credit_account that the user''s history gives, for docs/runbook-verification.md. It replays and verifies the whole history. Columns that were added to the table are NULL. Errors: UC002, UC008, 22004, 22023.';

CREATE FUNCTION @extschema@.credits_now() RETURNS pg_catalog.timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'credits_now';
COMMENT ON FUNCTION @extschema@.credits_now() IS
'The time to which reads refer: the start of the statement, or credits.clock.';

/*
 * If nothing is due, the account's row says what the user has.  The function takes 20
 * times as long as reading the row, so it is called only for accounts where something may
 * be due.  The index on next_event_at finds them.  The boundaries of an account without a
 * plan and without monthly credits are not events.  If one has passed, only the columns of
 * the period call the function.  The view uses outer joins and not UNION ALL.  So it stays
 * flat, and a query that joins it finds accounts by index.  Nothing that is due changes
 * the status, so a DBA's index on it can be used.
 *
 * l is the account once more, if it can be low: its last row left it so (1 is in its flags,
 * so they are odd), or something may be due.  WHERE low makes this join an inner one.  So
 * the planner can begin with l, which it finds by the indexes on flags and next_event_at.
 */
CREATE VIEW @extschema@.credit_balance AS
    SELECT a.user_id,
           COALESCE(s.monthly, a.monthly) AS monthly,
           COALESCE(s.granted, a.granted) AS granted,
           COALESCE(s.purchased, a.purchased) AS purchased,
           COALESCE(s.available, a.monthly OPERATOR(pg_catalog.+) a.granted OPERATOR(pg_catalog.+) a.purchased) AS available,
           COALESCE(s.held, a.held_monthly OPERATOR(pg_catalog.+) a.held_granted OPERATOR(pg_catalog.+) a.held_purchased) AS held,
           COALESCE(s.owed, a.owed_purchased) AS owed,
           CASE WHEN s.user_id IS NULL THEN a.plan ELSE s.plan END AS plan,
           CASE WHEN s.user_id IS NULL THEN a.plan_version ELSE s.plan_version END AS plan_version,
           a.status,
           CASE WHEN s.user_id IS NOT NULL THEN s.period_start
                WHEN a.next_reset_at OPERATOR(pg_catalog.>) (SELECT @extschema@.credits_now()) OR a.next_reset_at IS NULL THEN a.last_monthly_reset
                ELSE (SELECT f.period_start FROM ONLY @extschema@.credit_account d CROSS JOIN LATERAL @extschema@.credits_account_state(d) f
                       WHERE d.user_id OPERATOR(pg_catalog.=) a.user_id) END AS period_start,
           CASE WHEN s.user_id IS NOT NULL THEN s.next_reset_at
                WHEN a.next_reset_at OPERATOR(pg_catalog.>) (SELECT @extschema@.credits_now()) OR a.next_reset_at IS NULL THEN a.next_reset_at
                ELSE (SELECT f.next_reset_at FROM ONLY @extschema@.credit_account d CROSS JOIN LATERAL @extschema@.credits_account_state(d) f
                       WHERE d.user_id OPERATOR(pg_catalog.=) a.user_id) END AS next_reset_at,
           l.user_id IS NOT NULL AND COALESCE(s.low, true) AS low,
           a.history_seq AS seq,
           COALESCE(s.owed_monthly, a.owed_monthly) AS owed_monthly,
           COALESCE(s.as_of, GREATEST((SELECT @extschema@.credits_now()), a.effective_at)) AS as_of,
           CASE WHEN s.user_id IS NOT NULL THEN s.valid_until
                WHEN a.granted OPERATOR(pg_catalog.>) 0 OR a.held_monthly OPERATOR(pg_catalog.>) 0 OR a.held_granted OPERATOR(pg_catalog.>) 0 OR a.held_purchased OPERATOR(pg_catalog.>) 0
                THEN a.next_event_at
                WHEN a.plan IS NOT NULL OR a.scheduled_plan IS NOT NULL OR a.monthly OPERATOR(pg_catalog.>) 0 OR a.owed_monthly OPERATOR(pg_catalog.>) 0
                THEN a.next_reset_at END AS valid_until
      FROM ONLY @extschema@.credit_account a
           LEFT JOIN ONLY @extschema@.credit_account l
             ON l.user_id OPERATOR(pg_catalog.=) a.user_id AND
                (l.flags OPERATOR(pg_catalog.=) ANY ('{1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31}'::pg_catalog.int4[]) OR
                 l.next_event_at OPERATOR(pg_catalog.<=) @extschema@.credits_now())
           LEFT JOIN (SELECT d.user_id, f.monthly, f.granted, f.purchased, f.available, f.held, f.owed,
                             f.plan, f.plan_version, f.period_start, f.next_reset_at, f.low, f.owed_monthly, f.as_of, f.valid_until
                        FROM ONLY @extschema@.credit_account d CROSS JOIN LATERAL @extschema@.credits_account_state(d) f
                       WHERE d.next_event_at OPERATOR(pg_catalog.<=) @extschema@.credits_now()) s
             ON s.user_id OPERATOR(pg_catalog.=) a.user_id;
COMMENT ON VIEW @extschema@.credit_balance IS 'What each user has now, with everything that is due applied. Typed columns for people, BI and ORMs.';

CREATE FUNCTION @extschema@.credits_history(
    user_id pg_catalog.text, before_seq pg_catalog.int8 DEFAULT NULL, page_size pg_catalog.int4 DEFAULT NULL,
    kinds pg_catalog.text[] DEFAULT NULL, from_time pg_catalog.timestamptz DEFAULT NULL, to_time pg_catalog.timestamptz DEFAULT NULL,
    reference pg_catalog.text DEFAULT NULL, ref_seq pg_catalog.int8 DEFAULT NULL)
    RETURNS TABLE (seq pg_catalog.int8, kind pg_catalog.text, amount pg_catalog.int8, delta pg_catalog.int8,
        monthly_delta pg_catalog.int8, granted_delta pg_catalog.int8, purchased_delta pg_catalog.int8,
        monthly pg_catalog.int8, granted pg_catalog.int8, purchased pg_catalog.int8,
        available pg_catalog.int8, held pg_catalog.int8, owed pg_catalog.int8,
        expired pg_catalog.int8, forfeited pg_catalog.int8, skipped pg_catalog.int4,
        reason pg_catalog.text, metadata pg_catalog.jsonb, idempotency_key pg_catalog.text,
        payment_ref pg_catalog.text, ref_seq pg_catalog.int8, spender pg_catalog.text, actor pg_catalog.text,
        run_id pg_catalog.uuid, plan pg_catalog.text, plan_version pg_catalog.int4, status pg_catalog.text,
        period pg_catalog.int8, next_reset_at pg_catalog.timestamptz,
        created_at pg_catalog.timestamptz, effective_at pg_catalog.timestamptz, hash pg_catalog.bytea)
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE ROWS 50 AS 'MODULE_PATHNAME', 'credits_history';
COMMENT ON FUNCTION @extschema@.credits_history(pg_catalog.text, pg_catalog.int8, pg_catalog.int4, pg_catalog.text[], pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.int8) IS
'A page of a user''s history, newest first: page_size rows (default 50, at most 1000) with seq < before_seq. Each argument that is given selects rows: kinds, from_time <= effective_at < to_time, payment_ref, idempotency_key, ref_seq. To get the next page, pass the last seq of this one. Errors: UC002, 22004, 22023.';

CREATE FUNCTION @extschema@.credits_usage(
    user_id pg_catalog.text, by pg_catalog.text DEFAULT NULL,
    from_time pg_catalog.timestamptz DEFAULT NULL, to_time pg_catalog.timestamptz DEFAULT NULL, time_zone pg_catalog.text DEFAULT NULL)
    RETURNS TABLE (starts_at pg_catalog.timestamptz, name pg_catalog.text, history_rows pg_catalog.int8, operations pg_catalog.int8,
        spent pg_catalog.int8, monthly_spent pg_catalog.int8, granted_spent pg_catalog.int8, purchased_spent pg_catalog.int8,
        refunded pg_catalog.int8, purchased pg_catalog.int8, granted pg_catalog.int8, delta pg_catalog.int8)
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 1000 ROWS 30 AS 'MODULE_PATHNAME', 'credits_usage';
COMMENT ON FUNCTION @extschema@.credits_usage(pg_catalog.text, pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text) IS
'What the user spent, was refunded, bought and was granted, by day (default), hour, kind, reason or spender, or all of it as one row (by => all). Days and hours are those of time_zone (default: the account''s), and those without anything are there, too. from_time <= effective_at < to_time; default: the last 30 days or 24 hours up to now. Reads the user''s rows since from_time. Errors: UC002, 22004, 22023.';

CREATE FUNCTION @extschema@.credits_total_usage(
    by pg_catalog.text DEFAULT NULL, from_time pg_catalog.timestamptz DEFAULT NULL, to_time pg_catalog.timestamptz DEFAULT NULL,
    time_zone pg_catalog.text DEFAULT NULL, top pg_catalog.int4 DEFAULT NULL)
    RETURNS TABLE (starts_at pg_catalog.timestamptz, name pg_catalog.text, history_rows pg_catalog.int8, operations pg_catalog.int8,
        spent pg_catalog.int8, monthly_spent pg_catalog.int8, granted_spent pg_catalog.int8, purchased_spent pg_catalog.int8,
        refunded pg_catalog.int8, purchased pg_catalog.int8, granted pg_catalog.int8, delta pg_catalog.int8)
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL RESTRICTED COST 1000000 ROWS 100 AS 'MODULE_PATHNAME', 'credits_total_usage';
COMMENT ON FUNCTION @extschema@.credits_total_usage(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.int4) IS
'What credits_usage says, of all users together: also by user. time_zone: default UTC. top: only so many users, spenders, reasons or kinds, those that spent most (default 100, at most 100000). Reads the whole history, unless credit_history has an index on effective_at. Errors: 22023.';

/*
 * The allocations of a capture are pairs: where the credits came from (above 0: a grant;
 * 0, -2, -3 and -4: monthly; -1: purchased), and how many.  (-4 is what expired with the
 * hold, monthly or granted.)  A deduction's deltas say the same.
 * The rest of the amount was purchased, or is owed there.
 */
CREATE VIEW @extschema@.credit_usage_daily AS
    SELECT u.user_id, u.day, u.spender,
           pg_catalog.count(u.spent) AS operations,
           LEAST(COALESCE(pg_catalog.sum(u.spent), 0), 9223372036854775807)::pg_catalog.int8 AS spent,
           LEAST(COALESCE(pg_catalog.sum(u.monthly_spent), 0), 9223372036854775807)::pg_catalog.int8 AS monthly_spent,
           LEAST(COALESCE(pg_catalog.sum(u.granted_spent), 0), 9223372036854775807)::pg_catalog.int8 AS granted_spent,
           LEAST(COALESCE(pg_catalog.sum(u.spent OPERATOR(pg_catalog.-) u.monthly_spent OPERATOR(pg_catalog.-) u.granted_spent), 0), 9223372036854775807)::pg_catalog.int8 AS purchased_spent,
           LEAST(COALESCE(pg_catalog.sum(u.refunded), 0), 9223372036854775807)::pg_catalog.int8 AS refunded,
           LEAST(COALESCE(pg_catalog.sum(u.purchased), 0), 9223372036854775807)::pg_catalog.int8 AS purchased,
           LEAST(COALESCE(pg_catalog.sum(u.granted), 0), 9223372036854775807)::pg_catalog.int8 AS granted
      FROM (SELECT h.user_id, (h.effective_at AT TIME ZONE 'UTC')::pg_catalog.date AS day,
                   CASE WHEN h.kind OPERATOR(pg_catalog.=) 'refund'
                        THEN (SELECT o.spender FROM ONLY @extschema@.credit_history o
                               WHERE o.user_id OPERATOR(pg_catalog.=) h.user_id AND o.seq OPERATOR(pg_catalog.=) h.ref_seq
                              UNION ALL
                              SELECT o.spender FROM @extschema@.credit_history_archive o
                               WHERE o.user_id OPERATOR(pg_catalog.=) h.user_id AND o.seq OPERATOR(pg_catalog.=) h.ref_seq)
                        ELSE h.spender END AS spender,
                   CASE WHEN h.kind OPERATOR(pg_catalog.=) 'deduct' OR h.kind OPERATOR(pg_catalog.=) 'capture' THEN h.amount END AS spent,
                   CASE WHEN h.kind OPERATOR(pg_catalog.=) 'deduct' THEN OPERATOR(pg_catalog.-) h.monthly_delta
                        WHEN h.kind OPERATOR(pg_catalog.=) 'capture'
                        THEN (SELECT COALESCE(pg_catalog.sum(h.allocations[i OPERATOR(pg_catalog.*) 2]), 0)
                                FROM pg_catalog.generate_series(1, pg_catalog.cardinality(h.allocations) OPERATOR(pg_catalog./) 2) i
                               WHERE h.allocations[i OPERATOR(pg_catalog.*) 2 OPERATOR(pg_catalog.-) 1] OPERATOR(pg_catalog.=) ANY ('{0,-2,-3,-4}'::pg_catalog.int8[]))
                        END AS monthly_spent,
                   CASE WHEN h.kind OPERATOR(pg_catalog.=) 'deduct' THEN OPERATOR(pg_catalog.-) h.granted_delta
                        WHEN h.kind OPERATOR(pg_catalog.=) 'capture'
                        THEN (SELECT COALESCE(pg_catalog.sum(h.allocations[i OPERATOR(pg_catalog.*) 2]), 0)
                                FROM pg_catalog.generate_series(1, pg_catalog.cardinality(h.allocations) OPERATOR(pg_catalog./) 2) i
                               WHERE h.allocations[i OPERATOR(pg_catalog.*) 2 OPERATOR(pg_catalog.-) 1] OPERATOR(pg_catalog.>) 0)
                        END AS granted_spent,
                   CASE WHEN h.kind OPERATOR(pg_catalog.=) 'refund' THEN h.amount END AS refunded,
                   CASE WHEN h.kind OPERATOR(pg_catalog.=) 'purchase' THEN h.amount END AS purchased,
                   CASE WHEN h.kind OPERATOR(pg_catalog.=) 'grant' THEN h.amount END AS granted
              FROM (SELECT user_id, seq, kind, effective_at, ref_seq, spender, amount, monthly_delta, granted_delta, allocations
                      FROM ONLY @extschema@.credit_history
                    UNION ALL
                    SELECT user_id, seq, kind, effective_at, ref_seq, spender, amount, monthly_delta, granted_delta, allocations
                      FROM @extschema@.credit_history_archive) h
             WHERE h.kind OPERATOR(pg_catalog.=) ANY (ARRAY['deduct', 'capture', 'refund', 'purchase', 'grant'])) u
     GROUP BY u.user_id, u.day, u.spender;
COMMENT ON VIEW @extschema@.credit_usage_daily IS 'What each user spent, was refunded, bought and was granted on each UTC day, by spender. Typed columns for people, BI and ORMs.';

/* Lists over all users.  For one user's, credits_explain has what is due applied. */
CREATE VIEW @extschema@.credit_open_hold AS
    SELECT h.user_id, h.seq, h.amount,
           h.monthly OPERATOR(pg_catalog.+) h.purchased OPERATOR(pg_catalog.+) COALESCE(
               (SELECT pg_catalog.sum(h.allocations[i OPERATOR(pg_catalog.*) 2])
                  FROM pg_catalog.generate_series(1, pg_catalog.cardinality(h.allocations) OPERATOR(pg_catalog./) 2) i), 0)::pg_catalog.int8 AS held,
           h.ends_at, r.created_at, r.reason, r.spender
      FROM ONLY @extschema@.credit_hold h
           LEFT JOIN ONLY @extschema@.credit_history r
             ON r.user_id OPERATOR(pg_catalog.=) h.user_id AND r.seq OPERATOR(pg_catalog.=) h.seq
     WHERE h.ends_at OPERATOR(pg_catalog.>) @extschema@.credits_now();
COMMENT ON VIEW @extschema@.credit_open_hold IS 'The holds that have not ended, of all users. By user or by end, it reads what it shows.';

CREATE VIEW @extschema@.credit_open_grant AS
    SELECT g.user_id, g.seq, g.amount, g.remaining, g.ends_at, g.paid, r.created_at, r.reason
      FROM ONLY @extschema@.credit_grant g
           LEFT JOIN ONLY @extschema@.credit_history r
             ON r.user_id OPERATOR(pg_catalog.=) g.user_id AND r.seq OPERATOR(pg_catalog.=) g.seq
     WHERE g.ends_at OPERATOR(pg_catalog.>) @extschema@.credits_now() AND NOT g.closed;
COMMENT ON VIEW @extschema@.credit_open_grant IS 'The grants that have not ended, of all users. By user or by end, it reads what it shows.';

CREATE FUNCTION @extschema@.credits_current_user_id()
    RETURNS pg_catalog.text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'credits_current_user_id';
COMMENT ON FUNCTION @extschema@.credits_current_user_id() IS
'The end user: the sub claim of the setting request.jwt.claims. NULL: there is no end user.';

CREATE FUNCTION @extschema@.credits_my_balance()
    RETURNS pg_catalog.jsonb
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'credits_my_balance';
COMMENT ON FUNCTION @extschema@.credits_my_balance() IS
'credits_balance of credits_current_user_id(). NULL if that is NULL. Errors: UC002.';

CREATE FUNCTION @extschema@.credits_my_history(
    before_seq pg_catalog.int8 DEFAULT NULL, page_size pg_catalog.int4 DEFAULT NULL,
    kinds pg_catalog.text[] DEFAULT NULL)
    RETURNS TABLE (seq pg_catalog.int8, kind pg_catalog.text, amount pg_catalog.int8, delta pg_catalog.int8,
        monthly_delta pg_catalog.int8, granted_delta pg_catalog.int8, purchased_delta pg_catalog.int8,
        monthly pg_catalog.int8, granted pg_catalog.int8, purchased pg_catalog.int8,
        available pg_catalog.int8, held pg_catalog.int8, owed pg_catalog.int8,
        expired pg_catalog.int8, reason pg_catalog.text, spender pg_catalog.text,
        created_at pg_catalog.timestamptz, effective_at pg_catalog.timestamptz)
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE ROWS 50 AS 'MODULE_PATHNAME', 'credits_my_history';
COMMENT ON FUNCTION @extschema@.credits_my_history(pg_catalog.int8, pg_catalog.int4, pg_catalog.text[]) IS
'credits_history of credits_current_user_id(), without what is internal to the app. No rows if that is NULL. Errors: UC002, 22004, 22023.';

CREATE FUNCTION @extschema@.credits_my_usage(
    by pg_catalog.text DEFAULT NULL,
    from_time pg_catalog.timestamptz DEFAULT NULL, to_time pg_catalog.timestamptz DEFAULT NULL, time_zone pg_catalog.text DEFAULT NULL)
    RETURNS TABLE (starts_at pg_catalog.timestamptz, name pg_catalog.text, history_rows pg_catalog.int8, operations pg_catalog.int8,
        spent pg_catalog.int8, monthly_spent pg_catalog.int8, granted_spent pg_catalog.int8, purchased_spent pg_catalog.int8,
        refunded pg_catalog.int8, purchased pg_catalog.int8, granted pg_catalog.int8, delta pg_catalog.int8)
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 1000 ROWS 30 AS 'MODULE_PATHNAME', 'credits_my_usage';
COMMENT ON FUNCTION @extschema@.credits_my_usage(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text) IS
'credits_usage of credits_current_user_id(). No rows if that is NULL. Errors: UC002, 22023.';

CREATE FUNCTION @extschema@.credits_my_explain()
    RETURNS pg_catalog.jsonb
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'credits_my_explain';
COMMENT ON FUNCTION @extschema@.credits_my_explain() IS
'credits_explain of credits_current_user_id(). NULL if that is NULL. Errors: UC002.';

/*
 * The reset.  The procedure commits after each batch, so it has to be SECURITY INVOKER
 * without SET clauses.
 */
CREATE FUNCTION @extschema@.credits_reset_due(
    batch_size pg_catalog.int4 DEFAULT NULL, dry_run pg_catalog.bool DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_reset_due';
COMMENT ON FUNCTION @extschema@.credits_reset_due(pg_catalog.int4, pg_catalog.bool) IS
'Applies what is due to at most batch_size accounts (default 1000), in the caller''s transaction. Skips locked accounts. dry_run only counts. Returns {run_id, accounts, credits_granted, credits_expired, failures, more, ...}. Errors: 22023, 25006.';

CREATE PROCEDURE @extschema@.credits_run_reset(
    batch_size pg_catalog.int4 DEFAULT NULL, max_accounts pg_catalog.int8 DEFAULT NULL,
    dry_run pg_catalog.bool DEFAULT NULL, INOUT report pg_catalog.jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'credits_run_reset';
COMMENT ON PROCEDURE @extschema@.credits_run_reset(pg_catalog.int4, pg_catalog.int8, pg_catalog.bool, pg_catalog.jsonb) IS
'The sweep: applies everything that is due, and commits after every batch_size accounts (default 1000). Only one sweep runs at a time. It stops after max_accounts and reports that more are due. dry_run only counts. Records a row in credit_reset_run. Errors: 2D000 inside a transaction block, 22023, 25006.';

CREATE FUNCTION @extschema@.credits_schedule_reset(schedule pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_schedule_reset';
COMMENT ON FUNCTION @extschema@.credits_schedule_reset(pg_catalog.text) IS
'Lets pg_cron CALL credits_run_reset() on a schedule (default */5 * * * *). This works only in pg_cron''s own database. Elsewhere it raises 0A000, and HINT has the statement to run there. Audited.';

CREATE FUNCTION @extschema@.credits_unschedule_reset()
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_unschedule_reset';
COMMENT ON FUNCTION @extschema@.credits_unschedule_reset() IS
'Removes the pg_cron job of credits_schedule_reset. Audited. Errors: 0A000 outside pg_cron''s own database.';

/*
 * Bulk runs.  They commit after each batch, so they have to be SECURITY INVOKER without
 * SET clauses.  Inside a transaction block they do everything in that transaction.
 */
CREATE PROCEDURE @extschema@.credits_grant_many(
    user_ids pg_catalog.text[], amounts pg_catalog.int8[], expires_at pg_catalog.timestamptz,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    dry_run pg_catalog.bool DEFAULT NULL, max_accounts pg_catalog.int8 DEFAULT NULL,
    batch_size pg_catalog.int4 DEFAULT NULL, max_wait pg_catalog.interval DEFAULT NULL,
    INOUT report pg_catalog.jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'credits_grant_many';
COMMENT ON PROCEDURE @extschema@.credits_grant_many(pg_catalog.text[], pg_catalog.int8[], pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.int8, pg_catalog.int4, pg_catalog.interval, pg_catalog.jsonb) IS
'Grants credits to many users. The arrays have one element for each user. With an idempotency_key each user gets the grant once, so a run that is started again goes on where it was. Each batch (batch_size accounts, default 1000) is a transaction of its own. Inside a transaction block, everything is in the caller''s transaction. dry_run only reports. max_accounts limits the run. Busy accounts are tried again at the end, for at most max_wait in all (default 10 seconds). Reports {run_id, accounts, credits_granted, credits_expired, already, skipped, not_taken, busy, failures, more}. Audited. Errors: 22003, 22004, 22023, 25006.';

CREATE PROCEDURE @extschema@.credits_apply_plan(
    plan pg_catalog.text, reason pg_catalog.text DEFAULT NULL,
    dry_run pg_catalog.bool DEFAULT NULL, max_accounts pg_catalog.int8 DEFAULT NULL,
    batch_size pg_catalog.int4 DEFAULT NULL, max_wait pg_catalog.interval DEFAULT NULL,
    INOUT report pg_catalog.jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'credits_apply_plan';
COMMENT ON PROCEDURE @extschema@.credits_apply_plan(pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.int8, pg_catalog.int4, pg_catalog.interval, pg_catalog.jsonb) IS
'Gives every account of a plan the plan''s version in force now, and not only from the next period on, like credits_set_plan. A scheduled change stays scheduled. Each batch (batch_size accounts, default 1000) is a transaction of its own. Inside a transaction block, everything is in the caller''s transaction. dry_run only reports. max_accounts limits the run. Busy accounts are tried again at the end, for at most max_wait in all (default 10 seconds). A run that is started again goes on where it was. Reports {run_id, accounts, credits_granted, credits_expired, already, skipped, not_taken, busy, failures, more}. Audited. Errors: UC009, 22004, 22023, 25006.';

CREATE PROCEDURE @extschema@.credits_undo_run(
    run_id pg_catalog.uuid DEFAULT NULL, plan pg_catalog.text DEFAULT NULL, boundary pg_catalog.timestamptz DEFAULT NULL,
    regrant pg_catalog.bool DEFAULT NULL, reason pg_catalog.text DEFAULT NULL,
    dry_run pg_catalog.bool DEFAULT NULL, max_accounts pg_catalog.int8 DEFAULT NULL,
    batch_size pg_catalog.int4 DEFAULT NULL, max_wait pg_catalog.interval DEFAULT NULL,
    INOUT report pg_catalog.jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'credits_undo_run';
COMMENT ON PROCEDURE @extschema@.credits_undo_run(pg_catalog.uuid, pg_catalog.text, pg_catalog.timestamptz, pg_catalog.bool, pg_catalog.text, pg_catalog.bool, pg_catalog.int8, pg_catalog.int4, pg_catalog.interval, pg_catalog.jsonb) IS
'Undoes a bulk run (a sweep''s resets, grants, an applied plan, an import), or one boundary of a plan, whichever calls applied it. It appends rows that compensate. Each row is undone once. A reset is undone while its period lasts, and while plan, version and allowance are those that it left; otherwise the account is skipped. The plan then counts as having granted what the boundary let expire, late returns included. Monthly credits change by the difference. What cannot be taken is remembered as owed_monthly. After that, late returns are carried over in full, and a plan change grants anew. With regrant, the allowance in this period of the plan version in force now takes the place of what was granted; if it is that already, the account counts as already, and no row is written. Each batch (batch_size accounts, default 1000) is a transaction of its own. Inside a transaction block, everything is in the caller''s transaction. dry_run only reports. max_accounts limits the run. Busy accounts are tried again at the end, for at most max_wait in all (default 10 seconds). A run that is started again goes on where it was. Reports {run_id, accounts, credits_granted, credits_expired, already, skipped, not_taken, busy, failures, more}. Audited. Errors: UC009, 22023, 25006.';

CREATE PROCEDURE @extschema@.credits_import(
    source pg_catalog.text, history pg_catalog.text DEFAULT NULL, refresh pg_catalog.bool DEFAULT NULL, reason pg_catalog.text DEFAULT NULL,
    dry_run pg_catalog.bool DEFAULT NULL, max_accounts pg_catalog.int8 DEFAULT NULL,
    batch_size pg_catalog.int4 DEFAULT NULL, max_wait pg_catalog.interval DEFAULT NULL,
    INOUT report pg_catalog.jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'credits_import';
COMMENT ON PROCEDURE @extschema@.credits_import(pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.text, pg_catalog.bool, pg_catalog.int8, pg_catalog.int4, pg_catalog.interval, pg_catalog.jsonb) IS
'Imports accounts from another application. source: a query with the column user_id text and any of plan text, monthly bigint, purchased bigint, last_reset timestamptz, cycle_anchor timestamp (local) or timestamptz (an instant), time_zone text. history: a query with user_id text, created_at timestamptz, id, amount bigint, reason text, metadata jsonb. Both run as the caller. refresh: if the source has changed and the user has done nothing here since, imports the user again. Each batch (batch_size accounts, default 1000) is a transaction of its own. Inside a transaction block, everything is in the caller''s transaction. dry_run only reports. max_accounts limits the run. Busy accounts are tried again at the end, for at most max_wait in all (default 10 seconds). A run that is started again goes on where it was. Reports {run_id, accounts, credits_granted, credits_expired, already, skipped, not_taken, busy, failures, more} and the sums of source and target, with their difference. Audited. Errors: 22004, 22023, 25006, 42804.';

/* Retention. */
CREATE PROCEDURE @extschema@.credits_archive(
    before pg_catalog.timestamptz,
    dry_run pg_catalog.bool DEFAULT NULL, max_accounts pg_catalog.int8 DEFAULT NULL,
    batch_size pg_catalog.int4 DEFAULT NULL, max_wait pg_catalog.interval DEFAULT NULL,
    INOUT report pg_catalog.jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'credits_archive';
COMMENT ON PROCEDURE @extschema@.credits_archive(pg_catalog.timestamptz, pg_catalog.bool, pg_catalog.int8, pg_catalog.int4, pg_catalog.interval, pg_catalog.jsonb) IS
'Moves each account''s rows before a time to credit_history_archive. It moves rows only as far as an anchor has them, no row that stays refers to them (refunds, undone rows), and no key in them is younger than credits.key_retention. Leaves a checkpoint, whose digest is in an archive row. Each batch (batch_size accounts, default 1000) is a transaction of its own. Inside a transaction block, everything is in the caller''s transaction. dry_run only reports. max_accounts limits the run. Busy accounts are tried again at the end, for at most max_wait in all (default 10 seconds). Audited. Errors: 22004, 22023, 25006, 40001.';

CREATE FUNCTION @extschema@.credits_drop_archive(partition pg_catalog.text, rows pg_catalog.int8)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_drop_archive';
COMMENT ON FUNCTION @extschema@.credits_drop_archive(pg_catalog.text, pg_catalog.int8) IS
'Drops a partition of credit_history_archive that was exported. rows: how many rows the export has. The partition must have as many. Owner only. Audited. Errors: 22004, 22023, 25006, 42501, 42704, 55P03 (another session reads the archive).';

/* Transferring credits and closing accounts. */
CREATE FUNCTION @extschema@.credits_transfer(
    user_id pg_catalog.text, to_user_id pg_catalog.text, amount pg_catalog.int8 DEFAULT NULL,
    reason pg_catalog.text DEFAULT NULL, idempotency_key pg_catalog.text DEFAULT NULL,
    metadata pg_catalog.jsonb DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_transfer';
COMMENT ON FUNCTION @extschema@.credits_transfer(pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
'Moves amount purchased credits (default: all) to another user''s account, at one time for both. Each account gets a row, whose spender is the other user. The receipt''s recently_purchased says how many of them were bought in the last credits.chargeback_days, so that a chargeback can still come, which the giver would owe. With credits.refuse_recent_transfers such a transfer is refused (55000). If an accounts last row is more than a minute later than the clock, it takes no part (55000): use credits_repair_clock. Waits at most 10 seconds for the second account. Returns the receipt of the first. The account that gives is checked first. Errors: UC001, UC002, UC003, UC004, UC012, 22003, 22004, 22023, 25006, 40001, 55000, 55P03.';

CREATE FUNCTION @extschema@.credits_close_account(user_id pg_catalog.text, reason pg_catalog.text DEFAULT NULL)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_close_account';
COMMENT ON FUNCTION @extschema@.credits_close_account(pg_catalog.text, pg_catalog.text) IS
'Closes an account. The plan ends, monthly and granted credits expire, and every grant ends. Purchased credits are forfeited, so move them first with credits_transfer; they cover later chargebacks. What comes back later from before the closing gives back only what the account was charged since for that time (what it owed, and chargebacks). From then on spending and granting raise UC004. Purchases are still credited. credits_unfreeze opens the account again, without a plan. Audited. Errors: UC002, UC004 (closed already), 55000 (open holds), 22004, 22023, 25006, 40001.';

/* Accounts whose next reset will have to wait, or is waiting. */
CREATE FUNCTION @extschema@.credits_unknown_zones()
    RETURNS TABLE (user_id pg_catalog.text, time_zone pg_catalog.text, next_reset_at pg_catalog.timestamptz)
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'credits_unknown_zones';
COMMENT ON FUNCTION @extschema@.credits_unknown_zones() IS
'The accounts in a time zone that the server no longer knows. From next_reset_at on, their reset has to wait, and spending raises UC012. Give them another zone with credits_set_cycle, or install the zone.';

CREATE FUNCTION @extschema@.credits_take_events(
    max_events pg_catalog.int4 DEFAULT NULL, kinds pg_catalog.text[] DEFAULT NULL)
    RETURNS TABLE (user_id pg_catalog.text, seq pg_catalog.int8, kind pg_catalog.text, amount pg_catalog.int8, available pg_catalog.int8,
        created_at pg_catalog.timestamptz, effective_at pg_catalog.timestamptz, ends_at pg_catalog.timestamptz)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'credits_take_events';
COMMENT ON FUNCTION @extschema@.credits_take_events(pg_catalog.int4, pg_catalog.text[]) IS
'Takes up to max_events (1 .. 10000, default 100) of the oldest events from the queue, of these kinds (default: all). Each event goes to one consumer, as part of the consumer''s transaction: if that is rolled back, the events are still there. Events that another consumer is taking are passed over. Errors: 22023, 25006.';

/* Counters, which need the library in shared_preload_libraries. */
CREATE FUNCTION @extschema@.credits_stat(
        OUT datid pg_catalog.oid, OUT history_rows pg_catalog.int8,
        OUT spent_monthly pg_catalog.int8, OUT spent_granted pg_catalog.int8, OUT spent_purchased pg_catalog.int8,
        OUT refunded pg_catalog.int8, OUT issued_plan pg_catalog.int8, OUT issued_grant pg_catalog.int8,
        OUT issued_purchase pg_catalog.int8, OUT issued_adjust pg_catalog.int8, OUT issued_import pg_catalog.int8,
        OUT revoked pg_catalog.int8, OUT expired pg_catalog.int8, OUT forfeited pg_catalog.int8,
        OUT waits pg_catalog.int8, OUT wait_time pg_catalog.float8, OUT turns pg_catalog.int8,
        OUT notifications pg_catalog.int8, OUT resyncs pg_catalog.int8,
        OUT changes_coalesced pg_catalog.int8, OUT changes_lost pg_catalog.int8,
        OUT stats_reset pg_catalog.timestamptz)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 1 AS 'MODULE_PATHNAME', 'credits_stat';
COMMENT ON FUNCTION @extschema@.credits_stat() IS
'What pg_stat_credits shows. No rows unless the library is in shared_preload_libraries.';

CREATE FUNCTION @extschema@.credits_stat_calls(
        OUT datid pg_catalog.oid, OUT call pg_catalog.text, OUT result pg_catalog.text, OUT calls pg_catalog.int8,
        OUT total_time pg_catalog.float8, OUT histogram pg_catalog.int8[])
    RETURNS SETOF pg_catalog.record
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'credits_stat_calls';
COMMENT ON FUNCTION @extschema@.credits_stat_calls() IS
'What pg_stat_credits_calls shows. No rows unless the library is in shared_preload_libraries.';

CREATE FUNCTION @extschema@.credits_stat_reset()
    RETURNS pg_catalog.void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_stat_reset';
COMMENT ON FUNCTION @extschema@.credits_stat_reset() IS
'Sets the counters of this database to 0, in pg_stat_credits and pg_stat_credits_calls. It changes no table, so it is allowed in a read-only transaction and on a standby. Errors: 42501.';

CREATE VIEW @extschema@.pg_stat_credits AS
    SELECT s.datid, d.datname, s.history_rows, s.spent_monthly, s.spent_granted, s.spent_purchased, s.refunded,
           s.issued_plan, s.issued_grant, s.issued_purchase, s.issued_adjust, s.issued_import, s.revoked, s.expired, s.forfeited,
           s.waits, s.wait_time, s.turns, s.notifications, s.resyncs, s.changes_coalesced, s.changes_lost, s.stats_reset
      FROM @extschema@.credits_stat() s JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.datid;
COMMENT ON VIEW @extschema@.pg_stat_credits IS 'What committed transactions did to accounts, and how calls waited: one row per database, since stats_reset. Empty unless the library is in shared_preload_libraries.';

CREATE VIEW @extschema@.pg_stat_credits_calls AS
    SELECT s.datid, d.datname, s.call, s.result, s.calls, s.total_time, s.histogram
      FROM @extschema@.credits_stat_calls() s JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.datid;
COMMENT ON VIEW @extschema@.pg_stat_credits_calls IS 'How many calls of each function ended with which result (ok, replayed, or an SQLSTATE), and their times in milliseconds: one row per database, call and result. Empty unless the library is in shared_preload_libraries.';

CREATE FUNCTION @extschema@.credits_metrics(all_accounts pg_catalog.bool DEFAULT NULL)
    RETURNS TABLE (name pg_catalog.text, labels pg_catalog.jsonb, value pg_catalog.float8, type pg_catalog.text, help pg_catalog.text)
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL RESTRICTED COST 10000 ROWS 200 AS 'MODULE_PATHNAME', 'credits_metrics';
COMMENT ON FUNCTION @extschema@.credits_metrics(pg_catalog.bool) IS
'What monitoring needs of this database, as samples of Prometheus: the counters, if the library is in shared_preload_libraries, and gauges of what is due, held, low, waiting, and of runs, anchors and guards. No label has a user. It reads indexes, and counts up to 100000 of each. all_accounts (default false): counts all, and reads all accounts for what is outstanding, held and owed. Errors: UC008 (a table is not this version''s).';

/* Verification. */
CREATE FUNCTION @extschema@.credits_verify_account(user_id pg_catalog.text)
    RETURNS TABLE (object pg_catalog.text, bad_user_id pg_catalog.text, bad_seq pg_catalog.int8, problem pg_catalog.text)
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE ROWS 1 COST 10000 AS 'MODULE_PATHNAME', 'credits_verify_account';
COMMENT ON FUNCTION @extschema@.credits_verify_account(pg_catalog.text) IS
'Verifies one account by its history: hash chain, balances, rules, payments, head. Returns the first bad row. No row: the account is clean. Errors: UC002, 22004.';

CREATE FUNCTION @extschema@.credits_verify_structure()
    RETURNS TABLE (object pg_catalog.text, bad_user_id pg_catalog.text, bad_seq pg_catalog.int8, problem pg_catalog.text)
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'credits_verify_structure';
COMMENT ON FUNCTION @extschema@.credits_verify_structure() IS
'Verifies everything that does not belong to one account: guards, inheritance, plans, payments and history without an account, the audit log''s chain, anchors and their leaves.';

CREATE FUNCTION @extschema@.credits_verify()
    RETURNS TABLE (object pg_catalog.text, bad_user_id pg_catalog.text, bad_seq pg_catalog.int8, problem pg_catalog.text)
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_verify';
COMMENT ON FUNCTION @extschema@.credits_verify() IS
'Verifies everything in one snapshot, with parallel workers. Returns the first bad row of each bad account, and every bad guard, plan, payment, audit row and anchor. No row: everything is clean. If the transaction may write, it is recorded in credit_reset_run (kind verify). Errors: UC008 (a table is not this version''s).';

CREATE FUNCTION @extschema@.credits_anchor()
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000 AS 'MODULE_PATHNAME', 'credits_anchor';
COMMENT ON FUNCTION @extschema@.credits_anchor() IS
'Makes an anchor: a digest of all histories and of the audit log as they are now, chained to the anchor before. Returns {ok, anchor_no, created_at, accounts, changed, audit_seq, root, hash, anchor}. Keep the text in anchor in a place that this database''s administrators cannot reach. Errors: 25006, 55P03.';

CREATE FUNCTION @extschema@.credits_verify_anchor(anchor pg_catalog.text DEFAULT NULL)
    RETURNS TABLE (object pg_catalog.text, bad_user_id pg_catalog.text, bad_seq pg_catalog.int8, problem pg_catalog.text)
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL RESTRICTED ROWS 1 COST 10000 AS 'MODULE_PATHNAME', 'credits_verify_anchor';
COMMENT ON FUNCTION @extschema@.credits_verify_anchor(pg_catalog.text) IS
'Verifies that this database continues the one that made an anchor (the text that credits_anchor returned and a witness kept). Also verifies all stored anchors: their chain, their leaves, and that each leaf is still in the history. NULL: only the stored anchors. No row: everything is clean. Errors: 22023 (the text is no anchor, or is damaged).';

/* It commits after each slice, so it has to be SECURITY INVOKER without SET clauses. */
CREATE PROCEDURE @extschema@.credits_run_verify(
    sample pg_catalog.float8 DEFAULT NULL, slice_size pg_catalog.int4 DEFAULT NULL,
    INOUT report pg_catalog.jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'credits_run_verify';
COMMENT ON PROCEDURE @extschema@.credits_run_verify(pg_catalog.float8, pg_catalog.int4, pg_catalog.jsonb) IS
'Like credits_verify, but in slices of slice_size accounts (default 10000), each in a snapshot of its own. sample: verify only this fraction of accounts and payments, at random (default: all). Reports {ok, accounts, rows, bad, sample, problems}, and each problem as a WARNING. If the session may write, it is recorded in credit_reset_run (kind verify). Errors: 2D000 inside a transaction block, 22023.';

/* Roles and repair. */
CREATE FUNCTION @extschema@.credits_grant_role(role_name pg_catalog.text, preset pg_catalog.text)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_grant_role';
COMMENT ON FUNCTION @extschema@.credits_grant_role(pg_catalog.text, pg_catalog.text) IS
'Grants a role the rights of a preset: app, billing, server, auditor, support, admin, monitor, end_user. Owner only. Audited. Errors: 22004, 22023, 42501, 42704.';

CREATE FUNCTION @extschema@.credits_revoke_role(role_name pg_catalog.text, preset pg_catalog.text)
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_revoke_role';
COMMENT ON FUNCTION @extschema@.credits_revoke_role(pg_catalog.text, pg_catalog.text) IS
'Takes a preset back from a role. The role keeps the rights of its other presets. If the role was dropped, removes its records. Owner only. Audited. Errors: 22004, 22023, 2BP01, 42501, 42704.';

CREATE FUNCTION @extschema@.credits_roles()
    RETURNS TABLE (role_name pg_catalog.text, preset pg_catalog.text, granted_at pg_catalog.timestamptz, role_oid pg_catalog.oid, problem pg_catalog.text)
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'credits_roles';
COMMENT ON FUNCTION @extschema@.credits_roles() IS
'Which role has which preset, with the current names. problem: the role no longer exists. Call credits_revoke_role with its name to remove the record.';

CREATE FUNCTION @extschema@.credits_repair_guards()
    RETURNS pg_catalog.jsonb
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'credits_repair_guards';
COMMENT ON FUNCTION @extschema@.credits_repair_guards() IS
'Creates missing guard triggers again, and repairs disabled or altered ones. (A restore with --disable-triggers leaves them altered.) Owner only. Audited. Returns how many were repaired. Errors: 25006, 42501, 55P03 (a table is in use).';

CREATE FUNCTION @extschema@.credits_dump_customizations(section pg_catalog.text DEFAULT NULL)
    RETURNS SETOF pg_catalog.text
    LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL UNSAFE ROWS 20 COST 10000 AS 'MODULE_PATHNAME', 'credits_dump_customizations';
COMMENT ON FUNCTION @extschema@.credits_dump_customizations(pg_catalog.text) IS
'What was added to the extension''s tables since CREATE EXTENSION: triggers, indexes, constraints, columns, storage settings, publications. pg_dump leaves this out. Returns one statement per row. Keep them with the dump, and run them after the restore. All can be run again. section: pre-data (columns, run before the rows are restored) or post-data (the rest). NULL: both. Errors: 22023.';

/*
 * By default only the owner may do anything.  Functions start with EXECUTE for PUBLIC,
 * and default privileges on hosted platforms grant rights on tables.  So every entry of
 * every object's ACL is removed, except the owner's.
 */
DO LANGUAGE plpgsql $credits$
DECLARE
    obj record;
BEGIN
    FOR obj IN
        SELECT DISTINCT c.what, c.name, CASE WHEN x.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                    ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)::pg_catalog.text) END AS grantee
          FROM (SELECT 'TABLE' AS what, r.oid::pg_catalog.regclass::pg_catalog.text AS name, r.relowner AS owner,
                       COALESCE(r.relacl, pg_catalog.acldefault('r', r.relowner)) AS acl
                  FROM pg_catalog.pg_class r JOIN pg_catalog.pg_depend d
                    ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) r.oid
                  JOIN pg_catalog.pg_extension e ON d.refobjid OPERATOR(pg_catalog.=) e.oid
                 WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
                   AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'credits'
                   AND (r.relkind OPERATOR(pg_catalog.=) 'r' OR r.relkind OPERATOR(pg_catalog.=) 'p' OR r.relkind OPERATOR(pg_catalog.=) 'v')
                UNION ALL
                SELECT CASE WHEN p.prokind OPERATOR(pg_catalog.=) 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::pg_catalog.regprocedure::pg_catalog.text, p.proowner,
                       COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))
                  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_depend d
                    ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) p.oid
                  JOIN pg_catalog.pg_extension e ON d.refobjid OPERATOR(pg_catalog.=) e.oid
                 WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
                   AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'credits') c
               CROSS JOIN LATERAL pg_catalog.aclexplode(c.acl) x
         WHERE x.grantee OPERATOR(pg_catalog.<>) c.owner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s', obj.what, obj.name, obj.grantee);
    END LOOP;
END
$credits$;

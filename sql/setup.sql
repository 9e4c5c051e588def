-- What the other tests share.  It runs first and stays until the last one.
--
-- Nothing here depends on the extension (the bodies are text), because every
-- test creates and drops the extension for itself.
SET check_function_bodies = off;
-- They drop it with accounts in it.
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET credits.allow_drop = on', current_database()); END $$;
CREATE SCHEMA t;
GRANT USAGE ON SCHEMA t TO PUBLIC;

-- Runs a statement that should fail and says how it did.
CREATE FUNCTION t.refused(statement text,
    OUT sqlstate text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    refused.sqlstate := '00000';
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS refused.sqlstate = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;

-- The same in short: the SQLSTATE alone.
CREATE FUNCTION t.sqlstate(statement text) RETURNS text
LANGUAGE sql AS $$ SELECT sqlstate FROM t.refused(statement) $$;

-- A receipt as one line.  The triples are monthly/granted/purchased.
CREATE FUNCTION t.receipt(r jsonb,
    OUT seq int8, OUT kind text, OUT amount int8, OUT delta text, OUT balance text,
    OUT available int8, OUT next_reset_at text, OUT replayed bool)
LANGUAGE sql AS $$
    SELECT (r->>'seq')::int8, r->>'kind', (r->>'amount')::int8,
           concat_ws('/', r->>'monthly_delta', r->>'granted_delta', r->>'purchased_delta'),
           concat_ws('/', r->>'monthly', r->>'granted', r->>'purchased'),
           (r->>'available')::int8, r->>'next_reset_at', (r->>'replayed')::bool
$$;

-- A user's history, oldest first, one line a row.
CREATE FUNCTION t.history(who text)
RETURNS TABLE (seq int8, kind text, amount int8, delta text, balance text,
               expired int8, skipped int4, plan text, effective_at text, next_reset_at text)
LANGUAGE sql AS $$
    SELECT h.seq, h.kind, h.amount,
           concat_ws('/', h.monthly_delta, h.granted_delta, h.purchased_delta),
           concat_ws('/', h.monthly, h.granted, h.purchased),
           coalesce(h.expired, 0), h.skipped, h.plan,
           to_char(h.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
           to_char(h.next_reset_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
      FROM credit_history h WHERE h.user_id = who ORDER BY h.seq
$$;

-- Everything that a failed call must leave as it was.
CREATE FUNCTION t.fingerprint() RETURNS text
LANGUAGE sql AS $$
    SELECT md5(concat((SELECT jsonb_agg(to_jsonb(a) ORDER BY a.user_id) FROM credit_account a),
                      (SELECT jsonb_agg(to_jsonb(h) ORDER BY h.user_id, h.seq) FROM credit_history h),
                      (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.payment_ref) FROM credit_payment p),
                      (SELECT jsonb_agg(to_jsonb(l) ORDER BY l.seq) FROM credit_audit_log l),
                      (SELECT jsonb_agg(to_jsonb(c) ORDER BY c.plan, c.version) FROM credit_plan c)))
$$;

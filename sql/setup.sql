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
    SELECT md5(concat((SELECT string_agg(md5(a::text), '' ORDER BY a.user_id) FROM credit_account a),
                      (SELECT string_agg(md5(h::text), '' ORDER BY h.user_id, h.seq) FROM credit_history h),
                      (SELECT string_agg(md5(p::text), '' ORDER BY p.payment_ref) FROM credit_payment p),
                      (SELECT string_agg(md5(g::text), '' ORDER BY g.user_id, g.seq) FROM credit_grant g),
                      (SELECT string_agg(md5(o::text), '' ORDER BY o.user_id, o.seq) FROM credit_hold o),
                      (SELECT string_agg(md5(l::text), '' ORDER BY l.seq) FROM credit_audit_log l),
                      (SELECT string_agg(md5(c::text), '' ORDER BY c.plan, c.version) FROM credit_plan c)))
$$;

-- A receipt or balance in short: monthly/granted/purchased, then h: held, o: owed,
-- x: expired, f: forfeited where there are any, and whether it is a replay.
CREATE FUNCTION t.short(r jsonb) RETURNS text
LANGUAGE sql AS $$
    SELECT concat(r->>'monthly', '/', r->>'granted', '/', r->>'purchased',
                  ' h' || nullif(r->>'held', '0'), ' o' || nullif(r->>'owed', '0'),
                  ' x' || (r->>'expired'), ' f' || (r->>'forfeited'),
                  CASE WHEN (r->>'replayed')::bool THEN ' again' END)
$$;

-- A story told in lines "when | call | what comes out": a time of 2026 (or none: no
-- time has passed), an expression, and its answer in short or the SQLSTATE.  A call
-- "name = ..." keeps the seq of its receipt for ":name".  Each line is a
-- transaction.  In t.told, wrong is what the story says where it is not so.
CREATE TABLE t.told (no int, at text, call text, got text, wrong text);
CREATE PROCEDURE t.story(script text)
LANGUAGE plpgsql AS $$
DECLARE
    line text;
    part text[];
    call text;
    keep text;
    name text;
    seqs jsonb := '{}';
    r jsonb;
    got text;
    n int := 0;
BEGIN
    TRUNCATE t.told;
    FOREACH line IN ARRAY string_to_array(script, E'\n') LOOP
        CONTINUE WHEN line ~ '^\s*$';
        n := n + 1;
        IF line ~ '^\s*--' THEN
            INSERT INTO t.told VALUES (n, '', btrim(line));
            CONTINUE;
        END IF;
        part := regexp_split_to_array(btrim(line), '\s+\|(\s+|$)|^\|\s+');
        IF part[1] <> '' THEN
            PERFORM set_config('credits.clock', '2026-' || part[1] || CASE WHEN part[1] ~ ' ' THEN '' ELSE ' 00:00' END || '+00', false);
        END IF;
        keep := substring(part[2] from '^(\w+) = ');
        call := regexp_replace(part[2], '^\w+ = ', '');
        FOR name IN SELECT jsonb_object_keys(seqs) LOOP
            call := regexp_replace(call, '(?<!:):' || name || '\M', seqs ->> name, 'g');
        END LOOP;
        BEGIN
            EXECUTE 'SELECT to_jsonb(' || call || ')' INTO r;
            got := CASE WHEN r ? 'monthly' THEN t.short(r) ELSE r #>> '{}' END;
            IF keep IS NOT NULL THEN
                seqs := seqs || jsonb_build_object(keep, r->'seq');
            END IF;
        EXCEPTION WHEN OTHERS THEN
            got := SQLSTATE;
        END;
        INSERT INTO t.told VALUES (n, part[1], part[2], got, CASE WHEN got IS DISTINCT FROM part[3] THEN coalesce(part[3], '') END);
        COMMIT;
    END LOOP;
END $$;

-- What a story gave, as rows: all of a history that t.history leaves out.
CREATE FUNCTION t.moves(who text)
RETURNS TABLE (seq int8, kind text, ref int8, amount int8, delta text, balance text, held text, owed text,
               expired int8, forfeited int8, allocations text, at text, ends text)
LANGUAGE sql AS $$
    SELECT h.seq, h.kind, h.ref_seq, h.amount,
           concat_ws('/', h.monthly_delta, h.granted_delta, h.purchased_delta),
           concat_ws('/', h.monthly, h.granted, h.purchased),
           nullif(concat_ws('/', coalesce(h.held_monthly, 0), coalesce(h.held_granted, 0), coalesce(h.held_purchased, 0)), '0/0/0'),
           nullif(concat_ws('/', coalesce(h.owed_monthly, 0), coalesce(h.owed_purchased, 0)), '0/0'),
           h.expired, h.forfeited, h.allocations::text,
           to_char(h.effective_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI:SS'),
           to_char(h.ends_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI:SS')
      FROM credit_history h WHERE h.user_id = who ORDER BY h.seq
$$;

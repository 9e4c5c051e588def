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

-- What apps and DBAs add to tables, all of it on every table of the extension:
--   indexes    of each access method, on columns and expressions, a constraint among them
--   columns    with a default, generated, NOT NULL by a domain
--   checks     that call somebody's function
--   triggers   AFTER ROW
--   deferred   at the end of the transaction: AFTER ROW triggers, a unique constraint
--   keys       foreign keys to it, and from it
CREATE FUNCTION t.is_fine(value anyelement) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN value IS NOT NULL; END';
CREATE FUNCTION t.indexed(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN upper(value); END';
CREATE DOMAIN t.filled AS int NOT NULL DEFAULT 7 CHECK (t.is_fine(value));
CREATE TABLE t.parent (id int PRIMARY KEY);
INSERT INTO t.parent VALUES (1);
CREATE TABLE t.fired (what text, op text, length int);
GRANT INSERT ON t.fired TO PUBLIC;
CREATE FUNCTION t.note_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO t.fired VALUES (TG_TABLE_NAME, TG_OP, 
        pg_catalog.length(pg_catalog.jsonb_pretty(pg_catalog.to_jsonb(CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END))));
    RETURN NULL;
END $$;
CREATE FUNCTION t.adorn(extension text, what text[]) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    r record;
    -- Both are of columns that there are, and may be one column.
    word text;
    number text;
    key text;
    command text;
BEGIN
    FOR r IN SELECT c.oid, c.oid::regclass::text AS name, c.relname, c.relkind FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
              WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'p')
                AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = extension) ORDER BY 2
    LOOP
        SELECT min(quote_ident(attname)) FILTER (WHERE atttypid = 'text'::regtype), min(quote_ident(attname)) FILTER (WHERE atttypid = 'int8'::regtype)
          INTO word, number FROM pg_attribute WHERE attrelid = r.oid AND attnum > 0 AND attnotnull;
        word := coalesce(word, format('encode(%s, ''hex'')', 'hash'));
        number := coalesce(number, 'role_oid::int8');
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY array_position(i.indkey::int2[], attnum)) INTO key
          FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = r.oid AND i.indisprimary;
        IF 'columns' = ANY (what) THEN
            EXECUTE format('ALTER TABLE %s ADD dba_default text DEFAULT upper(%L), ADD dba_filled t.filled', r.name, 'made by ' || r.relname);
            EXECUTE format('ALTER TABLE %s ADD dba_generated text NOT NULL GENERATED ALWAYS AS (t.indexed(%s)) STORED', r.name, word);
        END IF;
        IF 'checks' = ANY (what) THEN
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT dba_check CHECK (t.is_fine(%s) AND t.is_fine(%s))', r.name, number, word);
        END IF;
        IF 'indexes' = ANY (what) THEN
            FOREACH command IN ARRAY ARRAY[
                'btree ((%1$s), (%2$s))', 'btree ((%1$s)) WHERE (%2$s) > 0', 'hash ((%1$s))', 'gin ((ARRAY[%1$s]))',
                'gin ((ARRAY[%2$s])) WITH (fastupdate = off)', 'gist ((int8range(%2$s, NULL)))', 'spgist ((%1$s))',
                'brin ((%2$s)) WITH (pages_per_range = 1)', 'brin ((%1$s)) WITH (pages_per_range = 1, autosummarize = on)'] LOOP
                EXECUTE format('CREATE INDEX ON %s USING ' || format(command, word, number), r.name);
            END LOOP;
            IF r.relkind = 'r' THEN
                EXECUTE format('ALTER TABLE %s ADD CONSTRAINT dba_%s_exclude EXCLUDE (%s)', r.name, r.relname,
                               (SELECT string_agg(k || ' WITH =', ', ') FROM unnest(string_to_array(key, ', ')) k));
            END IF;
        END IF;
        IF 'code' = ANY (what) THEN
            EXECUTE format('CREATE INDEX ON %s ((t.indexed(%s))) WHERE t.indexed(%2$s) <> %L', r.name, word, '');
        END IF;
        IF 'triggers' = ANY (what) THEN
            EXECUTE format('CREATE TRIGGER dba_trigger AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION t.note_row()', r.name);
        END IF;
        IF 'deferred' = ANY (what) AND r.relkind = 'r' THEN
            EXECUTE format('CREATE CONSTRAINT TRIGGER dba_deferred AFTER INSERT OR UPDATE OR DELETE ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION t.note_row()', r.name);
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT dba_%s_deferred UNIQUE (%s) DEFERRABLE INITIALLY DEFERRED', r.name, r.relname, key);
        END IF;
        IF 'keys' = ANY (what) THEN
            EXECUTE format('ALTER TABLE %s ADD dba_parent int DEFAULT 1 REFERENCES t.parent', r.name);
            IF r.relkind = 'r' THEN
                EXECUTE format('CREATE TABLE t.dba_%s AS SELECT %s FROM %s LIMIT 0', r.relname, key, r.name);
                EXECUTE format('ALTER TABLE t.dba_%s ADD FOREIGN KEY (%s) REFERENCES %s', r.relname, key, r.name);
            END IF;
        END IF;
    END LOOP;
    RETURN true;
END $$;
CREATE PROCEDURE t.unadorn() LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 't' AND tablename LIKE 'dba\_%' LOOP
        EXECUTE 'DROP TABLE ' || r.name;
    END LOOP;
END $$;

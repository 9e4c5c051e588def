-- Anchors: what they are made of, what they prove about a database that has
-- gone on since, and what of all that can be tampered with.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;

-- Leaves, trees and anchors as docs/audit-format.md has them, in SQL.
CREATE FUNCTION t.field(value bytea) RETURNS bytea LANGUAGE sql AS
    $$ SELECT CASE WHEN value IS NULL THEN '\x00' ELSE '\x01' || int4send(length(value)) || value END $$;
CREATE FUNCTION t.leaf(user_id text, seq int8, hash bytea) RETURNS bytea LANGUAGE sql AS
    $$ SELECT sha256('\x00' || t.field(convert_to(user_id, 'UTF8')) || t.field(int8send(seq)) || t.field(hash)) $$;
CREATE FUNCTION t.mth(leaves bytea[]) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    n int := coalesce(cardinality(leaves), 0);
    k int := 1;
BEGIN
    IF n = 0 THEN RETURN sha256(''); END IF;
    IF n = 1 THEN RETURN leaves[1]; END IF;
    WHILE k * 2 < n LOOP k := k * 2; END LOOP;
    RETURN sha256('\x01' || t.mth(leaves[1:k]) || t.mth(leaves[k + 1:n]));
END $$;
CREATE FUNCTION t.root(n int8) RETURNS bytea LANGUAGE sql AS $$
    SELECT t.mth(coalesce((SELECT array_agg(t.leaf(user_id, seq, hash) ORDER BY user_id COLLATE "C")
                             FROM (SELECT DISTINCT ON (user_id) user_id, seq, hash FROM credit_anchor_leaf
                                    WHERE anchor_no <= n ORDER BY user_id, anchor_no DESC) l), '{}')
                 || t.leaf(NULL, audit_seq, coalesce((SELECT l.hash FROM credit_audit_log l WHERE l.seq = audit_seq), sha256('credits-a0'))))
      FROM credit_anchor WHERE anchor_no = n
$$;
CREATE FUNCTION t.anchors(OUT anchor_no int8, OUT accounts int8, OUT changed int8, OUT audit_seq int8,
    OUT root_is_right bool, OUT changed_is_right bool, OUT hash_is_right bool, OUT heads_are_right bool)
RETURNS SETOF record LANGUAGE sql AS $$
    SELECT a.anchor_no, a.accounts, a.changed, a.audit_seq, a.root = t.root(a.anchor_no),
           a.changed_root = t.mth((SELECT array_agg(t.leaf(l.user_id, l.seq, l.hash) ORDER BY l.user_id COLLATE "C")
                                     FROM credit_anchor_leaf l WHERE l.anchor_no = a.anchor_no)),
           a.previous_hash = lag(a.hash, 1, sha256('credits-n0')) OVER (ORDER BY a.anchor_no) AND
           a.hash = sha256('credits-n1' || a.previous_hash || t.field(int8send(a.anchor_no)) ||
               t.field(int8send((extract(epoch FROM a.created_at) * 1000000)::int8)) || t.field(int8send(a.accounts)) ||
               t.field(int8send(a.changed)) || t.field(int8send(a.audit_seq)) || t.field(a.root) || t.field(a.changed_root)),
           NOT EXISTS (SELECT FROM credit_anchor_leaf l WHERE NOT EXISTS
               (SELECT FROM credit_history h WHERE (h.user_id, h.seq, h.hash) = (l.user_id, l.seq, l.hash)))
      FROM credit_anchor a ORDER BY a.anchor_no
$$;

-- The first one, of nothing at all.
SET credits.clock = '2026-01-10 00:00:00.25+00';
SELECT credits_anchor() AS first \gset
SELECT r - 'root' - 'hash' - 'anchor' AS receipt, r ->> 'root' = encode(a.root, 'hex') AS root,
       r ->> 'hash' = encode(a.hash, 'hex') AS hash,
       r ->> 'anchor' = concat_ws(' ', 'credits-anchor-1', 1, '2026-01-10T00:00:00.250000Z', 0, 0, 0,
           encode(a.root, 'hex'), encode(a.changed_root, 'hex'), encode(a.previous_hash, 'hex'), encode(a.hash, 'hex')) AS text
  FROM CAST(:'first' AS jsonb) r, credit_anchor a;
SELECT * FROM t.anchors();
SELECT * FROM credits_verify_anchor();
SELECT encode(root, 'hex') AS root, encode(changed_root, 'hex') AS changed_root, encode(hash, 'hex') AS hash FROM credit_anchor;

-- Only what changed gets a leaf; an anchor without a change is one as well.
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free')) FROM unnest(ARRAY['a', 'B', 'c', 'd', 'é', 'user 6', 'g']) u;
CREATE TEMP TABLE kept (n int8, anchor text);
INSERT INTO kept SELECT (r ->> 'anchor_no')::int8, r ->> 'anchor' FROM credits_anchor() r;
SELECT count(credits_deduct(u, n)) FROM unnest(ARRAY['a', 'B', 'g']) u, generate_series(1, 3) n;
INSERT INTO kept SELECT (r ->> 'anchor_no')::int8, r ->> 'anchor' FROM credits_anchor() r;
INSERT INTO kept SELECT (r ->> 'anchor_no')::int8, r ->> 'anchor' FROM credits_anchor() r;
SELECT credits_freeze('c') ->> 'kind' AS kind;
SELECT count(credits_add_purchased(u, 5, 'pay ' || u)) FROM unnest(ARRAY['a', 'new']) u;
INSERT INTO kept SELECT (r ->> 'anchor_no')::int8, r ->> 'anchor' FROM credits_anchor() r;
SELECT * FROM t.anchors();
SELECT anchor_no, user_id, seq FROM credit_anchor_leaf ORDER BY 1, 2;

-- The ledger goes on; every anchor kept is one that it continues.
SELECT count(credits_deduct(u, 1)) FROM unnest(ARRAY['a', 'c2', 'd']) u WHERE u <> 'c2';
SELECT n, p.* FROM kept LEFT JOIN LATERAL credits_verify_anchor(anchor) p ON true ORDER BY n;
SELECT * FROM credits_verify_anchor();
SELECT * FROM credits_verify();
CALL credits_run_verify(NULL, 2);
-- the text may have been wrapped, or quoted by a mail program's blanks
SELECT count(*) AS bad FROM kept, credits_verify_anchor(E'\n  ' || replace(anchor, ' ', E'\r\n ') || E'\n');

-- What is no anchor, or a damaged one.
SELECT DISTINCT sqlstate, message, detail IS NOT NULL AS detail, hint
  FROM kept, unnest(ARRAY['', 'credits-anchor-1', anchor || ' x', rtrim(anchor, '0123456789abcdef'),
       left(anchor, -1), anchor || '0', 'X' || anchor, replace(anchor, 'anchor-1', 'anchor-2'),
       replace(anchor, 'T00:00', 'T00:01'), replace(anchor, '2026-', '2026-1'), replace(anchor, '-10T', '-32T'), upper(anchor),
       regexp_replace(anchor, ' \d+ ', ' 9 '), regexp_replace(anchor, '[0-9a-f](?=[0-9a-f]{20})', 'e'),
       translate(anchor, '01', '10'), format('credits-anchor-1 %s', repeat('1 ', 9))]) broken,
       t.refused(format('SELECT * FROM credits_verify_anchor(%L)', broken))
 WHERE broken <> anchor;

-- A database rolled back to before an anchor that somebody has kept, and one
-- that then went another way.
BEGIN;
SELECT credits_deduct('a', 1) ->> 'seq' AS seq;
SELECT credits_anchor() ->> 'anchor' AS later \gset
SELECT * FROM credits_verify_anchor(:'later');
ROLLBACK;
SELECT * FROM credits_verify_anchor(:'later');
BEGIN;
SELECT credits_deduct('a', 2) ->> 'seq' AS seq;
SELECT credits_anchor() -> 'anchor_no' AS anchor_no;
SELECT * FROM credits_verify_anchor();
SELECT * FROM credits_verify_anchor(:'later');
SELECT n, p.* FROM kept, credits_verify_anchor(anchor) p;
ROLLBACK;

-- One tampering at a time, each undone.  What credits_verify() says of it, what
-- the stored anchors alone say, and what the second and the last one kept do.
CREATE FUNCTION t.guards(state text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tab text;
BEGIN
    FOREACH tab IN ARRAY ARRAY['credit_account', 'credit_history', 'credit_audit_log', 'credit_anchor', 'credit_anchor_leaf'] LOOP
        EXECUTE format('ALTER TABLE %I %s TRIGGER credits_guard', tab, state);
    END LOOP;
END $$;
CREATE FUNCTION t.problems(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT string_agg(concat_ws('' | '', object, bad_user_id, bad_seq, problem), E''\n'') FROM (%s) x', query) INTO result;
    RETURN coalesce(result, 'clean');
END $$;
CREATE FUNCTION t.tampered(change text, OUT verify text, OUT stored text, OUT kept_2 text, OUT kept_5 text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM t.guards('DISABLE');
    ALTER TABLE credit_anchor DROP CONSTRAINT credit_anchor_row;
    ALTER TABLE credit_anchor_leaf DROP CONSTRAINT credit_anchor_leaf_row;
    EXECUTE change;
    PERFORM t.guards('ENABLE ALWAYS');
    verify := t.problems('SELECT * FROM credits_verify()');
    stored := t.problems('SELECT * FROM credits_verify_anchor()');
    kept_2 := t.problems('SELECT p.* FROM kept, credits_verify_anchor(anchor) p WHERE n = 2');
    kept_5 := t.problems('SELECT p.* FROM kept, credits_verify_anchor(anchor) p WHERE n = 5');
    RAISE EXCEPTION USING ERRCODE = 'TT000';
EXCEPTION WHEN SQLSTATE 'TT000' THEN
    IF kept_2 = stored THEN kept_2 := 'the same'; END IF;
    IF kept_5 = stored THEN kept_5 := 'the same'; END IF;
    IF verify = stored THEN verify := 'the same'; END IF;
END $$;

-- A forger who knows the format: rebuilds an anchor and all after it from the
-- leaves that are there.
CREATE FUNCTION t.rebuild() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    a credit_anchor;
    before bytea := sha256('credits-n0');
BEGIN
    FOR a IN SELECT * FROM credit_anchor ORDER BY anchor_no LOOP
        a.previous_hash := before;
        a.audit_hash := coalesce((SELECT l.hash FROM credit_audit_log l WHERE l.seq = a.audit_seq), sha256('credits-a0'));
        a.root := t.root(a.anchor_no);
        SELECT count(*), t.mth(array_agg(t.leaf(l.user_id, l.seq, l.hash) ORDER BY l.user_id COLLATE "C"))
          INTO a.changed, a.changed_root FROM credit_anchor_leaf l WHERE l.anchor_no = a.anchor_no;
        a.accounts := (SELECT count(DISTINCT l.user_id) FROM credit_anchor_leaf l WHERE l.anchor_no <= a.anchor_no);
        a.hash := sha256('credits-n1' || a.previous_hash || t.field(int8send(a.anchor_no)) ||
            t.field(int8send((extract(epoch FROM a.created_at) * 1000000)::int8)) || t.field(int8send(a.accounts)) ||
            t.field(int8send(a.changed)) || t.field(int8send(a.audit_seq)) || t.field(a.root) || t.field(a.changed_root));
        before := a.hash;
        UPDATE credit_anchor SET previous_hash = a.previous_hash, audit_hash = a.audit_hash, root = a.root, changed = a.changed,
            changed_root = a.changed_root, accounts = a.accounts, hash = a.hash WHERE anchor_no = a.anchor_no;
    END LOOP;
END $$;
-- ... and cuts the end of a history off, making the account what it was then.
CREATE FUNCTION t.cut(who text, upto int8) RETURNS void LANGUAGE sql AS $$
    DELETE FROM credit_history WHERE user_id = who AND seq > upto;
    UPDATE credit_account a SET history_seq = h.seq, history_hash = h.hash, monthly = h.monthly, purchased = h.purchased,
           effective_at = h.effective_at FROM credit_history h WHERE a.user_id = who AND h.user_id = who AND h.seq = upto
$$;
CREATE FUNCTION t.leave(who text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM credit_history WHERE user_id = who;
    DELETE FROM credit_account WHERE user_id = who
$$;
\x on
SELECT change, r.verify, r.stored, r.kept_2, r.kept_5
  FROM unnest(ARRAY[
    'SELECT t.rebuild()',
    -- histories: after the last anchor nobody can know
    $$SELECT t.cut('d', 1)$$,
    $$SELECT t.cut('g', 3)$$,
    $$SELECT t.cut('g', 3); SELECT credits_deduct('g', 77), credits_deduct('g', 1)$$,
    $$SELECT t.leave('g')$$,
    $$SELECT t.leave('g'); SELECT credits_open_account('g', 'free'), credits_deduct('g', 3), credits_deduct('g', 2), credits_deduct('g', 1)$$,
    $$SELECT t.leave('é'); SELECT credits_anchor()$$,
    $$DELETE FROM credit_account WHERE user_id = 'g'$$,
    $$UPDATE credit_history SET hash = sha256('x') WHERE user_id = 'g' AND seq = 4; UPDATE credit_account SET history_hash = sha256('x') WHERE user_id = 'g'$$,
    -- the same with a new anchor, which is content with what it finds
    $$SELECT t.cut('g', 3); SELECT credits_anchor()$$,
    $$SELECT t.cut('g', 3); SELECT credits_deduct('g', 77), credits_deduct('g', 1); SELECT credits_anchor()$$,
    $$SELECT t.cut('g', 3); DELETE FROM credit_anchor_leaf WHERE user_id = 'g' AND anchor_no = 3$$,
    $$SELECT t.cut('g', 3); DELETE FROM credit_anchor_leaf WHERE user_id = 'g' AND anchor_no = 3; SELECT t.rebuild()$$,
    $$SELECT t.leave('g'); DELETE FROM credit_anchor_leaf WHERE user_id = 'g'; SELECT t.rebuild()$$,
    -- the audit log
    $$DELETE FROM credit_audit_log WHERE seq = 2$$,
    $$UPDATE credit_audit_log SET hash = sha256('x') WHERE seq = 2$$,
    $$DELETE FROM credit_audit_log WHERE seq = 2; SELECT t.rebuild()$$,
    -- leaves
    $$UPDATE credit_anchor_leaf SET hash = sha256('x') WHERE user_id = 'g' AND anchor_no = 2$$,
    $$UPDATE credit_anchor_leaf SET seq = 2 WHERE user_id = 'g' AND anchor_no = 2$$,
    $$UPDATE credit_anchor_leaf l SET seq = 2, hash = h.hash FROM credit_history h WHERE l.user_id = 'g' AND l.anchor_no = 2 AND h.user_id = 'g' AND h.seq = 2$$,
    $$UPDATE credit_anchor_leaf SET user_id = 'gg' WHERE user_id = 'g' AND anchor_no = 2$$,
    $$UPDATE credit_anchor_leaf SET anchor_no = 4 WHERE user_id = 'g' AND anchor_no = 3$$,
    $$UPDATE credit_anchor_leaf SET anchor_no = 9 WHERE user_id = 'g' AND anchor_no = 3$$,
    $$UPDATE credit_anchor_leaf SET hash = '\x00' WHERE user_id = 'g' AND anchor_no = 3$$,
    $$DELETE FROM credit_anchor_leaf WHERE user_id = 'g' AND anchor_no = 2$$,
    $$DELETE FROM credit_anchor_leaf WHERE user_id = 'g' AND anchor_no = 3$$,
    $$DELETE FROM credit_anchor_leaf$$,
    $$INSERT INTO credit_anchor_leaf SELECT 5, seq, user_id, hash FROM credit_history WHERE user_id = 'B' AND seq = 4$$,
    $$INSERT INTO credit_anchor_leaf SELECT 4, seq, user_id, hash FROM credit_history WHERE user_id = 'd' AND seq = 2$$,
    -- anchors
    $$UPDATE credit_anchor SET created_at = created_at - interval '1 us' WHERE anchor_no = 3$$,
    $$UPDATE credit_anchor SET accounts = accounts + 1 WHERE anchor_no = 3$$,
    $$UPDATE credit_anchor SET changed = changed - 1 WHERE anchor_no = 3$$,
    $$UPDATE credit_anchor SET audit_seq = 1 WHERE anchor_no = 5$$,
    $$UPDATE credit_anchor SET audit_hash = sha256('x') WHERE anchor_no = 3$$,
    $$UPDATE credit_anchor SET root = sha256('x') WHERE anchor_no = 3$$,
    $$UPDATE credit_anchor SET changed_root = sha256('x') WHERE anchor_no = 3$$,
    $$UPDATE credit_anchor SET previous_hash = sha256('x') WHERE anchor_no = 3$$,
    $$UPDATE credit_anchor SET hash = sha256('x') WHERE anchor_no = 3$$,
    $$UPDATE credit_anchor SET hash = sha256('x') WHERE anchor_no = 5$$,
    $$UPDATE credit_anchor SET hash = '\x00' WHERE anchor_no = 5$$,
    $$UPDATE credit_anchor SET created_at = created_at - interval '1 us' WHERE anchor_no = 3; SELECT t.rebuild()$$,
    $$UPDATE credit_anchor SET anchor_no = 6 WHERE anchor_no = 5$$,
    $$DELETE FROM credit_anchor WHERE anchor_no = 1$$,
    $$DELETE FROM credit_anchor WHERE anchor_no = 2$$,
    $$DELETE FROM credit_anchor WHERE anchor_no = 5$$,
    $$DELETE FROM credit_anchor WHERE anchor_no = 5; DELETE FROM credit_anchor_leaf WHERE anchor_no = 5$$,
    $$DELETE FROM credit_anchor; DELETE FROM credit_anchor_leaf$$,
    $$INSERT INTO credit_anchor SELECT 6, created_at, accounts, 0, audit_seq, audit_hash, root, sha256(''), hash, sha256('x') FROM credit_anchor WHERE anchor_no = 5$$
  ]) WITH ORDINALITY AS c(change, n), t.tampered(c.change) r ORDER BY n;
\x off
SELECT count(*) AS bad FROM credits_verify();

-- In slices, and of a sample.
BEGIN;
SELECT t.guards('DISABLE');
SELECT t.cut('g', 3);
DELETE FROM credit_anchor_leaf WHERE user_id = 'B' AND anchor_no = 2;
SELECT t.guards('ENABLE ALWAYS');
COMMIT;
SET client_min_messages = error;
CALL credits_run_verify(NULL, 1);
CALL credits_run_verify(NULL, 3);
CALL credits_run_verify();
SET client_min_messages = warning;

-- That an account is gone is no reason not to go on.
BEGIN;
SELECT t.guards('DISABLE');
SELECT t.leave('a'), t.leave('new');
SELECT t.guards('ENABLE ALWAYS');
SELECT credits_anchor() - 'root' - 'hash' - 'anchor' AS receipt;
SELECT * FROM t.anchors() WHERE anchor_no = 6;
ROLLBACK;

-- Many leaves of a user: the newest is found among them.
DROP EXTENSION credits;
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT count(credits_add_purchased(u, 100, 'pay ' || u)) FROM unnest(ARRAY['a', 'b', 'c', 'd']) u;
SELECT count(credits_anchor()) AS anchors FROM (SELECT CASE WHEN n % 10 <> 0 THEN credits_deduct('b', 1) END, credits_deduct('c', 1) FROM generate_series(1, 40) n) x;
SELECT credits_deduct('d', 1) ->> 'seq' AS seq;
SELECT r - 'root' - 'hash' - 'anchor' AS receipt FROM credits_anchor() r;
SELECT user_id, count(*), max(seq) AS seq FROM credit_anchor_leaf GROUP BY 1 ORDER BY 1;
SELECT count(*), bool_and(root_is_right AND changed_is_right AND hash_is_right AND heads_are_right) AS right FROM t.anchors();
SELECT * FROM credits_verify_anchor();

-- Several in one transaction, at any isolation level, and one that is undone.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT credits_deduct('a', 1) ->> 'seq' AS seq;
SELECT credits_anchor() -> 'anchor_no' AS anchor_no, credits_anchor() -> 'changed' AS changed;
SAVEPOINT s;
SELECT credits_anchor() -> 'anchor_no' AS anchor_no;
ROLLBACK TO s;
SELECT credits_anchor() -> 'anchor_no' AS anchor_no;
COMMIT;
SELECT * FROM credits_verify_anchor();

-- Who may.
CREATE ROLE regress_credits_witness;
SELECT t.sqlstate('SET ROLE regress_credits_witness; SELECT credits_anchor()') AS anchor,
       t.sqlstate('SET ROLE regress_credits_witness; SELECT * FROM credits_verify_anchor()') AS verify;
SELECT credits_grant_role('regress_credits_witness', 'auditor') -> 'ok' AS ok;
SET ROLE regress_credits_witness;
SELECT credits_anchor() -> 'ok' AS ok;
SELECT * FROM credits_verify_anchor();
RESET ROLE;
SELECT credits_revoke_role('regress_credits_witness', 'auditor') -> 'ok' AS ok;
-- EXECUTE is enough
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO regress_credits_witness', (SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'credits')); END $$;
GRANT EXECUTE ON FUNCTION credits_anchor(), credits_verify_anchor(text) TO regress_credits_witness;
SET ROLE regress_credits_witness;
SELECT credits_anchor() -> 'ok' AS ok;
SELECT * FROM credits_verify_anchor();
RESET ROLE;
SELECT t.sqlstate('SET TRANSACTION READ ONLY; SELECT credits_anchor()');
DROP EXTENSION credits;
DO $$ BEGIN EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM regress_credits_witness', current_schema()); END $$;
DROP ROLE regress_credits_witness;
DROP FUNCTION t.field(bytea), t.leaf(text, int8, bytea), t.mth(bytea[]), t.root(int8), t.anchors(), t.rebuild(),
    t.cut(text, int8), t.leave(text), t.tampered(text), t.problems(text), t.guards(text);
DROP TABLE kept;

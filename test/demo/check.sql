-- A bystander's books: what must have come out, worked out once more from the
-- events in plain SQL, and compared.
CREATE TABLE demo.verdict (
    n bigint GENERATED ALWAYS AS IDENTITY, what text, expected text, got text,
    ok boolean GENERATED ALWAYS AS (expected = got) STORED);

-- Accounts to which nothing happened but spending and, perhaps, buying.
CREATE TABLE demo.plain_account AS
SELECT DISTINCT ON (a.user_id) a.user_id, a.at, a.plan, a.time_zone,
       coalesce(a.cycle_anchor, a.at AT TIME ZONE a.time_zone) AS cycle_anchor
  FROM demo.account a
 WHERE NOT EXISTS (SELECT FROM demo.admin d WHERE d.user_id = a.user_id)
   AND NOT EXISTS (SELECT FROM demo.payment p WHERE p.user_id = a.user_id AND p.received_at <= a.at)
 ORDER BY a.user_id, a.at, a.n;

-- 1. Each payment counts once: the first event that came of it says how much, and for whom.
INSERT INTO demo.verdict (what, expected, got)
SELECT 'credits bought, each payment once', e.total, g.total
  FROM (SELECT sum(credits)::text || ' in ' || count(*) AS total
          FROM (SELECT DISTINCT ON (payment_ref) credits FROM demo.payment
                 WHERE type <> 'payment_intent.payment_failed'
                 ORDER BY payment_ref, received_at, n) p) e,
       (SELECT sum(purchased_delta)::text || ' in ' || count(*) AS total
          FROM credit_history WHERE kind = 'purchase') g;
INSERT INTO demo.verdict (what, expected, got)
SELECT 'users whose purchases differ from that', '0', count(*)::text
  FROM (SELECT user_id, sum(credits) AS credits
          FROM (SELECT DISTINCT ON (payment_ref) user_id, credits FROM demo.payment
                 WHERE type <> 'payment_intent.payment_failed'
                 ORDER BY payment_ref, received_at, n) p
         GROUP BY user_id) e
  FULL JOIN (SELECT user_id, sum(amount) AS credits FROM credit_payment GROUP BY user_id) g
      USING (user_id)
 WHERE e.credits IS DISTINCT FROM g.credits;
INSERT INTO demo.verdict (what, expected, got)
SELECT 'purchased credits left: bought + given - spent',
       ((SELECT sum(credits) FROM (SELECT DISTINCT ON (payment_ref) credits FROM demo.payment
           WHERE type <> 'payment_intent.payment_failed' ORDER BY payment_ref, received_at, n) p)
        + (SELECT sum(amount) FROM (SELECT DISTINCT e.user_id, e.idempotency_key, e.amount
             FROM demo.event e JOIN demo.outcome o USING (id)
            WHERE e.call = 'adjust' AND o.verdict <> 'refused') a)
        + (SELECT sum(purchased_delta) FROM credit_history WHERE kind = 'deduct'))::text,
       (SELECT sum(purchased)::text FROM credit_balance);

-- 2. Each key is charged once, however often it was sent.
CREATE TABLE demo.charge AS
SELECT DISTINCT ON (e.user_id, e.idempotency_key) e.*
  FROM demo.event e JOIN demo.outcome o USING (id)
 WHERE e.call IN ('deduct', 'try_deduct') AND o.verdict <> 'refused'
 ORDER BY e.user_id, e.idempotency_key, e.id;
CREATE UNIQUE INDEX ON demo.charge (user_id, idempotency_key);
ANALYZE demo.charge;
INSERT INTO demo.verdict (what, expected, got)
SELECT 'credits spent, each key once', e.total, g.total
  FROM (SELECT sum(amount)::text || ' in ' || count(*) AS total FROM demo.charge) e,
       (SELECT (-sum(monthly_delta + granted_delta + purchased_delta))::text || ' in ' || count(*) AS total
          FROM credit_history WHERE kind = 'deduct') g;

-- 3. A key seen before is a replay if it asks the same, else a conflict.
INSERT INTO demo.verdict (what, expected, got)
SELECT 'repeated requests answered wrongly', '0', count(*)::text
  FROM demo.event e JOIN demo.outcome o USING (id)
  LEFT JOIN demo.charge c ON c.user_id = e.user_id AND c.idempotency_key = e.idempotency_key
                         AND c.id < e.id
 WHERE e.call IN ('deduct', 'try_deduct')
   AND CASE WHEN c.id IS NULL THEN o.verdict = 'replayed' OR o.code = 'UC003'
            WHEN c.amount = e.amount THEN o.verdict <> 'replayed'
            ELSE o.code IS DISTINCT FROM 'UC003' END;

-- 4. Those who only spend, on a calendar plan: yes while the month's allowance
--    lasts, no when it does not, month by month on their own clock.
INSERT INTO demo.verdict (what, expected, got)
SELECT 'yes or no, month by month, ' || count(DISTINCT user_id) || ' users', count(*)::text,
       count(*) FILTER (WHERE (amount <= allowance - spent) = (verdict = 'done'))::text
  FROM (SELECT e.user_id, e.amount, o.verdict,
               CASE WHEN a.plan = 'team' THEN 5000
                    WHEN e.at AT TIME ZONE a.time_zone >= '2026-11-01' OR a.at >= '2026-10-15 00:00Z'
                    THEN 60 ELSE 50 END AS allowance,
               coalesce(sum(e.amount) FILTER (WHERE o.verdict = 'done') OVER (
                   PARTITION BY e.user_id, date_trunc('month', e.at AT TIME ZONE a.time_zone)
                   ORDER BY e.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS spent
          FROM demo.plain_account a
          JOIN demo.event e USING (user_id) JOIN demo.outcome o USING (id)
         WHERE a.plan IN ('free', 'team') AND e.call IN ('deduct', 'try_deduct')
           AND (o.verdict = 'done' OR o.code = 'UC001')
           AND NOT EXISTS (SELECT FROM demo.payment p WHERE p.user_id = a.user_id)) s;

-- 5. Boundaries, by the calendar and PostgreSQL's own date arithmetic.
CREATE VIEW demo.boundary AS
SELECT a.user_id, b.at
  FROM demo.plain_account a
 CROSS JOIN LATERAL (
       SELECT (date_trunc('month', a.at AT TIME ZONE a.time_zone) + make_interval(months => m))
              AT TIME ZONE a.time_zone AS at
         FROM generate_series(0, 3) m WHERE a.plan <> 'pro'
       UNION ALL
       SELECT (a.cycle_anchor + make_interval(months => m)) AT TIME ZONE a.time_zone
         FROM generate_series(0, 24) m WHERE a.plan = 'pro') b
 WHERE b.at > a.at;
INSERT INTO demo.verdict (what, expected, got)
SELECT 'resets of ' || (SELECT count(*) FROM demo.plain_account) || ' users, each boundary once',
       (SELECT count(*)::text FROM demo.boundary WHERE at <= :'end'::timestamptz),
       (SELECT sum(1 + skipped)::text FROM credit_history
         WHERE kind = 'reset' AND user_id IN (SELECT user_id FROM demo.plain_account));
INSERT INTO demo.verdict (what, expected, got)
SELECT 'of them with another next reset', '0', count(*)::text
  FROM (SELECT user_id, min(at) AS at FROM demo.boundary WHERE at > :'end'::timestamptz GROUP BY user_id) e
  JOIN credit_balance b USING (user_id)
 WHERE b.next_reset_at IS DISTINCT FROM e.at;

-- 6. A freeze refuses what is new, from the freeze to its end.
INSERT INTO demo.verdict (what, expected, got)
SELECT 'requests of frozen users refused',
       (SELECT count(*)::text FROM demo.event e
         WHERE e.call IN ('deduct', 'try_deduct')
           AND e.user_id IN (SELECT user_id FROM demo.admin WHERE action = 'freeze')
           AND (SELECT d.call = 'freeze' FROM demo.event d
                 WHERE d.user_id = e.user_id AND d.call IN ('freeze', 'unfreeze') AND d.id < e.id
                 ORDER BY d.id DESC LIMIT 1)
           AND NOT EXISTS (SELECT FROM demo.charge c
                 WHERE c.user_id = e.user_id AND c.idempotency_key = e.idempotency_key AND c.id < e.id)),
       (SELECT count(*)::text FROM demo.outcome WHERE code = 'UC004');

-- 7. A replay gives the first receipt again, whatever has happened since.
INSERT INTO demo.verdict (what, expected, got)
SELECT 'replays with the receipt of the first time',
       (SELECT count(*)::text FROM demo.outcome WHERE verdict = 'replayed'), count(*)::text
  FROM demo.outcome again
  JOIN demo.outcome first ON first.verdict = 'done' AND first.id < again.id
                         AND first.answer - 'replayed' = again.answer - 'replayed'
 WHERE again.verdict = 'replayed';

-- 8. What is refused, repeated or ignored writes nothing: every row in the
--    history is of a call that was done, of the calendar, or the opening of an
--    account by a payment that came before the sign-up.
INSERT INTO demo.verdict (what, expected, got)
SELECT 'history rows, one for each call done',
       ((SELECT count(*) FROM demo.outcome JOIN demo.event USING (id)
          WHERE verdict = 'done' AND call <> 'define_plan')
        + (SELECT count(DISTINCT user_id) FROM demo.payment p
            WHERE NOT EXISTS (SELECT FROM demo.account a
                               WHERE a.user_id = p.user_id AND a.at <= p.received_at)))::text,
       (SELECT count(*)::text FROM credit_history WHERE kind NOT IN ('reset', 'plan_change'));

-- 9. The sweep changes no balance: what the view said before the last one is
--    what the rows say after it.
INSERT INTO demo.verdict (what, expected, got)
SELECT 'balances that the last sweep changed', '0', count(*)::text
  FROM demo.unswept u FULL JOIN credit_balance b USING (user_id)
 WHERE (u.monthly, u.granted, u.purchased, u.held, u.owed, u.plan, u.plan_version, u.status,
        u.period_start, u.next_reset_at)
       IS DISTINCT FROM
       (b.monthly, b.granted, b.purchased, b.held, b.owed, b.plan, b.plan_version, b.status,
        b.period_start, b.next_reset_at);
INSERT INTO demo.verdict (what, expected, got)
SELECT 'accounts it wrote, as its dry run said', :'foretold', accounts::text
  FROM credit_reset_run WHERE kind = 'reset' ORDER BY started_at DESC LIMIT 1;

-- 10. And the ledger's own proof.
SELECT clock_timestamp() AS verify_started \gset
INSERT INTO demo.verdict (what, expected, got)
SELECT 'SELECT * FROM credits_verify()', '0 rows', count(*) || ' rows' FROM credits_verify();
INSERT INTO demo.timing
SELECT 'verify', extract(epoch FROM clock_timestamp() - :'verify_started'::timestamptz), 0;

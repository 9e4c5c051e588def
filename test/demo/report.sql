-- The report, for people to read.
\pset format unaligned
\pset tuples_only on
\pset null ''

\qecho
\qecho '== What was replayed'
\qecho '                       events     done  recognised  refused  ignored'
SELECT format('  %s %s %s  %s %s %s', rpad(call, 18), lpad(count(*)::text, 8),
              lpad(count(*) FILTER (WHERE verdict = 'done')::text, 8),
              lpad(count(*) FILTER (WHERE verdict = 'replayed')::text, 10),
              lpad(count(*) FILTER (WHERE verdict = 'refused')::text, 8),
              lpad(count(*) FILTER (WHERE verdict = 'ignored')::text, 8))
  FROM (SELECT CASE call WHEN 'ignore' THEN 'declined cards' ELSE call END AS call, verdict
          FROM demo.event JOIN demo.outcome USING (id)) e
 GROUP BY call
 ORDER BY count(*) DESC;
SELECT format('  %s %s %s  %s %s %s', rpad('in all', 18), lpad(count(*)::text, 8),
              lpad(count(*) FILTER (WHERE verdict = 'done')::text, 8),
              lpad(count(*) FILTER (WHERE verdict = 'replayed')::text, 10),
              lpad(count(*) FILTER (WHERE verdict = 'refused')::text, 8),
              lpad(count(*) FILTER (WHERE verdict = 'ignored')::text, 8))
  FROM demo.outcome;
\qecho '  recognised: sent before, answered with the first receipt, nothing charged or credited again'

\qecho
\qecho '== What was refused, and why'
SELECT format('  %s %s  %s%s', o.code, lpad(o.n::text, 5), o.message,
              E'\n               ' || regexp_replace(o.answer::text, '(.{50,78},) ', E'\\1\n                ', 'g'))
  FROM (SELECT DISTINCT ON (code, coalesce(message, 'insufficient credits'))
               code, coalesce(message, 'insufficient credits') AS message, answer,
               count(*) OVER (PARTITION BY code, coalesce(message, 'insufficient credits')) AS n
          FROM demo.outcome
         WHERE verdict = 'refused'
         ORDER BY code, coalesce(message, 'insufficient credits'), message IS NULL, id) o
 ORDER BY o.n DESC, o.code, o.message;

\qecho
\qecho '== What they have now (view credit_balance)'
\qecho '  plan        users   frozen      low      monthly    purchased    available'
SELECT format('  %s %s %s %s %s %s %s', rpad(coalesce(plan, 'none'), 10), lpad(count(*)::text, 6),
              lpad(count(*) FILTER (WHERE status = 'frozen')::text, 8),
              lpad(count(*) FILTER (WHERE low)::text, 8), lpad(sum(monthly)::text, 12),
              lpad(sum(purchased)::text, 12), lpad(sum(available)::text, 12))
  FROM credit_balance GROUP BY plan ORDER BY plan;
SELECT format('  %s %s %s %s %s %s %s', rpad('in all', 10), lpad(count(*)::text, 6),
              lpad(count(*) FILTER (WHERE status = 'frozen')::text, 8),
              lpad(count(*) FILTER (WHERE low)::text, 8), lpad(sum(monthly)::text, 12),
              lpad(sum(purchased)::text, 12), lpad(sum(available)::text, 12))
  FROM credit_balance;
\qecho
\qecho '  the three with most and the three with least'
SELECT format('  %s %s %s monthly %s purchased', rpad(user_id, 33), rpad(coalesce(plan, 'none'), 5),
              lpad(monthly::text, 6), lpad(purchased::text, 6))
  FROM ((SELECT * FROM credit_balance ORDER BY available DESC, user_id LIMIT 3)
        UNION ALL
        (SELECT * FROM credit_balance ORDER BY available, seq DESC, user_id LIMIT 3)) b
 ORDER BY available DESC, seq, user_id;

-- A user's history as support would show it, on the user's own clock.  What was
-- refused or recognised left no row there; it comes from the replay's notes.
CREATE FUNCTION demo.story(who text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('  %s %s %s %s %s %s  %s',
                  to_char(l.at AT TIME ZONE a.time_zone, 'Dy DD Mon HH24:MI'),
                  lpad(coalesce(l.seq::text, '.'), 4),
                  lpad(coalesce(to_char(nullif(l.monthly_delta, 0), 'FMSG999990'), ''), 8),
                  lpad(coalesce(to_char(nullif(l.purchased_delta, 0), 'FMSG999990'), ''), 9),
                  lpad(coalesce(l.monthly::text, ''), 9), lpad(coalesce(l.purchased::text, ''), 9),
                  l.why)
      FROM credit_account a,
           (SELECT h.effective_at AS at, h.seq, h.monthly_delta, h.purchased_delta, h.monthly, h.purchased,
                   CASE h.kind
                       WHEN 'open' THEN 'opened on ' || coalesce(h.plan, 'no plan')
                       WHEN 'deduct' THEN h.reason
                       WHEN 'purchase' THEN 'bought ' || h.amount || ', ' || h.payment_ref
                       WHEN 'reset' THEN format('%s: %s granted, %s of the old expired',
                                                  CASE WHEN h.amount > 0 THEN 'new period' ELSE 'the period is over' END,
                                                  h.amount, coalesce(h.expired, 0))
                       WHEN 'set_plan' THEN h.reason || ': now on ' || coalesce(h.plan, 'no plan')
                       WHEN 'schedule_plan' THEN h.reason || ', as of the next reset'
                       WHEN 'plan_change' THEN 'the plan is now ' || coalesce(h.plan, 'none')
                       ELSE h.kind || coalesce(': ' || h.reason, '') END AS why
              FROM credits_history(who, page_size => 1000) h
            UNION ALL
            SELECT e.at, NULL, NULL, NULL, NULL, NULL,
                   CASE WHEN o.verdict = 'replayed' AND e.call = 'add_purchased'
                        THEN 'the same payment again: not credited twice'
                        WHEN o.verdict = 'replayed' THEN e.reason || ' sent again: not charged twice'
                        WHEN o.code = 'UC001' THEN format('%s for %s refused: only %s left',
                                                          e.reason, e.amount, o.answer ->> 'available')
                        WHEN o.code = 'UC003' THEN format('%s sent again, but for %s: refused', e.reason, e.amount)
                        ELSE format('%s for %s refused: %s', e.reason, e.amount, o.message) END
              FROM demo.event e JOIN demo.outcome o USING (id)
             WHERE e.user_id = who AND o.verdict IN ('refused', 'replayed')) l
     WHERE a.user_id = who
     ORDER BY l.at, l.seq
$$;

\qecho
\qecho '== Three users, each on their own clock (a dot: nothing was written)'
SELECT E'\n  ' || s.title || E'\n  when              row  monthly purchased  monthly purchased\n'
       || E'                         +/-       +/-     left      left\n'
       || (SELECT string_agg(line, E'\n') FROM demo.story(s.user_id) line)
       || E'\n  next reset: ' || coalesce(to_char(b.next_reset_at AT TIME ZONE a.time_zone, 'Dy DD Mon HH24:MI'), 'none')
  FROM demo.story s JOIN credit_balance b USING (user_id) JOIN credit_account a USING (user_id)
 ORDER BY s.n;

\qecho
\qecho '== Resets: the sweeps (the other boundaries were applied by the calls that met them)'
\qecho '  started                  kind       accounts    granted    expired  failures  state'
SELECT format('  %s  %s %s %s %s %s  %s', to_char(started_at, 'YYYY-MM-DD HH24:MI:SS"Z"'), rpad(kind, 12),
              lpad(accounts::text, 8), lpad(credits_granted::text, 10), lpad(credits_expired::text, 10),
              lpad(failures::text, 9), state)
  FROM credit_reset_run WHERE kind <> 'verify' ORDER BY started_at;
SELECT format('  %s boundaries in all: %s applied by sweeps, %s by calls',
              count(*), count(run_id), count(*) - count(run_id))
  FROM credit_history WHERE kind = 'reset';

\qecho
\qecho '== Checked by another hand: plain SQL over the events'
SELECT format('  %s %s %s', CASE WHEN ok THEN 'ok    ' ELSE 'FAILED' END, rpad(what, 52),
              CASE WHEN ok THEN got ELSE format('expected %s, got %s', expected, got) END)
  FROM demo.verdict ORDER BY n;

\qecho
SELECT format('%s events in %s s: %s a second, one after another, through plpgsql, on one connection',
              sum(events), round(sum(seconds), 1), round(sum(events) / sum(seconds)))
  FROM demo.timing WHERE what = 'replay';
SELECT format('history of %s rows, %s; verified in %s s', (SELECT count(*) FROM credit_history),
              pg_size_pretty(pg_total_relation_size('credit_history')), round(seconds, 1))
  FROM demo.timing WHERE what = 'verify';

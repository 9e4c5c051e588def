-- Batches that fill the history: each of the users once, in random order, a
-- thousand to a batch.  A batch's users are in their own order, as those of
-- bench.batch.
--   psql -v batch=1000
CREATE TABLE bench.fill AS
    SELECT (place / :batch)::int + 1 AS id, array_agg(user_id ORDER BY user_id) AS user_ids,
           array_agg(1::bigint) AS amounts
      FROM (SELECT user_id, row_number() OVER (ORDER BY random()) - 1 AS place FROM bench.users) u
     GROUP BY 1;
ALTER TABLE bench.fill ADD PRIMARY KEY (id);
GRANT SELECT ON bench.fill TO bench_app;
ANALYZE bench.fill;
SELECT credits.credits_grant_role('bench_app', 'support') \g /dev/null

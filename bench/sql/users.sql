-- Who the users are, and the role that calls everything: an app's role that is
-- not a superuser, so that everybody's privileges are checked.
--   psql -v users=100000 -v batch=1000
CREATE SCHEMA bench;
SELECT 'CREATE ROLE bench_app LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bench_app') \gexec
GRANT USAGE ON SCHEMA bench TO bench_app;

-- Ids are texts of 16 digits: pgbench can make numbers only.
CREATE TABLE bench.users AS
    SELECT n, (4200000000000000 + n)::text COLLATE "C" AS user_id FROM generate_series(1, :users) n;
ALTER TABLE bench.users ADD PRIMARY KEY (n);

-- Batches: distinct random users in their order, so that batches that run at
-- the same time lock in one order and cannot deadlock.
CREATE TABLE bench.batch AS
    SELECT b AS id, array_agg(user_id ORDER BY user_id) AS user_ids, array_agg(1::bigint) AS amounts
      FROM generate_series(1, 200) b,
           LATERAL (SELECT user_id
                      FROM (SELECT DISTINCT (4200000000000001 + floor(random() * :users)::bigint)::text COLLATE "C" AS user_id
                              FROM generate_series(1, 2 * :batch + 0 * b)) d
                     ORDER BY random() LIMIT :batch) u
     GROUP BY b;

-- From 201 on: the users divided among the batches, everybody in one.
INSERT INTO bench.batch
    SELECT 201 + (n - 1) % (:users / :batch), array_agg(user_id ORDER BY user_id), array_agg(1::bigint)
      FROM bench.users WHERE :batch > 1 AND n <= :users / :batch * :batch
     GROUP BY 1;
ALTER TABLE bench.batch ADD PRIMARY KEY (id);
GRANT SELECT ON bench.users, bench.batch TO bench_app;
ANALYZE bench.users;
ANALYZE bench.batch;

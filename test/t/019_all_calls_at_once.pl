# Many clients make every kind of call for a few users at once, with grants and holds that
# end within seconds.  No call fails for another reason than the ledger's, and the balances
# agree with the history (bavix/laravel-wallet#1039, envato/double_entry#168,
# blnkfinance/blnk#240).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 16;
my $calls = $ENV{CREDITS_CALLS} || 300;    # a client
my $seed = $ENV{CREDITS_SEED} || time;

diag("CREDITS_SEED=$seed CREDITS_CALLS=$calls");
my $node = new_server('all_calls', conf => "log_line_prefix = '%m [%p] %e '\n");
$node->safe_psql(
	'postgres', <<'SQL');
SELECT credits_define_plan('plan', 1000), credits_define_plan('other', 400), credits_define_plan('week', 300, 'weekly');
SELECT count(credits_open_account('u' || i, 'plan')) FROM generate_series(1, 30) i;

CREATE FUNCTION act(u text, op int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s bigint;
	n int := 1 + random() * 30;
BEGIN
	CASE op
	WHEN 0 THEN PERFORM credits_deduct(u, n, idempotency_key => 'k' || (random() * 1000)::int);
	WHEN 1 THEN PERFORM credits_grant(u, n, clock_timestamp() + random() * interval '2 s',
			payment_ref => CASE WHEN random() < 0.3 THEN 'pay' || (random() * 500)::int END);
	WHEN 2 THEN PERFORM credits_hold(u, n, random() * interval '1 s' + interval '1 ms');
	WHEN 3 THEN
		SELECT max(seq) INTO s FROM credit_hold WHERE user_id = u AND state = 'open';
		PERFORM credits_capture(u, s, n, random() < 0.3, over => CASE WHEN random() < 0.3 THEN 'owe' END) WHERE s IS NOT NULL;
	WHEN 4 THEN
		SELECT min(seq) INTO s FROM credit_hold WHERE user_id = u AND state IN ('open', 'expired');
		PERFORM credits_capture(u, s) WHERE s IS NOT NULL;
	WHEN 5 THEN
		SELECT max(seq) INTO s FROM credit_hold WHERE user_id = u;
		PERFORM credits_release(u, s) WHERE s IS NOT NULL;
	WHEN 6 THEN
		SELECT seq INTO s FROM credit_history WHERE user_id = u AND kind IN ('deduct', 'capture') ORDER BY random() LIMIT 1;
		PERFORM credits_refund(u, s, CASE WHEN random() < 0.5 THEN least(n, 5) END) WHERE s IS NOT NULL;
	WHEN 7 THEN PERFORM credits_add_purchased(u, n, 'pay' || (random() * 500)::int);
	WHEN 8 THEN PERFORM credits_revoke_purchase('pay' || (random() * 500)::int, CASE WHEN random() < 0.4 THEN 3 END,
			total => CASE WHEN random() < 0.3 THEN n END);
	WHEN 9 THEN PERFORM credits_set_overdraft(u, n);
	WHEN 10 THEN PERFORM credits_transfer(u, 'u' || (1 + random() * 29)::int, 1);
	WHEN 11 THEN PERFORM credits_adjust(u, 'granted', -1, 'correction');
	WHEN 12 THEN PERFORM credits_reinstate_purchase('pay' || (random() * 500)::int, CASE WHEN random() < 0.5 THEN 2 END);
	WHEN 13 THEN PERFORM credits_set_plan(u, (ARRAY['plan', 'other', NULL])[1 + n % 3]);
	WHEN 14 THEN PERFORM credits_set_plan(u, (ARRAY['plan', 'other', 'week'])[1 + n % 3], restart => true, keep_anchor => random() < 0.5);
	WHEN 15 THEN PERFORM credits_set_cycle(u, CASE WHEN random() < 0.5 THEN '2026-01-02 03:04' END, (ARRAY['UTC', 'Asia/Tokyo'])[1 + n % 2]);
	END CASE;
EXCEPTION WHEN OTHERS THEN
	IF SQLSTATE NOT LIKE 'UC%' AND SQLSTATE <> '22023' THEN
		RAISE;
	END IF;
END $$;
SQL

my $script = PostgreSQL::Test::Utils::tempdir() . '/all_calls.sql';
PostgreSQL::Test::Utils::append_to_file($script,
	"\\set u random(1, 30)\n\\set op random(0, 15)\nSELECT act('u' || :u, :op);\n");
for my $level ('read committed', 'repeatable read', 'serializable')
{
	my ($out, $err) = ('', '');

	local $ENV{PGOPTIONS} = "-c default_transaction_isolation=" . ($level =~ s/ /\\ /r);
	IPC::Run::run(
		[
			'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $calls, '--max-tries', 1000,
			'--random-seed', $seed, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres'
		],
		'>', \$out, '2>', \$err);
	is($?, 0, "$level: no call failed but for a reason of the ledger's") or diag($err);
	like($out, qr/number of transactions actually processed: (\d+)\/\1\n/, "$level: all were made");
	is_clean($node, 'postgres', "$level: everything verifies");
}
is($node->safe_psql('postgres', <<'SQL'), 't', 'and rows of every kind were written');
SELECT count(DISTINCT kind) = 19 FROM credit_history
 WHERE kind IN ('open', 'deduct', 'purchase', 'adjust', 'set_overdraft', 'transfer_out', 'transfer_in', 'grant',
	'grant_end', 'hold', 'hold_end', 'capture', 'release', 'refund', 'revoke',
	'reinstate', 'set_plan', 'restart', 'set_cycle')
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'what each account has is what its rows moved');
SELECT user_id FROM credit_account a
  JOIN (SELECT user_id, sum(monthly_delta) m, sum(granted_delta) g, sum(purchased_delta) p, count(*) n
		  FROM credit_history GROUP BY user_id) h USING (user_id)
 WHERE (m, g, p, n) <> (monthly, granted, purchased, history_seq)
SQL
no_deadlock($node, 'no two calls waited for each other');
done_testing();

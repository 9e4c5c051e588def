# credits.log_refusals = off keeps out of the server's log what an app passes on to its
# user, and nothing else.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('refusals', clock => '2026-01-10 00:00:00+00');
my $db = 'postgres';

$node->safe_psql($db, q(
SELECT credits_define_plan('free', 10);
SELECT credits_open_account(u, 'free') FROM unnest(ARRAY['u', 'v', 'frozen']) u;
SELECT credits_freeze('frozen');
SELECT credits_deduct('u', 1, NULL, 'key');
SELECT credits_hold('u', 1, '1 hour');
SELECT credits_release('u', 3);
SELECT credits_add_purchased('u', 5, 'pay');
CREATE ROLE app LOGIN;
SELECT credits_grant_role('app', 'app');
CREATE FUNCTION wrapper() RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN RETURN credits_deduct('u', 1000); END$$;
));

my @refusals = (
	[ 'UC001', q(credits_deduct('u', 1000)) ],
	[ 'UC001', q(credits_adjust('u', 'purchased', -1000, 'too much')) ],
	[ 'UC001', q(credits_deduct_many('{u}', '{1000}', all_or_nothing => true)) ],
	[ 'UC001', 'wrapper()' ],
	[ 'UC002', q(credits_deduct('nobody', 1)) ],
	[ 'UC003', q(credits_deduct('u', 2, NULL, 'key')) ],
	[ 'UC003', q(credits_add_purchased('v', 5, 'pay')) ],
	[ 'UC004', q(credits_deduct('frozen', 1)) ],
	[ 'UC005', q(credits_release('u', 99)) ],
	[ 'UC006', q(credits_release('u', 3)) ],
	[ 'UC010', q(credits_refund('u', 2, 5)) ],
	[ 'UC011', q(credits_revoke_purchase('no_such')) ]);
my @others = (
	[ 'UC007', 'count(*) FROM credit_plan; DELETE FROM credit_history' ],
	[ 'UC009', q(credits_set_plan('u', 'no_such')) ],
	[ '22023', q(credits_hold('u', 1, '-1 hour')) ],
	[ '22004', q(credits_deduct(NULL, 1)) ]);

# What the log got since the last look.
my $seen = 0;

sub logged
{
	my $log = slurp_file($node->logfile, $seen);

	$seen += length $log;
	return $log;
}

# Every call in a session of its own that loads the library with it.
sub is_logged
{
	my ($setting, $case, $expected) = @_;
	my ($state, $call) = @$case;
	my ($out, $err) = is_outcome($node, $db, "${setting}SELECT $call;", $state, "$call is $state");

	like($err, qr/ERROR:  $state/, '... the client is told');
	like($err, qr/DETAIL:  \{/, '... all of it') unless $state =~ /^22/;
	my $log = logged();
	$expected ? like($log, qr/ERROR:  .*\n/, '... and so is the log')
	  : unlike($log, qr/ERROR|DETAIL|HINT|CONTEXT|STATEMENT/, '... and the log is not');
	return;
}

logged();
is_logged('', $_, 1) for @refusals, @others;
is_logged('SET credits.log_refusals = off; ', $_, 0) for @refusals;
is_logged('SET credits.log_refusals = off; ', $_, 1) for @others;

# For one role alone; and the role cannot change it.
$node->safe_psql($db, 'ALTER ROLE app SET credits.log_refusals = off');
logged();
my ($out, $err);
$node->psql($db, q(SELECT credits_deduct('u', 1000)), stderr => \$err, extra_params => [ '-U', 'app' ]);
like($err, qr/ERROR:  insufficient credits/, 'the app is told');
unlike(logged(), qr/insufficient/, 'a role can have it off');
$node->psql($db, q(SELECT credits_balance('u'); SET credits.log_refusals = on), stderr => \$err, extra_params => [ '-U', 'app' ]);
like($err, qr/permission denied to set parameter/, 'only a superuser sets it');

# An error of the server's own is in the log, whatever the setting.
logged();
is_outcome($node, $db, 'SET credits.log_refusals = off; SELECT credits_balance(\'u\'); SELECT 1/0', '22012', 'an error of the server');
like(logged(), qr/ERROR:  division by zero/, '... is in the log');

done_testing();

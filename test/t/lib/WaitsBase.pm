# The ledger that the tests of waiting begin with.
package WaitsBase;

use strict;
use warnings FATAL => 'all';

use CreditsTest;
use Exporter 'import';

our @EXPORT = qw(waits_server @users);
our @users = qw(a1 a2 a3 m1 old q0 z1 z2 z3);

# Its database "base": accounts of two plans and of none; for all that have a plan a reset is due.  m1 is
# in their middle.  What was done in January is anchored.  Two have rows of
# 2025: those of old are archived, those of q0 are not.
sub waits_server
{
	my ($name) = @_;
	my $node = new_server($name, clock => '2026-03-10 12:00:00+00', conf => "credits.key_retention = 0\nfsync = off\n");

	$node->safe_psql('postgres', 'CREATE DATABASE base');
	$node->safe_psql('base', q(
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100), credits_define_plan('pro', 200), credits_define_plan('idle', 1);
SELECT credits_open_account(u, p) FROM (VALUES ('a1', 'free'), ('a2', 'pro'), ('m1', 'free'), ('z1', 'free'), ('z2', 'pro')) v (u, p);
SELECT credits_add_purchased(u, 1000, 'pay_' || u) FROM unnest('{a1,a2,a3,m1,z1,z2,z3}'::text[]) u;
SELECT credits_grant(u, 10, '2027-01-01') FROM unnest('{a1,m1,z1}'::text[]) u;
SET credits.clock = '2025-12-31 00:00:00+00';
SELECT credits_add_purchased(u, 5, 'pay_' || u), credits_deduct(u, 1, 'private'), credits_deduct(u, 1) FROM unnest('{old,q0}'::text[]) u;
SET credits.clock = '2026-01-11 00:00:00+00';
SELECT credits_deduct(u, 1) FROM unnest('{a1,a2,a3,m1,z1,z2,z3,old,q0}'::text[]) u;
SELECT credits_anchor();
));
	$node->safe_psql('base', q(SET credits.clock = '2026-01-12 00:00:00+00'; CALL credits_grant_many('{a1,a2,m1,z1}', '{7,7,7,7}', '2027-01-01')));
	$node->safe_psql('base', q(SET credits.clock = '2026-01-20 00:00:00+00'; CALL credits_archive('2026-01-01', max_accounts => 1)));
	$node->safe_psql('base', q(SET credits.clock = '2026-01-20 00:00:00+00'; SELECT credits_define_plan('free', 150, effective_from => '2026-01-21')));
	$node->safe_psql('base', q(CREATE ROLE app_role; CREATE ROLE other_role));
	return $node;
}

1;

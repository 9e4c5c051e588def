# Erasing a long history: in little memory, while others spend, and so that no
# text is left where the documentation says that there is none.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

use constant ROWS => 100_000;

my $node = new_server('erase', clock => '2026-01-15 12:00:00+00', conf => "fsync = off\nmax_wal_size = 2GB\n");
my $db = 'postgres';

# Texts that take 60 MB in all, which nobody compresses.
$node->safe_psql($db, q(SELECT credits_define_plan('big', 1000000);
SELECT credits_open_account(u, 'big') FROM unnest(ARRAY['long', 'other']) u;));
$node->safe_psql($db, sprintf(q(
SELECT count(r) FROM (
    SELECT array_agg('long'::text) AS users, array_agg(1::int8) AS amounts, array_agg('secret reason ' || n) AS reasons, array_agg('k' || n) AS keys,
           array_agg(jsonb_build_object('secret', (SELECT string_agg(md5(n::text || i), '') FROM generate_series(1, 16) i))) AS metadata
      FROM generate_series(%1$d + 1, %1$d + 10000) n) a, credits_deduct_many(users, amounts, reasons, keys, metadata) r), $_ * 10_000)) for 0 .. ROWS / 10_000 - 1;
$node->safe_psql($db, q(SELECT credits_deduct('other', 1, 'another secret', 'k1')));

# The most memory that the backend has had, in MB; what is shared never changes.
sub memory
{
	my ($session) = @_;
	my ($peak) = slurp_file("/proc/$session->{pid}/status") =~ /^VmPeak:\s+(\d+) kB/m;

	return $peak / 1024;
}

# Others of the same account wait, and those of another do not.
my $eraser = session($node, $db);
my $waiting = session($node, $db);
my $other = session($node, $db);
$eraser->do('BEGIN');
$eraser->do(q(SELECT credits_balance('long'); SELECT credits_deduct('other', 1); SELECT credits_erase_user('other')));
$eraser->do('COMMIT');
$eraser->do('BEGIN');
my $before = -r "/proc/$eraser->{pid}/status" ? memory($eraser) : undef;
my $answer = json($eraser->do(q(SELECT credits_erase_user('long'))));
is($answer->{rows}, ROWS, 'every row with a text is erased');
SKIP:
{
	skip 'no /proc', 1 unless defined $before;
	my $took = memory($eraser) - $before;
	cmp_ok($took, '<', 24, sprintf 'erasing took %.1f MB', $took);
}
$waiting->send(q(SELECT credits_deduct('long', 1, 'written meanwhile')));
ok( poll_until(
		sub { $other->do("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $waiting->{pid}") eq 'Lock' },
		'a deduction that waits'),
	'a deduction from the account waits');
$other->is_state(q(SELECT credits_deduct('other', 1)), '00000', 'one from another does not');
is($other->do(q(SELECT count(reason) FROM credit_history WHERE user_id = 'long')), ROWS, 'readers still see the texts');
$eraser->do('COMMIT');
my ($state) = $waiting->answer;
is($state, '00000', 'then the deduction goes on');
is($other->do(q(SELECT string_agg(reason, ',') FROM credit_history WHERE user_id = 'long')), 'written meanwhile',
	'its text is there, and no other');
is($other->do(q(SELECT count(*) FROM credit_history WHERE user_id = 'long' AND num_nulls(reason_digest, metadata_digest) = 0)),
	ROWS, 'the digests are');
$_->quit for $eraser, $waiting, $other;
is_clean($node, $db);
is_gapless($node, $db);

# A retry from before is still known, by one of many keys.
my $receipt = json($node->safe_psql($db, q(SELECT credits_deduct('long', 1, NULL, 'k77777'))));
is("$receipt->{replayed} $receipt->{seq}", '1 77778', 'a retry is a replay');

# Where the texts still are, and where no longer.
sub files_with
{
	my ($text) = @_;
	my @found;

	$node->safe_psql($db, 'CHECKPOINT');
	for my $path (split /\n/, $node->safe_psql($db, q(
SELECT pg_relation_filepath(c) FROM (SELECT 'credit_history'::regclass UNION ALL
       SELECT reltoastrelid FROM pg_class WHERE oid = 'credit_history'::regclass) x(c))))
	{
		push @found, $path if slurp_file($node->data_dir . "/$path") =~ /\Q$text\E/;
	}
	return scalar @found;
}
is(files_with('secret reason 99999'), 1, 'the old versions are still in the file');
$node->safe_psql($db, 'VACUUM FULL credit_history');
is(files_with('secret reason'), 0, 'not after VACUUM FULL');
is(files_with('written meanwhile'), 1, 'which other texts survive');
is_clean($node, $db);

$node->stop;
done_testing();

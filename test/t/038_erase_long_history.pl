# Erasing a user with a long history, part of which is in the archive, takes little memory,
# works while other sessions spend, and leaves no text where the documentation says that none
# is left.
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

# Large texts that were archived: archiving them, erasing them, verifying them and
# dropping them take the memory of some of them, not of all (60 MB, and several
# copies of each).
use constant { ARCHIVED => 300, SIZE => 200_000 };
$node->safe_psql($db, sprintf(q(
CREATE FUNCTION filler(n int) RETURNS text LANGUAGE sql AS $$
    SELECT left(string_agg(sha512(convert_to(n || ' ' || i, 'UTF8'))::text, ''), %d) FROM generate_series(1, %d) i
$$;
SET credits.clock = '2026-01-16';
SELECT credits_open_account('archived', 'big');
SELECT count(credits_deduct('archived', 1, 'archived secret', NULL, jsonb_build_object('filler', filler(n)))) FROM generate_series(1, %d) n;
SELECT credits_anchor();
SELECT credits_deduct('archived', 1)), SIZE, SIZE / 128 + 1, ARCHIVED));

sub takes_little
{
	my ($call, $want, $limit) = @_;
	my $session = session($node, $db);
	my $setting = "SET credits.clock = '2026-01-17'";

	$session->do("$setting; SELECT credits_balance('archived'); SELECT credits_hold('archived', 1)");
	my $before = -r "/proc/$session->{pid}/status" ? memory($session) : undef;
	my ($state, $out) = $session->run($call);
	is($state, '00000', "$call: done");
	like($out, $want, "$call: all of them");
	cmp_ok(memory($session) - $before, '<', $limit, sprintf '%s took %.1f MB', $call, memory($session) - $before) if defined $before;
	$session->quit;
	return;
}
my $all = ARCHIVED + 1;
takes_little(q(CALL credits_archive('2026-01-17', max_accounts => 1000)), qr/"rows": $all\b/, 24);
takes_little(q(SELECT count(*) FROM credits_verify_account('archived')), qr/^0$/, 24);
takes_little(q(SELECT credits_erase_user('archived')), qr/"rows": @{[ARCHIVED]}\b/, 24);
takes_little(q(SELECT count(*) FROM credits_verify_account('archived')), qr/^0$/, 24);
is($node->safe_psql($db, 'SELECT count(reason) + count(metadata), count(metadata_digest) FROM credit_history_archive'), '0|' . ARCHIVED, 'no archived text is left');
is_clean($node, $db);
takes_little(qq(SELECT credits_drop_archive('credit_history_archive_2026', $all)), qr/"ok": true/, 24);
is_clean($node, $db);

$node->stop;
done_testing();

# No one may change the ledger outside its functions.  If a superuser does it nevertheless,
# credits_verify() finds the change, and so does test/verify/credits-verify.pl in an export.
# The latter shares no code with the extension.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../verify";

use AuditLife;
use AuditOpen;
use AuditPeriods;
use CreditsFormat ();
use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $verify = "$FindBin::RealBin/../verify";
my @tables = qw(credit_plan credit_account credit_history credit_payment credit_grant credit_hold
  credit_reset_run credit_audit_log credit_role credit_anchor credit_anchor_leaf);

is(system($^X, "$verify/selftest.pl") >> 8, 0, 'the verifier passes its own test')
  or diag("perl test/verify/selftest.pl");

# The extension is not in "public", and the server's settings are not those
# that the export asks for.
my $node = new_server('audit', conf => q(
timezone = 'Asia/Kathmandu'
datestyle = 'German, DMY'
bytea_output = escape
fsync = off
));
$node->safe_psql('postgres', q(
DROP EXTENSION credits;
CREATE SCHEMA "Ledger x";
CREATE EXTENSION credits SCHEMA "Ledger x";
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
));
$node->append_conf('postgresql.conf', q(search_path = '"Ledger x", public'));
$node->reload;

# The database as it is now, under another name.
sub copy_of
{
	my ($db) = @_;
	$node->safe_psql('template1', "CREATE DATABASE $db TEMPLATE postgres");
	return $db;
}

sub sql { my ($db, $sql) = @_; return $node->safe_psql($db, $sql) }

# Exports a database, as a role with the auditor preset, and verifies that: (exit
# status, lines).
sub independent
{
	my ($db) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err);
	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr($db) . ' user=auditor', '-v', "dir=$dir",
			'-f', "$verify/export.sql" ],
		'>', \$out, '2>', \$err)
	  or die "export of $db: $err";
	is($out . $err, '', "$db: the export says nothing");
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $dir ], '>', \$out, '2>', \$err);
	my $status = $? >> 8;
	die "verifier: $err" if $status == 2;
	return ($status, split /\n/, $out);
}

sub is_all_clean
{
	my ($db, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_clean($node, $db, "$test: credits_verify()");
	my ($status, @lines) = independent($db);
	is($status, 0, "$test: the verifier") or diag(join "\n", @lines);
	return $lines[-1];
}

#
# Histories.  Each case below has a user of its own, and all users do the same.
#

# name => what somebody does to it (:u is the user, :{kind N} the seq of the
# user's Nth row of that kind, :last the last seq), the seq that must be named,
# and, where a missing row is as well named by its neighbour, how far that is.
sub history { my ($set, $seq) = @_; return ("UPDATE credit_history SET $set WHERE user_id = :u AND seq = $seq", $seq) }
sub account { my ($set) = @_; return ("UPDATE credit_account SET $set WHERE user_id = :u", ':last') }

my $forge_row = q(
INSERT INTO credit_history
SELECT (jsonb_populate_record(h, jsonb_build_object('seq', :last + 1) || '%s')).*
  FROM credit_history h WHERE user_id = :u AND seq = :{deduct 1});

my %case = (
	amount          => [ history('amount = amount + 1', ':{deduct 1}') ],
	monthly_delta   => [ history('monthly_delta = monthly_delta + 1', ':{deduct 1}') ],
	monthly         => [ history('monthly = monthly + 1', ':{deduct 1}') ],
	purchased_both  => [ history('purchased_delta = purchased_delta + 1, purchased = purchased + 1, amount = amount + 1',
		':{purchase 1}') ],
	held            => [ history('held_monthly = 1', ':{deduct 2}') ],
	owed            => [ history('owed_purchased = 1', ':{deduct 2}') ],
	reason          => [ history(q(reason = reason || ' '), ':{deduct 1}') ],
	reason_gone     => [ history('reason = NULL', ':{deduct 1}') ],
	reason_new      => [ history(q(reason = 'invented', text_salt = decode(md5('x'), 'hex')), ':{deduct 2}') ],
	reason_digest   => [ history(q(reason = NULL, reason_digest = sha256('other')), ':{deduct 1}') ],
	text_salt       => [ history(q(text_salt = substr(sha256(text_salt), 1, 16)), ':{deduct 1}') ],
	metadata        => [ history(q(metadata = metadata || '{"tokens": 1}'), ':{deduct 1}') ],
	metadata_gone   => [ history('metadata = NULL', ':{adjust 2}') ],
	actor           => [ history(q(actor = 'somebody'), ':{adjust 1}') ],
	spender         => [ history(q(spender = 'somebody'), ':{deduct 1}') ],
	idempotency_key => [ history(q(idempotency_key = 'k2'), ':{deduct 1}') ],
	request_digest  => [ history(q(request_digest = sha256('other')), ':{deduct 1}') ],
	payment_ref     => [ history(q(payment_ref = payment_ref || 'x'), ':{purchase 1}') ],
	kind            => [ history(q(kind = 'adjust'), ':{deduct 2}') ],
	created_at      => [ history(q(created_at = created_at + interval '1 microsecond'), ':{deduct 2}') ],
	effective_at    => [ history(q(effective_at = effective_at + interval '1 microsecond'), ':{deduct 2}') ],
	period          => [ history('period = period + 1', ':{deduct 2}') ],
	period_start    => [ history(q(period_start = period_start + interval '1 microsecond'), ':{open 1}') ],
	next_reset_at   => [ history(q(next_reset_at = next_reset_at + interval '1 microsecond'), ':{deduct 2}') ],
	ends_at         => [ history(q(ends_at = 'infinity'), ':{deduct 2}') ],
	ref_seq         => [ history('ref_seq = 1', ':{deduct 2}') ],
	run_id          => [ history('run_id = gen_random_uuid()', ':{reset 1}') ],
	allocations     => [ history(q(allocations = '{1,5}'), ':{deduct 2}') ],
	expired         => [ history('expired = expired + 1', ':{reset 1}') ],
	forfeited       => [ history('forfeited = 1', ':{reset 1}') ],
	skipped         => [ history('skipped = skipped + 1', ':{reset 1}') ],
	plan_version    => [ history('plan_version = 2', ':{deduct 1}') ],
	facts_zone      => [ history(q(time_zone = 'UTC'), ':{open 1}') ],
	facts_anchor    => [ history(q(cycle_anchor = cycle_anchor + interval '1 day'), ':{open 1}') ],
	facts_plan      => [ history(q(plan = 'max'), ':{open 1}') ],
	facts_scheduled => [ history('scheduled_plan = NULL', ':{schedule_plan 1}') ],
	facts_overdraft => [ history('overdraft_limit = 1000', ':{set_plan 1}') ],
	facts_granted   => [ history('period_granted = 0', ':{set_plan 1}') ],
	facts_status    => [ history(q(status = 'active'), ':{freeze 1}') ],
	facts_gone      => [ history('status = NULL, plan = NULL, cycle_anchor = NULL, time_zone = NULL, overdraft_limit = NULL, period_granted = NULL, scheduled_plan = NULL, period_start = NULL, period_share = NULL, cycle = NULL, last_left = NULL, last_limit = NULL, last_undone = NULL, low_threshold = NULL',
		':{unfreeze 1}') ],
	facts_threshold => [ history('low_threshold = 5', ':{set_plan 1}') ],
	crossed_low     => [ history(q(crossed = 'low'), ':{adjust 2}') ],
	crossed_not     => [ history(q(crossed = 'recovered'), ':{open 1}') ],
	facts_new       => [ 'ALTER TABLE credit_history DROP CONSTRAINT IF EXISTS credit_history_facts; '
		  . (history(q(time_zone = 'UTC'), ':{deduct 2}'))[0], ':{deduct 2}' ],
	hash            => [ history('hash = sha256(hash)', ':{deduct 2}') ],
	hash_last       => [ history('hash = sha256(hash)', ':last') ],
	to_another_user => [ q(UPDATE credit_history SET user_id = :u || '2' WHERE user_id = :u AND seq = :{deduct 2}),
		':{deduct 2}', 1 ],
	delete_middle   => [ 'DELETE FROM credit_history WHERE user_id = :u AND seq = :{deduct 2}', ':{deduct 2}', 1 ],
	delete_first    => [ 'DELETE FROM credit_history WHERE user_id = :u AND seq = 1', '1', 1 ],
	delete_tail     => [ 'DELETE FROM credit_history WHERE user_id = :u AND seq = :last', ':last', -1 ],
	delete_all      => [ 'DELETE FROM credit_history WHERE user_id = :u', '1', 'any' ],
	swap            => [ q(
UPDATE credit_history SET seq = seq + 1000 WHERE user_id = :u AND seq IN (:{deduct 1}, :{purchase 1});
UPDATE credit_history SET seq = CASE seq - 1000 WHEN :{deduct 1} THEN :{purchase 1} ELSE :{deduct 1} END WHERE user_id = :u AND seq > 1000;
), ':{deduct 1}' ],
	renumber        => [ q(
DELETE FROM credit_history WHERE user_id = :u AND seq = :{deduct 2};
UPDATE credit_history SET seq = seq + 1000 WHERE user_id = :u AND seq > :{deduct 2};
UPDATE credit_history SET seq = seq - 1001 WHERE user_id = :u AND seq > 1000;
UPDATE credit_account SET history_seq = history_seq - 1 WHERE user_id = :u;
), ':{deduct 2}' ],
	forged_tail     => [ sprintf($forge_row, '{"idempotency_key": null}'), ':last + 1' ],
	forged_head     => [ sprintf($forge_row,
		'{"idempotency_key": null}') . '; UPDATE credit_account SET history_seq = history_seq + 1 WHERE user_id = :u',
		':last + 1' ],
	account_monthly    => [ account('monthly = monthly + 1') ],
	account_purchased  => [ account('purchased = purchased + 1') ],
	account_granted    => [ account('granted = granted + 1') ],
	account_held       => [ account('held_purchased = 1') ],
	account_owed       => [ account('owed_monthly = 1') ],
	account_hash       => [ account('history_hash = sha256(history_hash)') ],
	account_back       => [ account('history_seq = history_seq - 1'), -1 ],
	account_ahead      => [ 'UPDATE credit_account SET history_seq = history_seq + 1 WHERE user_id = :u',
		':last + 1', -1 ],
	account_effective  => [ account(q(effective_at = effective_at - interval '1 day')) ],
	account_period     => [ account(q(last_monthly_reset = last_monthly_reset - interval '1 day')) ],
	account_next_reset => [ account(q(next_reset_at = next_reset_at - interval '1 day')) ],
	account_next_event => [ account(q(next_event_at = next_reset_at + interval '1 second')) ],
	account_no_event   => [ account('next_event_at = NULL') ],
	account_plan       => [ account(q(plan = 'max')) ],
	account_version    => [ account('plan_version = plan_version + 1') ],
	account_scheduled  => [ account(q(scheduled_plan = 'max')) ],
	account_granted_by => [ account('period_granted = 0') ],
	account_overdraft  => [ account('overdraft_limit = 1000') ],
	account_threshold  => [ account('low_threshold = 5') ],
	account_plan_low   => [ account('plan_threshold = plan_threshold + 1') ],
	account_level      => [ account(q(level = CASE level WHEN 'empty' THEN 'low' ELSE 'empty' END)) ],
	account_flags      => [ account('flags = coalesce(flags, 0) + 32') ],
	account_zone       => [ account(q(time_zone = 'UTC')) ],
	account_anchor     => [ account(q(cycle_anchor = cycle_anchor + interval '1 day')) ],
	account_status     => [ account(q(status = 'frozen')) ],
	account_gone       => [ 'DELETE FROM credit_account WHERE user_id = :u', ':last', 'any' ],
	payment_gone       => [ 'DELETE FROM credit_payment WHERE user_id = :u', ':{purchase 1}' ],
	payment_amount     => [ 'UPDATE credit_payment SET amount = amount + 1 WHERE user_id = :u', ':{purchase 1}' ],
	payment_ref_row    => [ q(UPDATE credit_payment SET payment_ref = 'pay_other' WHERE user_id = :u),
		':{purchase 1}' ],
	payment_seq        => [ 'UPDATE credit_payment SET seq = :{deduct 2} WHERE user_id = :u', ':{purchase 1}', 'any' ],
	payment_revoked    => [ 'UPDATE credit_payment SET revoked = 1 WHERE user_id = :u', ':{purchase 1}' ],
	payment_forged     => [ q(INSERT INTO credit_payment (amount, revoked, seq, paid_at, granted, payment_ref, user_id) VALUES (5, 0, :{deduct 2}, '2026-01-18 09:00:00+00', false, 'pay_forged', :u)),
		':{deduct 2}' ],
);

# Rows that somebody forged who knows how to hash: name => [seq, columns].  What
# the chain cannot show, the rules must.
my %forgery = (
	rehashed_free_purchase => [ ':{deduct 2}', { kind => 'purchase', payment_ref => 'pay_free',
		monthly_delta => 0, purchased_delta => '970', amount => 970 } ],
	rehashed_cheap_deduct  => [ ':{deduct 1}', { monthly_delta => -3 } ],
	rehashed_gift          => [ ':{deduct 1}', { monthly_delta => 30 } ],
	rehashed_order         => [ ':{deduct 2}', { monthly_delta => -969, purchased_delta => -21 } ],
	rehashed_payment       => [ ':{purchase 1}', { amount => 501, purchased_delta => 501 } ],
	rehashed_reset         => [ ':{reset 1}', { amount => 1000, period_granted => 1000, monthly_delta => 1000 } ],
	rehashed_purchased     => [ ':{reset 1}', { purchased_delta => 1 } ],
	rehashed_granted       => [ ':{reset 1}', { period_granted => 0 } ],
	rehashed_freeze        => [ ':{freeze 1}', { monthly_delta => 1 } ],
	rehashed_adjust        => [ ':{adjust 1}', { monthly_delta => 1 } ],
	rehashed_set_plan      => [ ':{set_plan 2}', { monthly_delta => 50 } ],
	rehashed_schedule      => [ ':{schedule_plan 1}', { monthly_delta => 50 } ],
	rehashed_time          => [ ':{deduct 2}', { effective_at => '2026-01-15 09:00:01+00' } ],
	rehashed_facts         => [ ':{freeze 1}', { time_zone => 'UTC' } ],
	rehashed_overdraft     => [ ':{unfreeze 1}', { overdraft_limit => 100 } ],
	rehashed_kind          => [ ':{deduct 2}', { kind => 'gift' } ],
	rehashed_plan          => [ ':{plan_change 1}', { plan => 'max' } ],
	rehashed_held          => [ ':{deduct 2}', { held_monthly => 1 } ],
	rehashed_key           => [ ':{deduct 1}', { expired => 1 } ],
);
%case = (%case, %OPEN_CASE);
%forgery = (%forgery, %OPEN_FORGERY);
%LIFE_CASE = (%LIFE_CASE, %PERIOD_CASE);
%LIFE_FORGERY = (%LIFE_FORGERY, %PERIOD_FORGERY);

my @special = ('clean_1', "zoë \x{2615}", "tab\tquote\"back\\slash'", 'only_purchases', 'no_plan');
my $quoted = sub { my ($s) = @_; utf8::encode($s); $s =~ s/'/''/g; return "'$s'" };

sql('postgres', q(SET credits.clock = '2026-01-01 00:00:00+00';
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('pro', 1000, 'anniversary', 50, 20);
SELECT credits_define_plan('max', 5000, 'anniversary');
SELECT credits_define_plan('roll', 100, 'calendar', 20);
SELECT credits_define_plan('day', 5, 'daily');
SELECT credits_define_plan('spare_' || n, 5) FROM generate_series(1, 5) n;
SELECT credits_define_plan('pro', 1200, effective_from => '2026-08-01');
CREATE ROLE app;
SELECT credits_grant_role('app', 'app');
CREATE ROLE auditor LOGIN;
SELECT credits_grant_role('auditor', 'auditor');
CREATE TABLE users (u text PRIMARY KEY);
CREATE TABLE life (u text PRIMARY KEY);
));
sql('postgres', 'INSERT INTO users VALUES '
	  . join(', ', map { '(' . $quoted->($_) . ')' } sort(keys %case, keys %forgery), @special[ 0 .. 2 ]));

sql('postgres', 'INSERT INTO life VALUES '
	  . join(', ', map { '(' . $quoted->($_) . ')' } sort(keys %LIFE_CASE, keys %LIFE_FORGERY), 'life_clean'));

sub at { my ($clock, $sql) = @_; return sql('postgres', "SET credits.clock = '$clock'; $sql") }
sub everybody { my ($clock, $call) = @_; return at($clock, "SELECT count($call) FROM users") }

everybody('2026-01-15 09:00:00+00', q(credits_open_account(u, 'pro', '2026-01-15 10:00', 'Europe/Berlin')));
my $deduct = q(credits_deduct(u, 30, E'chat: Zo\u00eb \u2615 "quoted" \\\\ tab\t line\n\\\\.\n', 'k1', '{"model": "large", "tokens": 1e3, "text": "\u00fc\n", "b": [1.50, null, true]}', 'member_1'));
everybody('2026-01-16 09:00:00.000001+00', $deduct);
everybody('2026-01-16 09:00:07+00', $deduct);
is(at('2026-01-16 09:00:08+00', "SELECT count(*) FROM users WHERE (($deduct)->>'replayed')::bool"),
	scalar(keys(%case) + keys(%forgery) + 3), 'retries with the key are replays');
everybody('2026-01-16 10:00:00+00', q(credits_try_deduct(u, 999999)));
is(at('2026-01-16 10:00:00+00',
	q(SELECT DISTINCT try(format('SELECT credits_deduct(%L, 999999, idempotency_key => ''no'')', u)) FROM users)),
	'UC001', 'too much is refused');
everybody('2026-01-17 09:00:00+00', q(credits_add_purchased(u, 500, 'pay_' || u, 'pack', metadata => '{}')));
everybody('2026-01-17 09:00:01+00', q(credits_add_purchased(u, 500, 'pay_' || u, 'pack', metadata => '{}')));
everybody('2026-01-18 09:00:00+00', q(credits_deduct(u, 990)));
everybody('2026-01-19 09:00:00+00', q(credits_adjust(u, 'purchased', 7, 'goodwill')));
everybody('2026-01-20 09:00:00+00',
	q(credits_adjust(u, 'monthly', 3, 'goodwill', 'adj', '{"ticket": 9007199254740993}')));
everybody('2026-01-20 09:30:00+00', q(credits_adjust(u, 'purchased', -2, 'mistake')));
everybody('2026-01-21 09:00:00+00', q(credits_set_plan(u, 'free')));
everybody('2026-01-22 09:00:00+00', q(credits_set_plan(u, 'pro', 'now', 'came back')));
everybody('2026-01-23 09:00:00+00', q(credits_set_plan(u, 'free', 'next_reset')));
everybody('2026-03-20 09:00:00+00', q(credits_deduct(u, 1)));
everybody('2026-03-21 09:00:00+00', q(credits_freeze(u, 'suspicious')));
is(at('2026-03-21 10:00:00+00', q(SELECT DISTINCT try(format('SELECT credits_deduct(%L, 1)', u)) FROM users)),
	'UC004', 'a frozen account spends nothing');
everybody('2026-03-22 09:00:00+00', q(credits_unfreeze(u, 'a false alarm')));
everybody(@$_) for @OPEN_STORY;
everybody('2026-07-02 09:00:00+00', q(credits_deduct(u, 5)));
at('2026-08-02 09:00:00+00', 'SELECT credits_reset_due(7); CALL credits_run_reset(10)');
everybody('2026-08-03 09:00:00+00', q(credits_set_plan(u, 'pro')));
everybody('2026-12-24 09:00:00+00', q(credits_deduct(u, 2)));
everybody('2026-08-10 09:00:00+00', q(credits_repair_clock(u, 'the clock ran ahead')));
everybody(@$_) for @OPEN_LAST;
everybody('2026-08-11 09:00:00+00', q(credits_deduct(u, 3, 'the last')));

# A step of the story of those that came from another system.
sub life
{
	my ($clock, $statement) = @_;
	my ($run) = rows($node, 'postgres',
		"SELECT run_id FROM credit_reset_run WHERE kind <> 'verify' AND started_at <= '$clock' ORDER BY started_at DESC LIMIT 1");
	my %is = (life => q('{) . join(',', sort(keys %LIFE_CASE, keys %LIFE_FORGERY), 'life_clean') . q(}'),
		amounts => q('{) . join(',', (20) x (1 + keys(%LIFE_CASE) + keys %LIFE_FORGERY)) . q(}'),
		run => "'" . ($run ? $run->[0] : '') . "'");
	$statement =~ s/\(:(\w+)\)/$is{$1}/g;
	$statement = "SELECT count($1) FROM life" if $statement =~ /\AEACH\((.*)\)\z/;
	return at($clock, $statement);
}
life(@$_) for @LIFE_STORY;
is(at('2026-07-06 11:00:00+00', q(SELECT DISTINCT try(format('SELECT credits_deduct(%L, 1)', u)) FROM life)),
	'UC004', 'a closed account spends nothing');
life(@$_) for @PERIOD_STORY;
at('2026-02-01 09:00:00+00', q(
SELECT credits_add_purchased('only_purchases', 9007199254740000, 'big');
SELECT credits_add_purchased('only_purchases', 991, 'small');
SELECT credits_deduct('only_purchases', 9007199254740990);
SELECT credits_open_account('no_plan', NULL, NULL, 'Pacific/Apia');
SELECT credits_open_account('only_purchases', 'pro', '2026-01-31 00:00', 'America/Santiago');
));

# What can be erased from a history must not stay elsewhere.
is(sql('postgres', q(SELECT count(*) FROM credit_audit_log l WHERE l::text ~ 'suspicious|false alarm|ran ahead')),
	'0', 'the audit log repeats no reasons');

# kind => the seqs of its rows, and the last of all.
sub seqs_of
{
	my ($user) = @_;
	my %seqs;
	for (rows($node, 'postgres', "SELECT kind, seq FROM credit_history WHERE user_id = '$user' ORDER BY seq"))
	{
		push @{ $seqs{ $_->[0] } }, $_->[1];
		$seqs{last} = $_->[1];
	}
	return %seqs;
}
my %seq = seqs_of('clean_1');
my %life_seq = seqs_of('life_clean');
ok($life_seq{$_}, "there are rows of kind $_") for @LIFE_KINDS, @PERIOD_KINDS;
is(sql('postgres', 'SELECT count(DISTINCT kinds) FROM (SELECT array_agg(kind ORDER BY seq) AS kinds FROM credit_history JOIN life ON u = user_id GROUP BY user_id) s'),
	'1', 'all that came from another system have the same history');
is(sql('postgres', q(SELECT count(*) FROM credit_history WHERE user_id = 'life_clean' AND kind = 'reset' AND skipped > 0)),
	'1', 'one row of theirs stands for several boundaries');
%case = (%case, %LIFE_CASE);
%forgery = (%forgery, %LIFE_FORGERY);
for my $kind (qw(open deduct purchase adjust set_plan schedule_plan plan_change reset freeze unfreeze clock_repair),
	@OPEN_KINDS)
{
	ok($seq{$kind}, "there are rows of kind $kind");
}
is(sql('postgres',
	q(SELECT count(DISTINCT n) FROM (SELECT count(*) AS n FROM credit_history JOIN users ON u = user_id GROUP BY user_id) s)),
	'1', 'all users have the same history');
my $summary = is_all_clean('postgres', 'untouched');
note($summary);
is((split / /, $summary)[0], sql('postgres', 'SELECT count(*) FROM credit_account'), 'the verifier saw every account');
like($summary, qr/ @{[ sql('postgres', 'SELECT count(*) FROM credit_history') ]} history rows/,
	'the verifier saw every row');

# What :{kind N} and :last stand for.
sub expand
{
	my ($text, $user) = @_;
	my $seqs = $user =~ /\Alife_/ ? \%life_seq : \%seq;
	$text =~ s/:\{(\w+) (\d+)\}/$seqs->{$1}[$2 - 1] \/\/ die "no $1 $2"/ge;
	$text =~ s/:last\b/$seqs->{last}/g;
	my $quoted_user = $quoted->($user);
	$text =~ s/:u\b/$quoted_user/g;
	return $text;
}

sub number { my ($n, $more) = split / \+ /, $_[0]; return $n + ($more // 0) }

sub disarmed
{
	my ($sql) = @_;
	return join ";\n", (map { "ALTER TABLE $_ DISABLE TRIGGER credits_guard" } @tables), $sql,
	  map { "ALTER TABLE $_ ENABLE ALWAYS TRIGGER credits_guard" } @tables;
}

# Runs SQL on a copy with the guards off for the time being, and gives what each
# of the two makes of it, by user: { user => [seq, ...] }.
sub found
{
	my ($db, $sql) = @_;
	copy_of($db);
	sql($db, disarmed($sql));
	my (%product, %verifier, @product, @verifier);
	for (rows($node, $db, 'SELECT object, bad_user_id, bad_seq, problem FROM credits_verify()'))
	{
		push @product, join '|', @$_;
		push @{ $product{ $_->[1] } }, $_->[2];
	}

	# A payment, grant or hold without its history row has a row of its own, besides
	# its user's.
	for my $user (keys %product)
	{
		my @own = grep { /^(?!credit_payment)[^|]*\|\Q$user\E\|/ && !/no history row opened it/ } @product;
		$product{$user} = [ map { (split /\|/)[2] } @own ] if @own;
	}
	my ($status, @lines) = independent($db);
	is($status, 1, "$db: exit status of the verifier");
	for (@lines)
	{
		push @verifier, $_;
		push @{ $verifier{$1} }, $2 if /^BAD user "([^"]+)" seq (\d+): /;
	}
	return (\%product, \%verifier, \@product, \@verifier);
}

# Each user is named, at the right row, by both; and nobody else.
sub are_found
{
	my ($db, $sql, $expected) = @_;
	my ($product, $verifier, $product_lines, $verifier_lines) = found($db, $sql);
	for my $who ([ 'credits_verify()', $product, $product_lines ], [ 'verifier', $verifier, $verifier_lines ])
	{
		my ($name, $found, $lines) = @$who;
		for my $user (sort keys %$expected)
		{
			my ($at, $or) = @{ $expected->{$user} };
			my $seqs = delete $found->{$user} // [];
			my $fits = grep { !defined $or ? $_ eq $at : $or eq 'any' || $_ eq $at || $_ eq $at + $or } @$seqs;
			ok($fits == 1 && @$seqs == 1, "$name: $user") or diag(
				"expected seq $at" . (defined $or ? " or $or from it" : '') . ', got '
				  . (@$seqs ? join(', ', @$seqs) : 'nothing') . "\n"
				  . join("\n", grep { /\b\Q$user\E\b/ } @$lines));
		}
		is(join(', ', sort keys %$found), '', "$name: nobody else");
	}
	return ($product_lines, $verifier_lines);
}

#
# Tampering, each case on its own user, all in one copy
#

are_found('tampered',
	join(";\n", map { expand($case{$_}[0], $_) } sort keys %case),
	{
		(map { ($_ => [ number(expand($case{$_}[1], $_)), $case{$_}[2] ]) } keys %case),
		'to_another_user2' => [ $seq{deduct}[1], 'any' ],
	});

# Forgeries with the hashes of all later rows made anew.
{
	my @columns = sort keys %{ $CreditsFormat::TYPE_OF{credit_history} };
	my $no_zero = qr/\A(?:held_\w+|owed_\w+|expired|forfeited)\z/;    # the table has NULL there
	my @statements = map { "ALTER TABLE $_ DROP CONSTRAINT ${_}_" . (/account/ ? 'amounts' : 'row') }
	  qw(credit_account credit_history);
	push @statements, 'ALTER TABLE credit_history DROP CONSTRAINT credit_history_facts';
	for my $user (sort keys %forgery)
	{
		my ($at, $raw) = @{ $forgery{$user} };
		my $from = expand($at, $user);
		my $changes = { map { ($_ => expand($raw->{$_}, $user)) } keys %$raw };
		my $text = sql('postgres', "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET bytea_output = 'hex';"
			  . "COPY (SELECT " . join(', ', map { /$no_zero/ ? "coalesce($_, 0)" : $_ } @columns)
			  . " FROM credit_history WHERE user_id = '$user' ORDER BY seq) TO STDOUT");
		my $hash = CreditsFormat::first_hash($user);
		my %balance = (monthly => 0, granted => 0, purchased => 0);
		my $row;
		for (split /\n/, $text)
		{
			my %text;
			@text{@columns} = split /\t/, $_, -1;
			%text = (%text, %$changes) if $text{seq} == $from;
			$text{$_} = $balance{$_} += $text{"${_}_delta"} for keys %balance;
			$row = CreditsFormat::decode_row('credit_history', \@columns, [ @text{@columns} ]);
			$hash = CreditsFormat::history_hash($hash, $row);
			if ($text{seq} < $from)
			{
				die "$user seq $text{seq}: not its hash" if $hash ne $row->{hash};
				next;
			}
			my %set = ((map { ($_ => $text{$_}) } keys %balance), hash => '\x' . unpack('H*', $hash),
				$text{seq} == $from ? %$changes : ());
			push @statements, 'UPDATE credit_history SET ' . join(', ', map { "$_ = " . ($set{$_} eq '\N' || /$no_zero/ && !$set{$_} ? 'NULL' : "'$set{$_}'") } sort keys %set)
			  . " WHERE user_id = '$user' AND seq = $text{seq}";
		}
		my %facts = map { ($_ => $changes->{$_}) } grep { /^(?:held|owed)_/ } keys %$changes;
		push @statements, 'UPDATE credit_account SET '
		  . join(', ', (map { "$_ = $row->{$_}" } sort keys %balance), sprintf q(history_hash = '\x%s'),
			unpack 'H*', $hash)
		  . " WHERE user_id = '$user'";
	}
	my @lines = are_found('forged', join(";\n", @statements),
		{ map { ($_ => [ expand($forgery{$_}[0], $_) ]) } keys %forgery });
	is(join("\n", grep { /\bhash\b/ } map { @$_ } @lines), '', 'no hash gave a forgery away');
}

# Guards off and on again, and nothing done.
copy_of('rearmed');
sql('rearmed', disarmed('SELECT 1'));
is_all_clean('rearmed', 'guards disabled and enabled again');

#
# What belongs to no user
#

# name => [what somebody does, what credits_verify() says, what the verifier says].
my %object = (
	(map {
		my ($n, $set) = @$_;
		("plan $set" => [ "UPDATE credit_plan SET $set WHERE plan = 'spare_$n'", qr/^credit_plan\|.*spare_$n\b/,
			qr/^BAD credit_plan "spare_$n" version 1:/ ])
	} [ 1, 'monthly_credits = 6' ], [ 2, 'rollover_limit = 6' ], [ 3, "cycle = 'anniversary'" ],
		[ 4, "effective_from = effective_from - interval '1 day'" ]),
	'plan deleted' => [ q(DELETE FROM credit_plan WHERE plan = 'spare_5'), qr/^credit_plan\|.*spare_5\b/,
		qr/^BAD credit_plan "spare_5" version 1:/ ],
	'plan forged' => [ q(INSERT INTO credit_plan SELECT (jsonb_populate_record(p, '{"plan": "forged"}')).* FROM credit_plan p WHERE plan = 'max'),
		qr/^credit_plan\|.*forged/, qr/^BAD credit_plan "forged" version 1:/ ],
	'payment of nobody' => [ q(INSERT INTO credit_payment SELECT (jsonb_populate_record(p, '{"user_id": "nobody_1", "payment_ref": "pay_x"}')).* FROM credit_payment p WHERE user_id = 'clean_1'),
		qr/\|nobody_1\|/, qr/^BAD user "nobody_1" seq 3:/ ],
	'history of nobody' => [ q(INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"user_id": "nobody_2"}')).* FROM credit_history h WHERE user_id = 'no_plan'),
		qr/\|nobody_2\|/, qr/^BAD user "nobody_2" seq 1:/ ],
	'account of nobody' => [ q(INSERT INTO credit_account SELECT (jsonb_populate_record(a, '{"user_id": "nobody_3"}')).* FROM credit_account a WHERE user_id = 'clean_1'),
		qr/\|nobody_3\|/, qr/^BAD user "nobody_3" seq 1:/ ],
);
{
	my (undef, undef, $product, $verifier) = found('objects', join ";\n", map { $object{$_}[0] } sort keys %object);
	for my $name (sort keys %object)
	{
		my (undef, $product_says, $verifier_says) = @{ $object{$name} };
		my @other = grep { !/$product_says/ } @$product;
		cmp_ok(scalar(@other), '<', scalar(@$product), "credits_verify(): $name") or diag(join "\n", @$product);
		$product = \@other;
		is(scalar(grep { /$verifier_says/ } @$verifier), 1, "verifier: $name") or diag(join "\n", @$verifier);
	}
	cmp_ok(scalar(@$product), '<=', scalar(keys %object), 'credits_verify(): nothing else') or diag(join "\n",
		@$product);
	is(scalar(@$verifier), 1 + keys %object, 'verifier: nothing else') or diag(join "\n", @$verifier);
}

# The plan of many: each of its users shows it, or the plan does.
{
	my ($product, undef, undef, $verifier) = found('plan_in_use',
		q(UPDATE credit_plan SET monthly_credits = monthly_credits + 1 WHERE plan = 'free'));
	ok(scalar(keys %$product), 'credits_verify(): a plan in use');
	is(scalar(grep { /^BAD credit_plan "free" version 1:/ } @$verifier), 1, 'verifier: a plan in use');
}

# The audit log, in transactions that are rolled back.
my %audit = (
	(map { ($_ => "UPDATE credit_audit_log SET $_ WHERE seq = 3") } q(action = 'unfreeze'), q(subject = 'x'),
		q(actor = 'x'), q(client_addr = '10.0.0.1'), q(application = 'x'), q(after = '{}'), q(before = '{}'),
		q(hash = sha256(hash)), q(created_at = created_at + interval '1 microsecond')),
	'delete'       => 'DELETE FROM credit_audit_log WHERE seq = 3',
	'delete first' => 'DELETE FROM credit_audit_log WHERE seq = 1',
	'swap'         => 'UPDATE credit_audit_log SET seq = seq + 1000 WHERE seq IN (3, 4); UPDATE credit_audit_log SET seq = 1007 - seq WHERE seq > 1000',
	'insert'       => q(INSERT INTO credit_audit_log SELECT max(seq) + 1, now(), 'freeze', 'x', 'x', sha256('x') FROM credit_audit_log),
);
for my $name (sort keys %audit)
{
	my @found = rows($node, 'postgres',
		'BEGIN; ' . disarmed($audit{$name}) . '; SELECT object, bad_seq, problem FROM credits_verify(); ROLLBACK');

	# The plan that a changed row no longer defines may be named too.
	my @plan = grep { $_->[0] eq 'credit_plan' } @found;
	@found = grep { $_->[0] ne 'credit_plan' } @found;
	cmp_ok(scalar(@plan), '<=', 2, "credits_verify(): at most the plan besides, $name");
	is(scalar(@found), 1, "credits_verify(): audit log, $name") or diag(join "\n", map { join '|', @$_ } @found);
	my $seq = $name eq 'delete first' ? qr/[12]/ : $name eq 'delete' ? qr/[34]/ : $name eq 'insert' ? qr/\d+/ : qr/3/;
	like(join('|', @{ $found[0] // [] }), qr/^credit_audit_log\|$seq\|/,
		"credits_verify(): the row of the audit log, $name");
}
for ([ 'audit_edited', $audit{q(actor = 'x')}, 3 ], [ 'audit_deleted',
	'DELETE FROM credit_audit_log WHERE seq = 20', 20 ])
{
	my ($name, $sql, $seq) = @$_;
	my (undef, undef, undef, $verifier) = found($name, $sql);
	like($verifier->[0], qr/^BAD credit_audit_log seq $seq:/, "verifier: $name");
}

#
# Guards
#

copy_of('guarded');
sql('guarded', q(CREATE ROLE keeper; GRANT USAGE, CREATE ON SCHEMA "Ledger x" TO keeper;) . join ';',
	map { "ALTER TABLE $_ OWNER TO keeper" } @tables);

sub refused
{
	my ($db, $prefix, $test) = @_;
	my @statements = map {
		("DELETE FROM $_", "DELETE FROM $_ WHERE false", "TRUNCATE $_", "TRUNCATE $_ CASCADE")
	} @tables;
	my %column = (credit_plan => 'cycle', credit_account => 'monthly', credit_history => 'reason',
		credit_payment => 'amount', credit_grant => 'amount', credit_hold => 'amount',
		credit_reset_run => 'state', credit_audit_log => 'actor', credit_role => 'preset',
		credit_anchor => 'root', credit_anchor_leaf => 'hash');
	push @statements, map { my $c = $column{$_}; ("UPDATE $_ SET $c = $c",
		"UPDATE ONLY $_ SET $c = $c WHERE false") } @tables;
	push @statements, 'TRUNCATE ' . join(', ', @tables),
	  q(WITH d AS (DELETE FROM credit_history RETURNING 1) SELECT count(*) FROM d),
	  q(INSERT INTO credit_role VALUES (now(), 1, 1, false, 'x', 'app') ON CONFLICT (system_identifier, role_oid, preset) DO UPDATE SET preset = 'admin'),
	  q(INSERT INTO credit_account SELECT * FROM credit_account ON CONFLICT (user_id) DO UPDATE SET monthly = 9);
	push @statements,
		q(MERGE INTO credit_account a USING users ON a.user_id = u WHEN MATCHED THEN UPDATE SET monthly = 9)
	  if $node->pg_version >= 15;
	my $n = 0;
	my @results = rows($node, $db, "$prefix; SELECT s, try(s) FROM unnest(ARRAY[" . join(', ',
		map { $quoted->($_) } @statements) . ']) s');
	is(scalar(@results), scalar(@statements), "$test: all statements tried");
	is_deeply([ map { join ' => ', @$_ } grep { $_->[1] ne 'UC007' } @results ], [], "$test: UC007");
	return;
}
sql('guarded', 'GRANT SELECT ON users TO keeper');
refused('postgres', "SET timezone = 'UTC'", 'superuser');
refused('postgres', 'SET session_replication_role = replica', 'superuser as a replica');
refused('postgres', 'SET session_replication_role = local', 'superuser as local');
refused('guarded', 'SET ROLE keeper', 'owner');
is_clean($node, 'postgres', 'nothing came through');

# Ways round: through a view, and by a foreign key's own deletes and updates.
sql('guarded', q(
CREATE VIEW peephole AS SELECT * FROM credit_account;
CREATE TABLE referenced (u text COLLATE "C" PRIMARY KEY);
INSERT INTO referenced SELECT user_id FROM credit_account;
ALTER TABLE credit_history ADD CONSTRAINT a FOREIGN KEY (user_id) REFERENCES referenced ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE credit_payment ADD CONSTRAINT a FOREIGN KEY (user_id) REFERENCES referenced ON DELETE CASCADE;
));
is_outcome($node, 'guarded', $_, 'UC007', $_)
  for 'UPDATE peephole SET monthly = 9', 'DELETE FROM peephole', 'DELETE FROM referenced',
	q(UPDATE referenced SET u = u || 'x');

my ($out, $err) = is_outcome($node, 'postgres', 'DELETE FROM credit_history', 'UC007', 'DELETE is refused');
like($err, qr/HINT:/, 'with a hint');

# Guards that are off, or not what they were, are reported and mended.
my %weakened = (
	(map { my $table = $_; map { ("$_ on $table" => [ $table, "ALTER TABLE $table $_ TRIGGER credits_guard" ]) }
		  'DISABLE', 'ENABLE', 'ENABLE REPLICA' } @tables),
	'all triggers disabled' => [ 'credit_history', 'ALTER TABLE credit_history DISABLE TRIGGER ALL' ],
	'dropped' => [ 'credit_history', 'DROP TRIGGER credits_guard ON credit_history' ],
	'renamed' => [ 'credit_history',
		'ALTER TRIGGER credits_guard ON credit_history RENAME TO other; ALTER TABLE credit_history DISABLE TRIGGER other' ],
	'another function' => [ 'credit_account', q(
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
DROP TRIGGER credits_guard ON credit_account;
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_account FOR EACH STATEMENT EXECUTE FUNCTION public.nothing();
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard) ],
	'less events' => [ 'credit_account', q(
DROP TRIGGER credits_guard ON credit_account;
CREATE TRIGGER credits_guard BEFORE DELETE OR TRUNCATE ON credit_account FOR EACH STATEMENT EXECUTE FUNCTION credits_guard();
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard) ],
	'some columns' => [ 'credit_account', q(
DROP TRIGGER credits_guard ON credit_account;
CREATE TRIGGER credits_guard BEFORE UPDATE OF granted OR DELETE OR TRUNCATE ON credit_account FOR EACH STATEMENT EXECUTE FUNCTION credits_guard();
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard) ],
	'a condition' => [ 'credit_account', q(
DROP TRIGGER credits_guard ON credit_account;
CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_account FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION credits_guard();
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard) ],
	'after instead of before' => [ 'credit_account', q(
DROP TRIGGER credits_guard ON credit_account;
CREATE TRIGGER credits_guard AFTER UPDATE OR DELETE OR TRUNCATE ON credit_account FOR EACH STATEMENT EXECUTE FUNCTION credits_guard();
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard) ],
);
my $weak = copy_of('weakened');
for my $name (sort keys %weakened)
{
	my ($table, $sql) = @{ $weakened{$name} };
	sql($weak, $sql);
	my @rows = rows($node, $weak, 'SELECT object, bad_user_id, bad_seq, problem FROM credits_verify()');
	is(scalar(@rows), 1, "$name: credits_verify() gives one row") or diag(join "\n", map { join '|', @$_ } @rows);
	like(join('|', map { @$_ } @rows), qr/\Q$table\E/, "$name: it names the table");
	sql($weak, 'SELECT credits_repair_guards()');
	is_clean($node, $weak, "$name: mended");
}
is(sql($weak, q(SELECT count(*) FROM credit_audit_log WHERE action = 'repair_guards')),
	scalar(keys %weakened), 'each repair is in the audit log');
is(sql($weak,
	'SELECT credits_repair_guards(); SELECT count(*) FROM pg_trigger WHERE tgname = ' . q('credits_guard' AND tgenabled = 'A')) =~ s/.*\n//sr,
	@tables + 3, 'every table has its guard: those, the archive, its checkpoints and the events');
refused($weak, 'SET session_replication_role = replica', 'mended guards');

# The guards of a table do not fire for its parent.
my $family = copy_of('family');
for my $table (qw(credit_history credit_account credit_payment))
{
	sql($family, "CREATE TABLE parent (LIKE $table); ALTER TABLE $table INHERIT parent");
	like(join('|', map { @$_ } rows($node, $family, 'SELECT * FROM credits_verify()')), qr/\Q$table\E/,
		"$table as a child is reported");
	sql($family, "ALTER TABLE $table NO INHERIT parent; DROP TABLE parent");
	is_clean($node, $family, "$table is no child any more");
	sql($family, "CREATE TABLE parent (LIKE $table) PARTITION BY HASH (user_id);"
		  . "ALTER TABLE parent ATTACH PARTITION $table FOR VALUES WITH (MODULUS 1, REMAINDER 0)");
	like(join('|', map { @$_ } rows($node, $family, 'SELECT * FROM credits_verify()')), qr/\Q$table\E/,
		"$table as a partition is reported");
	sql($family, "ALTER TABLE parent DETACH PARTITION $table; DROP TABLE parent");
	is_clean($node, $family, "$table is no partition any more");

	# And the rows of a child show in the table.
	sql($family, "CREATE TABLE child () INHERITS ($table)");
	like(join('|', map { @$_ } rows($node, $family, 'SELECT * FROM credits_verify()')), qr/\Q$table\E/,
		"a child of $table is reported");
	sql($family, 'DROP TABLE child');
	is_clean($node, $family, "$table has no child any more");
}

# After all this the ledger still works, and the chain goes on.
everybody('2026-09-05 09:00:00+00', q(credits_deduct(u, 1)));
is_all_clean('postgres', 'at the end');

$node->stop;
done_testing();

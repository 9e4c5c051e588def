# The contract of calls: which fields a receipt has, what a replay returns, what a refusal
# leaves behind, and what an error says.  This test was written from the contract and the
# reference, not from the code.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Contract;
use CreditsTest;
use Test::More;

my $max = 9007199254740991;
my ($node, $s) = contract_server('contract', clock => '2026-01-15 12:00:00+00');

$s->do($_) for (
	q(SELECT credits_define_plan('free', 100)),
	q(SELECT credits_define_plan('pro', 1000)),
	q(SELECT credits_define_plan('later', 10, effective_from => '2026-06-01')));

# ---------------------------------------------------------------------------
# Section 3: receipts.

my @always = qw(
  ok user_id seq kind amount monthly_delta granted_delta purchased_delta monthly granted purchased
  available held owed next_reset_at created_at replayed);
my @numbers = qw(
  seq amount monthly_delta granted_delta purchased_delta monthly granted purchased available held owed);

# A story of one account: [kind, call, what the receipt says besides].  SEQ(kind) is the
# seq of that kind's last receipt.
my @story = (
	[ open => q(credits_open_account('ann', 'pro', NULL, 'Europe/Berlin')), { amount => 1000, monthly_delta => 1000, next_reset_at => '2026-01-31T23:00:00Z' } ],
	[ purchase => q(credits_add_purchased('ann', 500, 'pay_1')), { amount => 500, purchased_delta => 500, payment_ref => 'pay_1' } ],
	[ grant => q(credits_grant('ann', 50, '2026-03-01 00:00:00+00')), { amount => 50, granted_delta => 50, ends_at => '2026-03-01T00:00:00Z' } ],
	[ deduct => q(credits_deduct('ann', 10, 'why', 'key_1', '{"a": 1}', 'tim')), { amount => 10, monthly_delta => -10, monthly => 990, spender => 'tim' } ],
	[ deduct => q(credits_try_deduct('ann', 1010)), { amount => 1010, monthly_delta => -990, granted_delta => -20 } ],
	[ deduct => q(credits_deduct_many('{ann}', '{40}')), { amount => 40, granted_delta => -30, purchased_delta => -10 } ],
	[ refund => q(credits_refund('ann', SEQ(deduct), 5)), { amount => 5, purchased_delta => 5, ref_seq => 'SEQ(deduct)' } ],
	[ adjust => q(credits_adjust('ann', 'monthly', 100, 'sorry')), { amount => 100, monthly_delta => 100 } ],
	[ adjust => q(credits_adjust('ann', 'purchased', -5, 'wrong')), { amount => -5, purchased_delta => -5 } ],
	[ hold => q(credits_hold('ann', 120)), { amount => 120, monthly_delta => -100, purchased_delta => -20, held => 120, ends_at => '2026-01-15T12:15:00Z' } ],
	[ capture => q(credits_capture('ann', SEQ(hold), 30)), { amount => 30, held => 0, monthly_delta => 70, purchased_delta => 20, ref_seq => 'SEQ(hold)' } ],
	[ hold => q(credits_hold('ann', 10, '1 hour')), { amount => 10, held => 10, ends_at => '2026-01-15T13:00:00Z' } ],
	[ release => q(credits_release('ann', SEQ(hold))), { held => 0, monthly_delta => 10, ref_seq => 'SEQ(hold)' } ],
	[ revoke => q(credits_revoke_purchase('pay_1', 495)), { user_id => 'ann', amount => 495, purchased => 0, owed => 5, payment_ref => 'pay_1', ref_seq => 'SEQ(purchase)' } ],
	[ purchase => q(credits_add_purchased('ann', 105, 'pay_2')), { amount => 105, purchased => 100, owed => 0 } ],
	[ set_overdraft => q(credits_set_overdraft('ann', 50)), { amount => 0, overdraft_limit => 50 } ],
	[ set_low_threshold => q(credits_set_low_threshold('ann', 5)), { amount => 0 } ],
	[ set_plan => q(credits_set_plan('ann', 'free')), { plan => 'free' } ],
	[ schedule_plan => q(credits_set_plan('ann', 'pro', 'next_reset')), { amount => 0, scheduled_plan => 'pro' } ],
	[ set_cycle => q(credits_set_cycle('ann', '2026-01-10 00:00:00')), { amount => 0 } ],
	[ freeze => q(credits_freeze('ann')), { amount => 0, status => 'frozen' } ],
	[ unfreeze => q(credits_unfreeze('ann')), { amount => 0, status => 'active' } ],
	[ open => q(credits_open_account('bob', 'free')), { amount => 100 } ],
	[ transfer_out => q(credits_transfer('ann', 'bob', 60)), { user_id => 'ann', amount => 60, purchased_delta => -60, spender => 'bob' } ],
	[ close => q(credits_close_account('ann')), { status => 'closed', available => 0, forfeited => 40 } ]);

my %seq_of;
for (@story)
{
	my ($kind, $call, $expected) = @$_;

	$call =~ s/SEQ\((\w+)\)/$seq_of{$1}/g;
	my $rows = $s->do('SELECT count(*) FROM credit_history');
	my $receipt = is_call($s, $call, '00000');
	next unless $receipt->{kind};
	$seq_of{$kind} = $receipt->{seq};

	subtest "receipt of $call" => sub {
		ok(exists $receipt->{$_}, "has $_") for @always;
		like(canonical($receipt->{$_} // 'nothing'), qr/^-?\d+$/, "$_ is a number") for @numbers;
		is(canonical($receipt->{ok}), 'true', 'ok');
		is(canonical($receipt->{replayed}), 'false', 'replayed');
		is($receipt->{kind}, $kind, 'kind');
		is($receipt->{created_at}, '2026-01-15T12:00:00Z', 'created_at is UTC');
		is($receipt->{available}, $receipt->{monthly} + $receipt->{granted} + $receipt->{purchased}, 'available is the sum');
		for my $field (sort keys %$expected)
		{
			my $value = $expected->{$field} =~ s/SEQ\((\w+)\)/$seq_of{$1}/r;

			is($receipt->{$field}, $value, $field);
		}

		# The receipt is the row, and the row is the newest.
		my $user = $receipt->{user_id};
		is($s->do("SELECT max(seq) FROM credit_history WHERE user_id = '$user'"), $receipt->{seq}, 'seq is the newest row');
		my $row = json($s->do(
			"SELECT to_jsonb(h) FROM credit_history h WHERE user_id = '$user' AND seq = $receipt->{seq}"));
		is($row->{$_}, $receipt->{$_}, "the row's $_")
		  for qw(kind amount monthly_delta granted_delta purchased_delta monthly granted purchased);
		my $balance = json($s->do("SELECT credits_balance('$user')"));
		is($balance->{$_}, $receipt->{$_}, "the balance's $_")
		  for qw(monthly granted purchased available held owed next_reset_at seq);
		is($s->do('SELECT count(*) FROM credit_history') - $rows, $kind eq 'transfer_out' ? 2 : 1, 'one row for each account');
	};
}

# A repair of the clock.
$s->do(q(SELECT credits_open_account('late', 'free')));
at($s, '2026-01-15 11:00:00+00');
my $repaired = is_call($s, q(credits_repair_clock('late')), '00000');
is($repaired->{kind}, 'clock_repair', '... its kind');
ok(exists $repaired->{$_}, "... has $_") for @always;
at($s, '2026-01-15 12:00:00+00');

# Events that are due come before the call's own row, each a row of its own.
$s->do(q(SELECT credits_open_account('due', 'free')));
$s->do(q(SELECT credits_grant('due', 10, '2026-01-20')));
at($s, '2026-02-03 00:00:00+00');
my $receipt = is_call($s, q(credits_deduct('due', 1)), '00000');
is($s->do(q(SELECT string_agg(kind, ' ' ORDER BY seq) FROM credit_history WHERE user_id = 'due')),
	'open grant grant_end reset deduct', 'what is due is written first');
is($receipt->{seq}, 5, '... and the receipt names the row of the call');
at($s, '2026-01-15 12:00:00+00');

# A batch: one receipt per item, in item order.
$s->do(qq(SELECT credits_open_account('$_', 'free'))) for qw(b1 b2 b3);
my $batch = try_call($s, q(credits_deduct_many('{b3,b1,nobody,b3,b2}', '{1,2,3,500,4}')))->{answers};
is(join(' ', map { $_->{user_id} . ($_->{ok} ? '+' : "-$_->{error}") } @$batch),
	'b3+ b1+ nobody-account_not_found b3-insufficient_credits b2+', 'a batch answers in the order of its items');

# Section 3: every optional argument defaults to NULL.
is($s->do(q(
SELECT string_agg(p.oid::regprocedure || ': ' || default_, E'\n')
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
       JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits',
       regexp_matches(pg_get_function_arguments(p.oid), 'DEFAULT ([^,]+)', 'g') m, LATERAL (SELECT m[1]) x(default_)
 WHERE default_ !~ '^NULL::')), '', 'optional arguments default to NULL');

# ---------------------------------------------------------------------------
# Section 3: idempotency.

# [name, set-up calls, the keyed call, [variation, SQLSTATE]...].  00000 is a replay.  The
# account is USER, with 100 monthly, 100 granted and 1000 purchased credits; the key is 'key'.
my @keyed = (
	[ deduct => [], q(credits_deduct('USER', 5, 'why', 'key', '{"a": 1}', 'tim')),
		[ q(credits_deduct('USER', 5, 'why', 'key', '{"a": 1}', 'tim')), '00000' ],
		[ q(credits_deduct('USER', 5, 'other', 'key', '{"b": 1}', 'tom')), '00000' ],
		[ q(credits_deduct('USER', 5, NULL, 'key')), '00000' ],
		[ q(credits_try_deduct('USER', 5, NULL, 'key')), '00000' ],
		[ q(credits_deduct_many('{USER}', '{5}', NULL, '{key}')), '00000' ],
		[ q(credits_deduct('USER', 6, 'why', 'key', '{"a": 1}', 'tim')), 'UC003' ],
		[ q(credits_try_deduct('USER', 6, NULL, 'key')), 'UC003' ],
		[ q(credits_deduct('USER', 100000, NULL, 'key')), 'UC003' ],
		[ q(credits_try_deduct('USER', 100000, NULL, 'key')), 'UC003' ],
		[ q(credits_hold('USER', 5, NULL, NULL, 'key')), 'UC003' ],
		[ q(credits_adjust('USER', 'monthly', -5, 'why', 'key')), 'UC003' ],
		[ q(credits_add_purchased('USER', 5, 'pay_x', NULL, 'key')), 'UC003' ],
		[ q(credits_set_plan('USER', 'pro', NULL, NULL, 'key')), 'UC003' ] ],
	[ try_deduct => [], q(credits_try_deduct('USER', 5, NULL, 'key')),
		[ q(credits_deduct('USER', 5, NULL, 'key')), '00000' ],
		[ q(credits_try_deduct('USER', 4, NULL, 'key')), 'UC003' ] ],
	[ add_purchased => [], q(credits_add_purchased('USER', 7, 'ref_USER', 'why', 'key')),
		[ q(credits_add_purchased('USER', 7, 'ref_USER', NULL, 'key', '{}')), '00000' ],
		[ q(credits_add_purchased('USER', 7, 'ref_USER')), '00000' ],
		[ q(credits_add_purchased('USER', 8, 'ref_USER', 'why', 'key')), 'UC003' ],
		[ q(credits_add_purchased('USER', 7, 'ref_other', 'why', 'key')), 'UC003' ],
		[ q(credits_add_purchased('USER', 8, 'ref_USER')), 'UC003' ],
		[ q(credits_add_purchased('other', 7, 'ref_USER')), 'UC003' ],
		[ q(credits_grant('USER', 7, '2026-05-01', NULL, 'key')), 'UC003' ] ],
	[ adjust => [], q(credits_adjust('USER', 'purchased', -7, 'why', 'key')),
		[ q(credits_adjust('USER', 'purchased', -7, 'other', 'key', '{}')), '00000' ],
		[ q(credits_adjust('USER', 'purchased', 7, 'why', 'key')), 'UC003' ],
		[ q(credits_adjust('USER', 'monthly', -7, 'why', 'key')), 'UC003' ],
		[ q(credits_deduct('USER', 7, 'why', 'key')), 'UC003' ] ],
	[ grant => [], q(credits_grant('USER', 7, '2026-05-01 00:00:00+00', 'why', 'key')),
		[ q(credits_grant('USER', 7, '2026-05-01 02:00:00+02', NULL, 'key', '{}')), '00000' ],
		[ q(credits_grant('USER', 8, '2026-05-01 00:00:00+00', 'why', 'key')), 'UC003' ],
		[ q(credits_grant('USER', 7, '2026-05-02 00:00:00+00', 'why', 'key')), 'UC003' ] ],
	[ hold => [], q(credits_hold('USER', 7, '1 hour', 'why', 'key')),
		[ q(credits_hold('USER', 7, '60 minutes', NULL, 'key', '{}', 'tim')), '00000' ],
		[ q(credits_hold('USER', 8, '1 hour', 'why', 'key')), 'UC003' ],
		[ q(credits_hold('USER', 7, '2 hours', 'why', 'key')), 'UC003' ],
		[ q(credits_hold('USER', 7, NULL, 'why', 'key')), 'UC003' ] ],
	[ 'hold by default' => [], q(credits_hold('USER', 7, NULL, NULL, 'key')),
		[ q(credits_hold('USER', 7, '15 minutes', NULL, 'key')), '00000' ] ],
	[ capture => [ q(credits_hold('USER', 50)) ], q(credits_capture('USER', SEQ, 20, true, 'why', 'key')),
		[ q(credits_capture('USER', SEQ, 20, true, NULL, 'key', '{}')), '00000' ],
		[ q(credits_capture('USER', SEQ, 21, true, 'why', 'key')), 'UC003' ],
		[ q(credits_capture('USER', SEQ, 20, NULL, 'why', 'key')), 'UC003' ],
		[ q(credits_capture('USER', 1, 20, true, 'why', 'key')), 'UC003' ],
		[ q(credits_release('USER', SEQ, 'why', 'key')), 'UC003' ] ],
	[ 'capture in full' => [ q(credits_hold('USER', 50)) ], q(credits_capture('USER', SEQ, NULL, NULL, NULL, 'key')),
		[ q(credits_capture('USER', SEQ, NULL, NULL, NULL, 'key')), '00000' ],
		[ q(credits_capture('USER', SEQ, 50, NULL, NULL, 'key')), 'UC003' ] ],
	[ release => [ q(credits_hold('USER', 50)) ], q(credits_release('USER', SEQ, 'why', 'key')),
		[ q(credits_release('USER', SEQ, NULL, 'key', '{}')), '00000' ],
		[ q(credits_release('USER', 1, 'why', 'key')), 'UC003' ] ],
	[ refund => [ q(credits_deduct('USER', 50)) ], q(credits_refund('USER', SEQ, 20, 'why', 'key')),
		[ q(credits_refund('USER', SEQ, 20, NULL, 'key', '{}')), '00000' ],
		[ q(credits_refund('USER', SEQ, 21, 'why', 'key')), 'UC003' ],
		[ q(credits_refund('USER', SEQ, NULL, 'why', 'key')), 'UC003' ],
		[ q(credits_refund('USER', SEQ, 20000, 'why', 'key')), 'UC003' ],
		[ q(credits_refund('USER', 1, 20, 'why', 'key')), 'UC003' ] ],
	[ revoke_purchase => [], q(credits_revoke_purchase('pay_USER', 10, 'why', 'key')),
		[ q(credits_revoke_purchase('pay_USER', 10, NULL, 'key', '{}')), '00000' ],
		[ q(credits_revoke_purchase('pay_USER', 11, 'why', 'key')), 'UC003' ],
		[ q(credits_revoke_purchase('pay_USER', total => 10, idempotency_key => 'key')), 'UC003' ],
		[ q(credits_revoke_purchase('pay_USER', NULL, 'why', 'key')), 'UC003' ] ],
	[ reinstate_purchase => [q(credits_revoke_purchase('pay_USER', 50))], q(credits_reinstate_purchase('pay_USER', 10, 'why', 'key')),
		[ q(credits_reinstate_purchase('pay_USER', 10, NULL, 'key', '{}')), '00000' ],
		[ q(credits_reinstate_purchase('pay_USER', 11, 'why', 'key')), 'UC003' ],
		[ q(credits_reinstate_purchase('pay_USER', NULL, 'why', 'key')), 'UC003' ] ],
	[ set_overdraft => [], q(credits_set_overdraft('USER', 10, 'why', 'key')),
		[ q(credits_set_overdraft('USER', 10, NULL, 'key', '{}')), '00000' ],
		[ q(credits_set_overdraft('USER', 11, 'why', 'key')), 'UC003' ] ],
	[ set_low_threshold => [], q(credits_set_low_threshold('USER', 10, 'why', 'key')),
		[ q(credits_set_low_threshold('USER', 10, NULL, 'key', '{}')), '00000' ],
		[ q(credits_set_low_threshold('USER', NULL, 'why', 'key')), 'UC003' ] ],
	[ set_plan => [], q(credits_set_plan('USER', 'pro', 'next_reset', 'why', 'key')),
		[ q(credits_set_plan('USER', 'pro', 'next_reset', NULL, 'key', '{}')), '00000' ],
		[ q(credits_set_plan('USER', 'pro', 'now', 'why', 'key')), 'UC003' ],
		[ q(credits_set_plan('USER', 'free', 'next_reset', 'why', 'key')), 'UC003' ],
		[ q(credits_set_plan('USER', NULL, 'next_reset', 'why', 'key')), 'UC003' ] ],
	[ restart => [], q(credits_set_plan('USER', 'pro', 'now', 'why', 'key', restart => true)),
		[ q(credits_set_plan('USER', 'pro', NULL, NULL, 'key', '{}', true, false)), '00000' ],
		[ q(credits_set_plan('USER', 'pro', 'now', 'why', 'key')), 'UC003' ],
		[ q(credits_set_plan('USER', 'pro', 'now', 'why', 'key', restart => true, keep_anchor => true)), 'UC003' ] ],
	[ set_cycle => [], q(credits_set_cycle('USER', '2026-01-10 00:00:00', 'Asia/Tokyo', 'why', 'key')),
		[ q(credits_set_cycle('USER', '2026-01-10 00:00:00', 'Asia/Tokyo', NULL, 'key', '{}')), '00000' ],
		[ q(credits_set_cycle('USER', '2026-01-11 00:00:00', 'Asia/Tokyo', 'why', 'key')), 'UC003' ],
		[ q(credits_set_cycle('USER', '2026-01-10 00:00:00', 'UTC', 'why', 'key')), 'UC003' ],
		[ q(credits_set_cycle('USER', NULL, 'Asia/Tokyo', 'why', 'key')), 'UC003' ] ],
	[ transfer => [ q(credits_add_purchased('to_USER', 1, 'pay_to_USER')) ],
		q(credits_transfer('USER', 'to_USER', 10, 'why', 'key')),
		[ q(credits_transfer('USER', 'to_USER', 10, NULL, 'key', '{}')), '00000' ],
		[ q(credits_transfer('USER', 'to_USER', 11, 'why', 'key')), 'UC003' ],
		[ q(credits_transfer('USER', 'bob', 10, 'why', 'key')), 'UC003' ],
		[ q(credits_transfer('USER', 'to_USER', NULL, 'why', 'key')), 'UC003' ] ]);

sub without_replayed { my %copy = %{ $_[0] }; delete $copy{replayed}; return canonical(\%copy); }

my $user_no = 0;
for (@keyed)
{
	my ($name, $setup, $call, @variations) = @$_;
	my $user = 'keyed_' . ++$user_no;
	my $fill = sub { return $_[0] =~ s/USER/$user/gr; };

	$s->do("SELECT credits_open_account('$user', 'free')");
	$s->do("SELECT credits_grant('$user', 100, '2026-04-01')");
	$s->do("SELECT credits_add_purchased('$user', 1000, 'pay_$user')");
	my $seq = 0;
	$seq = json($s->do('SELECT ' . $fill->($_)))->{seq} for @$setup;

	subtest "idempotency of $name" => sub {
		my $first = is_call($s, $fill->($call) =~ s/SEQ/$seq/r, '00000', 'the first call');
		return unless $first->{ok};
		is(canonical($first->{replayed}), 'false', '... is no replay');

		my $check = sub {
			my ($when) = @_;
			my $before = contents($s);

			for my $variation (@variations)
			{
				my $what = $fill->($variation->[0]) =~ s/SEQ/$seq/r;
				my $answer;

				# In a batch, a conflict would be in the answer.
				$answer = is_call($s, $what, $variation->[1], "$when: $what: $variation->[1]");
				if ($variation->[1] eq '00000' && ($answer->{ok} // 0))
				{
					is(canonical($answer->{replayed}), 'true', '... is a replay');
					is(without_replayed($answer), without_replayed($first), '... with the first receipt');
				}
			}
			is(contents($s), $before, "$when: nothing was written");
		};
		$check->('at once');
		$s->do("SELECT credits_freeze('$user')");
		$check->('frozen');
		at($s, '2026-03-20 00:00:00+00');
		$check->('with resets due');
		at($s, '2026-04-20 00:00:00+00');
		$s->do("SELECT credits_unfreeze('$user')");
		$check->('after resets');
		$s->do("SELECT credits_erase_user('$user')");
		$check->('after its texts were erased');
		$s->do("SELECT credits_set_overdraft('$user', 0)");
		$s->do("SELECT credits_close_account('$user')") unless $s->do("SELECT credits_balance('$user')->'held'");
		$check->('closed');
		at($s, '2026-01-15 12:00:00+00');
	};
}

# Keys are per user.
$s->do(qq(SELECT credits_open_account('$_', 'free'))) for qw(key_1 key_2);
is_call($s, q(credits_deduct('key_1', 1, NULL, 'shared')), '00000');
my $other = is_call($s, q(credits_deduct('key_2', 2, NULL, 'shared')), '00000', "another user's key is another key");
is(canonical($other->{replayed}), 'false', '... and no replay');

# A key in one batch twice.
$batch = try_call($s, q(credits_deduct_many('{key_1,key_1,key_1}', '{3,3,4}', NULL, '{twice,twice,twice}')))->{answers};
is(join(' ', map { $_->{error} // ($_->{replayed} ? 'replayed' : 'new') } @$batch),
	'new replayed idempotency_conflict', 'a key that a batch has twice is a replay or a conflict');

# A key of a transaction that was rolled back is free.
$s->do('BEGIN');
$s->do(q(SELECT credits_deduct('key_1', 5, NULL, 'rolled')));
$s->do('ROLLBACK');
$receipt = is_call($s, q(credits_deduct('key_1', 6, NULL, 'rolled')), '00000', 'a key that was rolled back is free');
is(canonical($receipt->{replayed}), 'false', '... and the call no replay');

# A purchase is credited once for ever, over all users.
$s->do(q(SELECT credits_add_purchased('key_1', 5, 'once')));
is(canonical(is_call($s, q(credits_add_purchased('key_1', 5, 'once', NULL, 'new key')), '00000')->{replayed}),
	'true', 'a payment_ref is credited once, whatever the key');
is_error($s, q(credits_add_purchased('key_2', 5, 'once')), 'UC003', [ [ error => 'idempotency_conflict' ], [ payment_ref => 'once' ] ]);
is_error($s, q(credits_add_purchased('key_1', 6, 'once')), 'UC003', [ [ error => 'idempotency_conflict' ], [ payment_ref => 'once' ] ]);

# Opening: the same facts are a replay, whatever has changed since; others are UC003.
$s->do(q(SELECT credits_open_account('opened', 'free', '2026-01-10 00:00:00', 'Europe/Berlin')));
for my $change ('', q(credits_set_plan('opened', 'pro')), q(credits_set_cycle('opened', NULL, 'UTC')), q(credits_freeze('opened')))
{
	$s->do("SELECT $change") if $change;
	my $again = is_call($s, q(credits_open_account('opened', 'free', '2026-01-10 00:00:00', 'Europe/Berlin')),
		'00000', "opening again after ${\($change || 'nothing')}");
	is(canonical($again->{replayed} // 'no receipt'), 'true', '... is a replay');
	is($again->{seq}, 1, '... of the opening row');
}
is_error($s, $_, 'UC003', [ [ error => 'idempotency_conflict' ], [ user_id => 'opened' ] ])
  for (
	q(credits_open_account('opened', 'pro', '2026-01-10 00:00:00', 'Europe/Berlin')),
	q(credits_open_account('opened', 'free', '2026-01-11 00:00:00', 'Europe/Berlin')),
	q(credits_open_account('opened', 'free', '2026-01-10 00:00:00', 'UTC')));

# ---------------------------------------------------------------------------
# Section 3: a refused or failed call leaves no key, no event row, nothing.

# [set-up calls, the call that is refused, its SQLSTATE (ok: false is 'refusal'), what mends it, the
# other request that then has the key].
my @refused = (
	[ [], q(credits_deduct('USER', 5000, NULL, 'key')), 'UC001', [], q(credits_deduct('USER', 5, NULL, 'key')) ],
	[ [], q(credits_try_deduct('USER', 5000, NULL, 'key')), 'refusal', [], q(credits_deduct('USER', 5, NULL, 'key')) ],
	[ [], q(credits_deduct_many('{USER}', '{5000}', NULL, '{key}')), 'refusal', [], q(credits_deduct('USER', 5, NULL, 'key')) ],
	[ [], q(credits_deduct_many('{USER}', '{5000}', NULL, '{key}', NULL, true)), 'UC001', [], q(credits_deduct('USER', 5, NULL, 'key')) ],
	[ [], q(credits_hold('USER', 5000, NULL, NULL, 'key')), 'UC001', [], q(credits_hold('USER', 5, NULL, NULL, 'key')) ],
	[ [ q(credits_freeze('USER')) ], q(credits_deduct('USER', 5, NULL, 'key')), 'UC004',
		[ q(credits_unfreeze('USER')) ], q(credits_deduct('USER', 6, NULL, 'key')) ],
	[ [ q(credits_freeze('USER')) ], q(credits_hold('USER', 5, NULL, NULL, 'key')), 'UC004',
		[ q(credits_unfreeze('USER')) ], q(credits_hold('USER', 6, NULL, NULL, 'key')) ],
	[ [], q(credits_capture('USER', 1, 5, NULL, NULL, 'key')), 'UC005', [], q(credits_deduct('USER', 6, NULL, 'key')) ],
	[ [], q(credits_release('USER', 1, NULL, 'key')), 'UC005', [], q(credits_deduct('USER', 6, NULL, 'key')) ],
	[ [], q(credits_adjust('USER', 'purchased', -5000, 'why', 'key')), 'UC001', [], q(credits_adjust('USER', 'purchased', -5, 'why', 'key')) ],
	[ [], q(credits_grant('USER', 5, '2025-01-01', NULL, 'key')), '22023', [], q(credits_grant('USER', 6, '2027-01-01', NULL, 'key')) ],
	[ [], "credits_grant('USER', $max, '2027-01-01', NULL, 'key')", '22003', [], q(credits_grant('USER', 6, '2027-01-01', NULL, 'key')) ],
	[ [], "credits_add_purchased('USER', $max, 'big', NULL, 'key')", '22003', [], q(credits_add_purchased('USER', 6, 'big', NULL, 'key')) ],
	[ [], q(credits_revoke_purchase('pay_USER', 5000, NULL, 'key')), 'UC010', [], q(credits_revoke_purchase('pay_USER', 5, NULL, 'key')) ],
	[ [], q(credits_revoke_purchase('nosuch', 5, NULL, 'key')), 'UC011', [], q(credits_revoke_purchase('pay_USER', 5, NULL, 'key')) ],
	[ [], q(credits_set_plan('USER', 'nosuch', NULL, NULL, 'key')), 'UC009', [], q(credits_set_plan('USER', 'pro', NULL, NULL, 'key')) ],
	[ [], q(credits_transfer('USER', 'bob', 5000, NULL, 'key')), 'UC001', [], q(credits_transfer('USER', 'bob', 5, NULL, 'key')) ],
	[ [], q(credits_transfer('USER', 'nobody', 5, NULL, 'key')), 'UC002', [], q(credits_transfer('USER', 'bob', 5, NULL, 'key')) ],
	[ [], q(credits_set_cycle('USER', NULL, 'Nowhere', NULL, 'key')), '22023', [], q(credits_set_cycle('USER', NULL, 'Asia/Tokyo', NULL, 'key')) ]);

for (@refused)
{
	my ($setup, $call, $state, $mend, $then) = @$_;
	my $user = 'refused_' . ++$user_no;

	$_ =~ s/USER/$user/g for ($call, $then, my @setup = @$setup, my @mend = @$mend);
	$s->do("SELECT credits_open_account('$user', 'free')");
	$s->do("SELECT credits_add_purchased('$user', 1000, 'pay_$user')");
	$s->do('SELECT ' . s/USER/$user/r) for @$setup;
	subtest "no key is left by $call" => sub {

		# Also while a reset is due: no event row.
		for my $time ('2026-02-10 00:00:00+00', '2026-01-15 12:00:00+00')
		{
			at($s, $time);
			my $before = contents($s);
			my $answer = is_call($s, $call, $state eq 'refusal' ? '00000' : $state, "$state at $time");
			if ($state eq 'refusal')
			{
				is(canonical($answer->{ok}), 'false', 'ok is false');
				is($answer->{error}, 'insufficient_credits', 'and says why');
			}
			is(contents($s), $before, 'it wrote nothing');
		}
		$s->do('SELECT ' . s/USER/$user/r) for @$mend;
		my $receipt = is_call($s, $then, '00000', "the key is free for $then");
		is(canonical($receipt->{replayed}), 'false', '... which is no replay');
	};
}

# A refusal of credits_try_deduct is UC001's DETAIL and ok: false.
my $refusal = try_call($s, q(credits_try_deduct('key_1', 5000)))->{answers}[0];
my $error = try_call($s, q(credits_deduct('key_1', 5000)));
is(canonical($refusal), canonical({ %{ detail_of($error) // {} }, ok => JSON::PP::false }), "a refusal is UC001's DETAIL and ok: false");

# ---------------------------------------------------------------------------
# Section 3: errors.

$s->do($_) for (
	q(SELECT credits_open_account('eve', 'free')),
	q(SELECT credits_add_purchased('eve', 100, 'pay_eve')),
	q(SELECT credits_open_account('ice', 'free')),
	q(SELECT credits_freeze('ice')),
	q(SELECT credits_open_account('shut', 'free')),
	q(SELECT credits_close_account('shut')),
	q(SELECT credits_open_account('held', 'free')),
	q(SELECT credits_deduct('eve', 7, NULL, 'eve_key')));
my $spent = $s->do(q(SELECT max(seq) FROM credit_history WHERE user_id = 'eve'));
my $open = json($s->do(q(SELECT credits_hold('held', 10))))->{seq};
my $gone = json($s->do(q(SELECT credits_hold('held', 10))))->{seq};
$s->do("SELECT credits_release('held', $gone)");

my @insufficient = qw(user_id monthly granted purchased held owed overdraft_limit next_reset_at);
my @too_little = ([ error => 'insufficient_credits' ], [ user_id => 'eve' ], [ required => 500 ], [ available => 193 ], [ monthly => 93 ], [ purchased => 100 ], @insufficient);
my @errors = (
	[ q(credits_deduct('eve', 500)), 'UC001', \@too_little ],
	[ q(credits_hold('eve', 500)), 'UC001', \@too_little ],
	[ q(credits_deduct_many('{bob,eve}', '{1,500}', NULL, NULL, NULL, true)), 'UC001', \@too_little ],
	[ qq(credits_capture('held', $open, 500)), 'UC001', [ [ error => 'insufficient_credits' ], [ user_id => 'held' ], 'required', 'available' ] ],
	[ q(credits_adjust('eve', 'purchased', -500, 'why')), 'UC001', [ [ error => 'insufficient_credits' ], [ user_id => 'eve' ], [ bucket => 'purchased' ], [ required => 500 ], [ available => 100 ] ] ],
	[ q(credits_adjust('eve', 'granted', -1, 'why')), 'UC001', [ [ error => 'insufficient_credits' ], [ bucket => 'granted' ], [ required => 1 ], [ available => 0 ] ] ],
	[ q(credits_transfer('eve', 'bob', 500)), 'UC001', [ [ error => 'insufficient_credits' ], [ user_id => 'eve' ], [ required => 500 ], [ available => 100 ] ] ],
	(
		map { [ $_, 'UC002', [ [ error => 'account_not_found' ], [ user_id => 'nobody' ] ] ] } (
			q(credits_deduct('nobody', 1)), q(credits_try_deduct('nobody', 1)),
			q(credits_deduct_many('{nobody}', '{1}', NULL, NULL, NULL, true)), q(credits_hold('nobody', 1)),
			q(credits_capture('nobody', 1)), q(credits_release('nobody', 1)), q(credits_refund('nobody', 1)),
			q(credits_grant('nobody', 1, '2027-01-01')), q(credits_adjust('nobody', 'monthly', 1, 'why')),
			q(credits_set_plan('nobody', 'free')), q(credits_set_cycle('nobody')), q(credits_set_overdraft('nobody', 1)), q(credits_set_low_threshold('nobody', 1)),
			q(credits_freeze('nobody')), q(credits_unfreeze('nobody')), q(credits_repair_clock('nobody')),
			q(credits_close_account('nobody')), q(credits_erase_user('nobody')), q(credits_transfer('eve', 'nobody', 1)),
			q(credits_transfer('nobody', 'eve', 1)), q(credits_balance('nobody')), q(credits_explain('nobody')),
			q(credits_history('nobody')), q(credits_verify_account('nobody')),
			q(credits_balance_at('nobody', '2026-01-01')))),
	[ q(credits_deduct('eve', 8, NULL, 'eve_key')), 'UC003', [ [ error => 'idempotency_conflict' ], [ idempotency_key => 'eve_key' ], [ seq => $spent + 0 ], [ kind => 'deduct' ] ] ],
	(
		map { [ $_, 'UC004', [ [ error => 'account_frozen' ], [ user_id => 'ice' ], [ status => 'frozen' ] ] ] } (
			q(credits_deduct('ice', 1)), q(credits_try_deduct('ice', 1)), q(credits_hold('ice', 1)),
			q(credits_deduct_many('{ice}', '{1}', NULL, NULL, NULL, true)), q(credits_transfer('ice', 'eve', 1)))),
	(
		map { [ $_, 'UC004', [ [ error => 'account_frozen' ], [ user_id => 'shut' ], [ status => 'closed' ] ] ] } (
			q(credits_deduct('shut', 1)), q(credits_try_deduct('shut', 1)), q(credits_hold('shut', 1)),
			q(credits_grant('shut', 1, '2027-01-01')), q(credits_set_plan('shut', 'free')), q(credits_freeze('shut')),
			q(credits_close_account('shut')), q(credits_transfer('eve', 'shut', 1)))),
	[ q(credits_capture('eve', 999)), 'UC005', [ [ error => 'hold_not_found' ], [ user_id => 'eve' ], [ hold_seq => 999 ] ] ],
	[ qq(credits_release('eve', $spent)), 'UC005', [ [ error => 'hold_not_found' ], [ hold_seq => $spent + 0 ] ] ],
	[ qq(credits_capture('held', $gone)), 'UC006', [ [ error => 'hold_closed' ], [ user_id => 'held' ], [ hold_seq => $gone + 0 ], [ state => 'released' ] ] ],
	[ qq(credits_release('held', $gone)), 'UC006', [ [ error => 'hold_closed' ], [ state => 'released' ] ] ],
	[ q(credits_set_plan('eve', 'nosuch')), 'UC009', [ [ error => 'plan_not_found' ], [ plan => 'nosuch' ] ] ],
	[ q(credits_set_plan('eve', 'later')), 'UC009', [ [ error => 'plan_not_found' ], [ plan => 'later' ] ] ],
	[ q(credits_open_account('new', 'nosuch')), 'UC009', [ [ error => 'plan_not_found' ], [ plan => 'nosuch' ] ] ],
	[ qq(credits_refund('eve', $spent, 8)), 'UC010', [ [ error => 'refund_exceeds_deduction' ], [ user_id => 'eve' ], [ seq => $spent + 0 ], [ amount => 8 ], [ spent => 7 ], [ refunded => 0 ] ] ],
	[ q(credits_revoke_purchase('pay_eve', 101)), 'UC010', [ [ error => 'refund_exceeds_deduction' ], [ payment_ref => 'pay_eve' ], [ amount => 101 ], [ purchased => 100 ], [ revoked => 0 ] ] ],
	[ q(credits_revoke_purchase('nosuch')), 'UC011', [ [ error => 'payment_not_found' ], [ payment_ref => 'nosuch' ] ] ],
	[ q(credits_reinstate_purchase('nosuch')), 'UC011', [ [ error => 'payment_not_found' ], [ payment_ref => 'nosuch' ] ] ],
	[ q(credits_reinstate_purchase('pay_eve')), 'UC010', [ [ error => 'refund_exceeds_deduction' ], [ payment_ref => 'pay_eve' ], [ revoked => 0 ] ] ],
	[ q(credits_close_account('held')), '55000', [ [ user_id => 'held' ], [ held => 10 ] ] ],

	# Amounts: 1 .. 2^53 - 1 a call, and the same cap for an account.
	(
		map {
			my $call = $_;
			(
				# A capture of nothing settles the hold.
				($call =~ /capture/ ? () : [ $call =~ s/AMOUNT/0/r, '22023', [ 'argument', 'value', 'min' ] ]),
				[ $call =~ s/AMOUNT/-1/r, '22023', [ 'argument', 'value', 'min' ] ],
				[ $call =~ s/AMOUNT/9007199254740992/r, '22003', [ 'argument', 'value', [ max => $max ] ] ],
				[ $call =~ s/AMOUNT/9223372036854775807/r, '22003', [ 'argument', 'value', [ max => $max ] ] ],
				[ $call =~ s/AMOUNT/'-9223372036854775808'/r, '22023', [ 'argument', 'value', 'min' ] ])
		} (
			q(credits_deduct('eve', AMOUNT)), q(credits_try_deduct('eve', AMOUNT)),
			q(credits_deduct_many('{eve}', ARRAY[AMOUNT]::bigint[])), q(credits_hold('eve', AMOUNT)),
			qq(credits_capture('held', $open, AMOUNT)), qq(credits_refund('eve', $spent, AMOUNT)),
			q(credits_grant('eve', AMOUNT, '2027-01-01')), q(credits_add_purchased('eve', AMOUNT, 'pay_new')),
			q(credits_revoke_purchase('pay_eve', AMOUNT)), q(credits_revoke_purchase('pay_eve', total => AMOUNT)),
			q(credits_reinstate_purchase('pay_eve', AMOUNT)), q(credits_transfer('eve', 'bob', AMOUNT)))),
	[ q(credits_revoke_purchase('pay_eve', 1, total => 1)), '22023', [ 'argument' ] ],
	[ qq(credits_capture('held', $open, 0, true)), '22023', [ 'argument' ] ],
	[ qq(credits_capture('held', $open, 1, over => 'forget')), '22023', [ 'argument', 'value' ] ],
	[ q(credits_set_plan('eve', NULL, restart => true)), '22023', [ 'argument' ] ],
	[ q(credits_set_plan('eve', 'free', 'next_reset', restart => true)), '22023', [ 'argument' ] ],
	[ q(credits_set_plan('eve', 'free', keep_anchor => true)), '22023', [ 'argument' ] ],
	[ q(credits_adjust('eve', 'monthly', 0, 'why')), '22023', [ 'argument' ] ],
	[ q(credits_adjust('eve', 'monthly', 9007199254740992, 'why')), '22003', [ 'argument', 'value', [ max => $max ] ] ],
	[ q(credits_adjust('eve', 'monthly', '-9223372036854775808', 'why')), '22003', [ 'argument', 'value', [ max => $max ] ] ],
	[ q(credits_adjust('eve', 'granted', 1, 'why')), '22023', [] ],
	[ q(credits_adjust('eve', 'gold', 1, 'why')), '22023', [ 'argument', 'value' ] ],
	[ q(credits_adjust('eve', 'monthly', 1, NULL)), '22004', [ [ argument => 'reason' ] ] ],
	[ "credits_add_purchased('eve', $max, 'pay_big')", '22003', [ [ user_id => 'eve' ], [ amount => $max ], 'available', 'held', [ max => $max ] ] ],
	[ "credits_grant('eve', $max, '2027-01-01')", '22003', [ [ user_id => 'eve' ], [ amount => $max ], [ max => $max ] ] ],
	[ "credits_adjust('eve', 'monthly', $max, 'why')", '22003', [ [ user_id => 'eve' ], [ max => $max ] ] ],
	[ q(credits_set_overdraft('eve', -1)), '22023', [ 'argument' ] ],
	[ q(credits_set_overdraft('eve', 9007199254740992)), '22003', [ 'argument', [ max => $max ] ] ],
	[ q(credits_define_plan('free', -1)), '22023', [ 'argument' ] ],
	[ q(credits_define_plan('free', 9007199254740992)), '22003', [ 'argument', [ max => $max ] ] ],
	[ q(credits_define_plan('free', 1, 'hourly')), '22023', [ 'argument', 'value' ] ],
	[ q(credits_define_plan('free', 1, NULL, -1)), '22023', [ 'argument' ] ],
	[ q(credits_define_plan('free', 1, effective_from => '2020-01-01')), '22023', [] ],
	[ q(credits_define_plan('later', 11, effective_from => '2026-05-01')), '22023', [] ],

	# Users are 1 to 255 bytes, and so are the other names.
	(
		map {
			my $call = $_;
			(
				[ $call =~ s/NAME/''/r, '22023', [ 'argument', 'max_bytes' ] ],
				[ $call =~ s/NAME/repeat('x', 256)/r, '22023', [ 'argument', [ max_bytes => 255 ] ] ],
				[ $call =~ s/NAME/repeat(U&'\\00e4', 128)/r, '22023', [ 'argument', [ max_bytes => 255 ] ] ])
		} (
			q(credits_deduct(NAME, 1)), q(credits_open_account(NAME)), q(credits_add_purchased(NAME, 1, 'pay_n')),
			q(credits_deduct('eve', 1, NULL, NAME)), q(credits_deduct('eve', 1, NULL, NULL, NULL, NAME)),
			q(credits_add_purchased('eve', 1, NAME)), q(credits_revoke_purchase(NAME)), q(credits_define_plan(NAME, 1)),
			q(credits_transfer('eve', NAME, 1)), q(credits_hold(NAME, 1)), q(credits_balance(NAME)), q(credits_freeze(NAME)))),

	# A NULL for a required argument.
	[ q(credits_deduct(NULL, 1)), '22004', [ [ argument => 'user_id' ] ] ],
	[ q(credits_deduct('eve', NULL)), '22004', [ [ argument => 'amount' ] ] ],
	[ q(credits_try_deduct(NULL, 1)), '22004', [ [ argument => 'user_id' ] ] ],
	[ q(credits_try_deduct('eve', NULL)), '22004', [ [ argument => 'amount' ] ] ],
	[ q(credits_deduct_many(NULL, '{1}')), '22004', [ [ argument => 'user_ids' ] ] ],
	[ q(credits_deduct_many('{eve}', NULL)), '22004', [ [ argument => 'amounts' ] ] ],
	[ q(credits_deduct_many('{NULL}', '{1}')), '22004', [ 'argument' ] ],
	[ q(credits_deduct_many('{eve}', '{NULL}')), '22004', [ 'argument' ] ],
	[ q(credits_deduct_many('{eve,bob}', '{1}')), '22023', [ 'argument' ] ],
	[ q(credits_add_purchased(NULL, 1, 'p')), '22004', [ [ argument => 'user_id' ] ] ],
	[ q(credits_add_purchased('eve', NULL, 'p')), '22004', [ [ argument => 'amount' ] ] ],
	[ q(credits_add_purchased('eve', 1, NULL)), '22004', [ [ argument => 'payment_ref' ] ] ],
	[ q(credits_grant(NULL, 1, '2027-01-01')), '22004', [ [ argument => 'user_id' ] ] ],
	[ q(credits_grant('eve', 1, NULL)), '22004', [ [ argument => 'expires_at' ] ] ],
	[ q(credits_hold('eve', NULL)), '22004', [ [ argument => 'amount' ] ] ],
	[ q(credits_capture('eve', NULL)), '22004', [ [ argument => 'hold_seq' ] ] ],
	[ q(credits_release('eve', NULL)), '22004', [ [ argument => 'hold_seq' ] ] ],
	[ q(credits_refund('eve', NULL)), '22004', [ [ argument => 'seq' ] ] ],
	[ q(credits_revoke_purchase(NULL)), '22004', [ [ argument => 'payment_ref' ] ] ],
	[ q(credits_define_plan(NULL, 1)), '22004', [ [ argument => 'plan' ] ] ],
	[ q(credits_define_plan('brandnew', NULL)), '22004', [ [ argument => 'monthly_credits' ] ] ],
	[ q(credits_open_account(NULL)), '22004', [ [ argument => 'user_id' ] ] ],
	[ q(credits_set_low_threshold('eve', -1)), '22023', [ 'argument' ] ],
	[ q(credits_set_low_threshold('eve', 9007199254740992)), '22003', [ 'argument', [ max => $max ] ] ],
	[ q(credits_set_overdraft('eve', NULL)), '22004', [ [ argument => 'overdraft_limit' ] ] ],
	[ q(credits_transfer('eve', NULL)), '22004', [ [ argument => 'to_user_id' ] ] ],
	[ q(credits_freeze(NULL)), '22004', [ [ argument => 'user_id' ] ] ],
	[ q(credits_balance(NULL)), '22004', [ [ argument => 'user_id' ] ] ],
	[ q(credits_balance_at('eve', NULL)), '22004', [ [ argument => 'at' ] ] ],
	[ q(credits_grant_role(NULL, 'app')), '22004', [ 'argument' ] ],
	[ q(credits_grant_role('postgres', NULL)), '22004', [ 'argument' ] ],

	# Values that an argument cannot have.
	[ q(credits_grant('eve', 1, '2026-01-15 12:00:00+00')), '22023', [] ],
	[ q(credits_grant('eve', 1, 'infinity')), '22023', [] ],
	[ q(credits_hold('eve', 1, '0')), '22023', [ 'argument' ] ],
	[ q(credits_hold('eve', 1, '-1 second')), '22023', [ 'argument' ] ],
	[ q(credits_hold('eve', 1, '31 days 1 second')), '22023', [ 'argument' ] ],
	[ q(credits_hold('eve', 1, '1 month')), '22023', [ 'argument' ] ],
	[ q(credits_set_plan('eve', 'pro', 'tomorrow')), '22023', [ 'argument', 'value' ] ],
	[ q(credits_set_cycle('eve', NULL, 'Nowhere/Town')), '22023', [ [ argument => 'time_zone' ], [ value => 'Nowhere/Town' ] ] ],
	[ q(credits_open_account('new', 'free', NULL, 'Nowhere/Town')), '22023', [ [ argument => 'time_zone' ], [ value => 'Nowhere/Town' ] ] ],
	[ q(credits_refund('eve', 1)), '22023', [ 'user_id', 'seq' ] ],
	[ q(credits_transfer('eve', 'eve', 1)), '22023', [] ],
	[ q(credits_repair_clock('eve')), '22023', [ [ user_id => 'eve' ], 'effective_at' ] ],
	[ q(credits_balance_at('eve', '2027-01-01')), '22023', [] ],
	[ q(credits_history('eve', NULL, 0)), '22023', [ 'argument' ] ],
	[ q(credits_history('eve', NULL, 1001)), '22023', [ 'argument' ] ],
	[ q(credits_history('eve', NULL, NULL, '{nosuch}')), '22023', [ 'argument' ] ],
	[ q(credits_grant_role('postgres', 'king')), '22023', [ 'argument', 'value' ] ],
	[ q(credits_grant_role('no such role', 'app')), '42704', undef ],
	[ q(credits_reset_due(0)), '22023', [ 'argument' ] ],
	[ q(credits_verify_anchor('rubbish')), '22023', [] ],
	[ q(credits_schedule_reset()), '0A000', undef ]);

is_error($s, @$_) for @errors;
every_error_has_a_hint();

# A refused item of a batch is answered with what the error's DETAIL would say, and ok: false.
for (
	[ 'eve', 500, undef, 'UC001' ],
	[ 'nobody', 1, undef, 'UC002' ],
	[ 'eve', 8, 'eve_key', 'UC003' ],
	[ 'ice', 1, undef, 'UC004' ],
	[ 'shut', 1, undef, 'UC004' ])
{
	my ($user, $amount, $key, $state) = @$_;
	my $keys = defined $key ? "'$key'" : 'NULL';
	my $alone = try_call($s, "credits_deduct('$user', $amount, NULL, $keys)");
	my $item = try_call($s, "credits_deduct_many('{$user}', '{$amount}', NULL, ARRAY[$keys]::text[])")->{answers}[0];

	is($alone->{state}, $state, "$state alone");
	is(canonical($item), canonical({ %{ detail_of($alone) // {} }, ok => JSON::PP::false }), "... and in a batch: the DETAIL and ok: false");
}

# What is in a DETAIL is JSON whatever the names are.
my $ugly = q(a"b\\c' || chr(10) || chr(9) || U&'\00e4' || ');
$error = try_call($s, "credits_deduct('$ugly', 1)");
is($error->{state}, 'UC002', 'a user with quotes and line breaks in his name');
is((detail_of($error) // {})->{user_id}, qq(a"b\\c\n\t\x{e4}), '... is right in DETAIL') or diag($error->{detail});

# 25006: what changes something, in a read-only transaction.
for my $call (
	q(credits_deduct('eve', 1)), q(credits_try_deduct('eve', 1)), q(credits_try_deduct('eve', 1000)),
	q(credits_deduct('eve', 7, NULL, 'eve_key')), q(credits_deduct_many('{eve}', '{1}')),
	q(credits_deduct_many('{eve}', '{5000}')), q(credits_deduct_many('{}', '{}')),
	q(credits_add_purchased('eve', 1, 'p')), q(credits_add_purchased('eve', 100, 'pay_eve')),
	q(credits_grant('eve', 1, '2027-01-01')), q(credits_adjust('eve', 'monthly', 1, 'why')), q(credits_hold('eve', 1)),
	qq(credits_capture('held', $open)), qq(credits_release('held', $open)), qq(credits_refund('eve', $spent)),
	q(credits_revoke_purchase('pay_eve')), q(credits_set_overdraft('eve', 1)), q(credits_set_low_threshold('eve', 1)), q(credits_define_plan('free', 100)),
	q(credits_define_plan('free', 101)), q(credits_open_account('eve', 'free')), q(credits_open_account('new')),
	q(credits_set_plan('eve', 'pro')), q(credits_set_cycle('eve', NULL, 'Asia/Tokyo')), q(credits_freeze('eve')),
	q(credits_unfreeze('ice')), q(credits_repair_clock('eve')), q(credits_erase_user('eve')), q(credits_transfer('eve', 'bob', 1)),
	q(credits_close_account('eve')), q(credits_reset_due()), q(credits_anchor()), q(credits_grant_role('postgres', 'app')),
	q(credits_revoke_role('postgres', 'app')), q(credits_repair_guards()))
{
	$s->do('BEGIN READ ONLY');
	is_call($s, $call, '25006', "read only: $call");
	$s->do('ROLLBACK');
}
for my $call (q(credits_balance('eve')), q(credits_history('eve')), q(credits_explain('eve')), q(credits_balance_at('eve', '2026-01-15 12:00:00+00')), q(credits_verify()), q(credits_reset_due(dry_run => true)))
{
	$s->do('BEGIN READ ONLY');
	is_call($s, $call, '00000', "read only: $call works");
	$s->do('ROLLBACK');
}

# ---------------------------------------------------------------------------
# Section 1 and 3: the cap, unknown users, the default plan.

$s->do(q(SELECT credits_open_account('rich', 'free')));
is_call($s, "credits_add_purchased('rich', $max - 100, 'pay_rich')", '00000', 'up to the cap');
is_error($s, q(credits_add_purchased('rich', 1, 'pay_rich2')), '22003', [ [ user_id => 'rich' ], [ amount => 1 ], [ available => $max ], [ held => 0 ], [ max => $max ] ], 'past the cap');
is_call($s, q(credits_hold('rich', 100)), '00000', 'a hold');
is_error($s, q(credits_add_purchased('rich', 1, 'pay_rich2')), '22003', [ [ user_id => 'rich' ], [ held => 100 ], [ max => $max ] ], 'holds count');

# A purchase of an unknown user opens an account without a plan; money never bounces.
$receipt = is_call($s, q(credits_add_purchased('stranger', 5, 'pay_stranger')), '00000', 'a purchase of an unknown user');
is($receipt->{available}, 5, '... is credited');
is($receipt->{next_reset_at}, undef, '... and the period is open-ended');

# credits.default_plan: the first call opens.
$s->do(q(SET credits.default_plan = 'free'));
is(json($s->do(q(SELECT credits_balance('first'))))->{available}, 100, 'the balance of an unknown user is what would be opened');
$receipt = is_call($s, q(credits_deduct('first', 1)), '00000', 'with a default plan, the first call opens the account');
is($receipt->{seq}, 2, '... in a row before its own');
is($receipt->{available}, 99, '... with the allowance');

# One that does not exist: the error names the setting.
$s->do(q(SET credits.default_plan = 'nosuchplan'));
my $got = is_error($s, q(credits_deduct('second', 1)), 'UC009', [ [ error => 'plan_not_found' ], [ plan => 'nosuchplan' ] ], 'a default plan that does not exist');
like(join("\n", map { $_ // '' } @$got{qw(message detail hint)}), qr/credits\.default_plan/, '... the error names the setting');
is_call($s, q(credits_add_purchased('third', 5, 'pay_third')), '00000', '... and money does not bounce');
is_call($s, q(credits_deduct('eve', 1)), '00000', '... and users who have an account do not notice');
like($s->do(q(SELECT string_agg(v::text, ' ') FROM credits_verify() v)), qr/nosuchplan|default_plan/, '... and verification reports it');
$s->do('RESET credits.default_plan');

is_gapless($node, 'postgres');

# ---------------------------------------------------------------------------
# Section 3: keys and payments when history is archived.

at($s, '2025-01-10 12:00:00+00');
$s->do(q(SELECT credits_define_plan('old', 100)));
$s->do(q(SELECT credits_open_account('arch', 'old'), credits_add_purchased('arch', 70, 'pay_arch', NULL, 'key_pay'), credits_deduct('arch', 5, NULL, 'key_old')));
my $archived_first = json($s->do(q(SELECT credits_add_purchased('arch', 70, 'pay_arch'))));
at($s, '2025-12-20 12:00:00+00');
my $young = json($s->do(q(SELECT credits_deduct('arch', 6, NULL, 'key_young'))));
at($s, '2026-01-15 12:00:00+00');
$s->do(q(SELECT credits_deduct('arch', 7)));
$s->do('SELECT credits_anchor()');
my $archive = json($s->do(q(CALL credits_archive('2026-01-10 00:00:00+00'))));
cmp_ok($archive->{rows}, '>', 0, '(rows were archived)') or diag(canonical($archive));
$receipt = is_call($s, q(credits_add_purchased('arch', 70, 'pay_arch')), '00000', 'a payment whose row was archived');
is(canonical($receipt->{replayed}), 'true', '... is a replay');
is(canonical($receipt->{archived}), 'true', '... which says that it was archived');
is("$receipt->{user_id} $receipt->{seq} $receipt->{amount} $receipt->{payment_ref}", 'arch 2 70 pay_arch', '... with the facts of credit_payment');
is_error($s, q(credits_add_purchased('arch', 71, 'pay_arch')), 'UC003', [ [ payment_ref => 'pay_arch' ] ], '... another amount is UC003');
is_error($s, q(credits_add_purchased('bob', 70, 'pay_arch')), 'UC003', [ [ payment_ref => 'pay_arch' ] ], '... another user is UC003');
$receipt = is_call($s, q(credits_deduct('arch', 6, NULL, 'key_young')), '00000', 'a key younger than credits.key_retention was not archived');
is(without_replayed($receipt), without_replayed($young), '... its replay is the first receipt');
is(canonical($receipt->{replayed}), 'true', '... and says so');
is_error($s, q(credits_refund('arch', 3)), '22023', [ [ archived => JSON::PP::true ] ], 'a deduction that was archived cannot be refunded');

# Sums in reports saturate; none is an error.
{
	my $many = 1030;	# of the largest amounts: more than a bigint

	$s->do(qq(SELECT credits_open_account('sum ' || n) FROM generate_series(1, $many) n));
	$s->do(qq(
DO \$\$
DECLARE users text[] := array_agg('sum ' || n) FROM generate_series(1, $many) n;
        report jsonb;
BEGIN
    CALL credits_grant_many(users, array_fill($max, ARRAY[$many]), '2027-01-01', report => report);
    ASSERT report->>'credits_granted' = '9223372036854775807', report;
    FOR i IN 1..$many LOOP
        PERFORM credits_deduct('sum 1', $max, NULL, NULL, NULL, 'tim');
        PERFORM credits_grant('sum 1', $max, '2027-01-01');
    END LOOP;
END \$\$));
	for my $report (
		q(SELECT spent, granted FROM credit_usage_daily WHERE user_id = 'sum 1' AND spender = 'tim'),
		'SELECT count(*), sum(spent) FROM credit_usage_daily', q(SELECT credits_explain('sum 1')), 'SELECT sum(available) FROM credit_balance',
		q(SELECT credits_balance_at('sum 1', '2026-01-15 12:00:00+00')), 'SELECT count(*) FROM credits_verify()')
	{
		$s->is_state($report, '00000', "sums that pass a bigint: $report");
	}
}

is_clean($node, 'postgres');

$s->quit;
done_testing();

# Does the check find faults?  What a good seed left is changed in many ways, each
# of which it has to find, and to name.
package TortureDoctor;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use Test::More;
use TortureCheck;
use TortureRun;
use TortureServer;

our @EXPORT = qw(doctor);

my %is_fact = map { ($_ => 1) } @TortureRules::facts;

sub lines { open my $in, '<', $_[0] or die "$_[0]: $!"; my @lines = <$in>; chomp @lines; return @lines; }

sub load
{
	my ($dir) = @_;
	my %case;

	for my $name (@TortureRun::tables)
	{
		my ($head, @lines) = lines("$dir/$name.tsv");
		my @columns = split /\t/, $head;

		$case{head}{$name} = \@columns;
		$case{$name} = [ map { my %row; @row{@columns} = split /\t/, $_, -1; \%row } @lines ];
	}
	$case{journal} = [ map { [ split /\t/, $_, -1 ] } map { lines($_) } glob "$dir/client_*.log" ];
	return \%case;
}

sub save
{
	my ($case, $dir) = @_;

	mkdir $dir;
	for my $name (@TortureRun::tables)
	{
		open my $out, '>', "$dir/$name.tsv" or die $!;
		print $out join("\t", @$_) . "\n" for $case->{head}{$name}, map { my $row = $_; [ @$row{ @{ $case->{head}{$name} } } ] } @{ $case->{$name} };
		close $out;
	}
	open my $out, '>', "$dir/client_0.log" or die $!;
	print $out join("\t", @$_) . "\n" for @{ $case->{journal} };
	close $out;
	return;
}

# Looking things up in a case.

sub rows { my ($case, $where) = @_; return grep { $where->($_) } @{ $case->{history} }; }

sub some
{
	my ($case, $where, $what) = @_;
	my ($row) = rows($case, $where);

	return $row // die "the seed has no $what\n";
}

sub kind { my ($kind) = @_; return sub { $_[0]{kind} eq $kind && $_[0]{reason} ne '\\N' && $_[0]{run_id} eq '\\N' }; }

# The first row of a kind that TortureLoad::begin has made.
sub known { my ($case, $user, $kind) = @_; return some($case, sub { $_[0]{user_id} eq $user && $_[0]{kind} eq $kind }, "$kind of $user"); }

sub head { my ($case, $user) = @_; return (grep { $_->{user_id} eq $user } @{ $case->{history} })[-1]; }

sub account { my ($case, $user) = @_; return (grep { $_->{user_id} eq $user } @{ $case->{account} })[0]; }

sub is_head { my ($case) = @_; return sub { $_[0] == head($case, $_[0]{user_id}) }; }

sub line
{
	my ($case, $type, $id) = @_;

	return (grep { $_->[0] eq $type && $_->[1] eq $id } @{ $case->{journal} })[0];
}

# A row more at a user's end, and the account with it.
sub append
{
	my ($case, $row) = @_;
	my ($at) = grep { $case->{history}[$_] == head($case, $row->{user_id}) } 0 .. $#{ $case->{history} };

	$row->{seq} = $case->{history}[$at]{seq} + 1;
	$row->{$_} = $case->{history}[$at]{$_} - 0 + ($row->{"${_}_delta"} // 0) for qw(monthly granted purchased);
	$row->{$_} = $case->{history}[$at]{$_} for qw(held_monthly held_granted held_purchased owed_monthly owed_purchased);
	splice @{ $case->{history} }, $at + 1, 0, $row;
	match($case, $row->{user_id});
	return;
}

# The account says what its last row says.
sub match
{
	my ($case, $user) = @_;
	my ($account, $row) = (account($case, $user), head($case, $user));

	$account->{$_} = $row->{$_} for grep { exists $row->{$_} && !$is_fact{$_} } keys %$account;
	return;
}

# The first answered, fresh deduction or the like, alone, with its row.
sub answered
{
	my ($case, $call, $also) = @_;

	for my $sent (grep { $_->[0] eq 'S' && $_->[2] eq '-' && $_->[4] eq $call } @{ $case->{journal} })
	{
		my $told = line($case, 'R', $sent->[1]) // next;

		return ($sent, $told) if $told->[3] eq '00000' && (!$also || $told->[4] =~ $also);
	}
	die "the seed has no answered $call\n";
}

# Each: what it does to the case, and what the check has to say.
my @cases = (
	'a row is lost' => qr/seq after/, sub {
		my ($case) = @_;
		my $row = some($case, sub { $_[0]{kind} eq 'deduct' && $_[0]{seq} > 3 && !is_head($case)->($_[0]) }, 'deduction');

		@{ $case->{history} } = grep { $_ != $row } @{ $case->{history} };
	},
	'the last row is lost, and the account put back' => qr/was acknowledged, and is not in the history/, sub {
		my ($case) = @_;
		my $row = some($case, sub { $_[0]{kind} eq 'deduct' && $_[0]{reason} !~ /\./ && is_head($case)->($_[0]) && $_[0]{seq} > 3 }, 'last deduction');

		@{ $case->{history} } = grep { $_ != $row } @{ $case->{history} };
		match($case, $row->{user_id});
	},
	'a deduction counts twice' => qr/a second time/, sub {
		my ($case) = @_;
		my $row = some($case, sub { $_[0]{kind} eq 'deduct' && $_[0]{purchased_delta} < 0 && $_[0]{monthly_delta} == 0 && $_[0]{granted_delta} == 0
			&& head($case, $_[0]{user_id})->{purchased} > -$_[0]{purchased_delta} }, 'deduction');

		append($case, {%$row});
	},
	'a key has two effects' => qr/the key \S+ a second time/, sub {
		my ($case) = @_;
		my $row = some($case, sub { kind('grant')->(@_) && $_[0]{idempotency_key} ne '\\N' }, 'grant');

		append($case, {%$row});
	},
	'a payment is credited twice' => qr/is credited already/, sub {
		my ($case) = @_;

		append($case, { %{ some($case, kind('purchase'), 'purchase') } });
	},
	'a row that nobody sent' => qr/which no client sent/, sub {
		my ($case) = @_;
		my $row = { %{ some($case, kind('unfreeze'), 'unfreeze') }, reason => '77_1' };

		append($case, $row);
	},
	'a row without a reason' => qr/that no client sent/, sub { some($_[0], kind('deduct'), 'deduction')->{reason} = '\\N' },
	'a row of another kind' => qr/a row of kind clock_repair, which no client sent/, sub { some($_[0], kind('unfreeze'), 'unfreeze')->{kind} = 'clock_repair' },
	'a transaction that was rolled back' => qr/, and is in the history/, sub {
		my ($case) = @_;
		my ($row) = rows($case, sub { my $s = line($case, 'S', $_[0]{reason}); $s && $s->[2] ne '-' });

		line($case, 'X', line($case, 'S', $row->{reason})->[2])->[3] = 'rollback';
	},
	'a call that was undone to a savepoint' => qr/was undone, and is in the history/, sub {
		my ($case) = @_;

		push @{ $case->{journal} }, [ 'U', some($case, kind('deduct'), 'deduction')->{reason} ];
	},
	'a call that was refused' => qr/was UC001, and is in the history/, sub {
		my ($case) = @_;
		my ($sent, $told) = answered($case, 'deduct', qr/"replayed": false/);

		@$told[ 3, 4 ] = ('UC001', '');
	},
	'an error that nothing explains' => qr/23505, which nothing explains/, sub { (answered($_[0], 'hold'))[1][3] = '23505' },
	'half of a transaction' => qr/of its \d+ calls, \d+ are in the history/, sub {
		my ($case) = @_;
		my %ops;

		for my $row (@{ $case->{history} })
		{
			my $s = line($case, 'S', $row->{reason});
			push @{ $ops{ $s->[2] } }, $row if $s && $s->[2] ne '-' && $row->{kind} =~ /^(?:deduct|hold|grant|purchase)$/;
		}
		my ($tx) = sort grep { @{ $ops{$_} } > 1 } keys %ops;
		line($case, 'X', $tx)->[3] = 'unknown';
		$ops{$tx}[0]{reason} = '77_2';
	},
	'a prepared transaction is gone' => qr/was prepared, and is gone/, sub { push @{ $_[0]{journal} }, [ 'L', 't1_1' ] },
	'an order that was not' => qr/ended before .* began/, sub {
		my ($case) = @_;
		my ($one, $two);

		for my $row (grep { my $s = line($case, 'S', $_->{reason}); $s && $s->[2] eq '-' } @{ $case->{history} })
		{
			if ($one && $one->{user_id} eq $row->{user_id}) { $two = $row; last; }
			$one = $row;
		}
		my $began = line($case, 'S', $one->{reason})->[3];
		@{ line($case, 'S', $two->{reason}) }[3] = $began - 0.002;
		@{ line($case, 'R', $two->{reason}) }[2] = $began - 0.001;
	},
	(map { my $field = $_; ("a receipt with another $field" => qr/was told .*\Q$field\E/, sub {
		my ($sent, $told) = answered($_[0], $field eq 'payment_ref' ? 'purchase' : $field eq 'ref_seq' ? 'capture' : 'deduct', qr/"replayed": false.*"created_at"/);

		$told->[4] =~ s/("$field": "?-?)(\w)/$1 . ($2 eq '1' ? 2 : 1)/e or die "no $field in $told->[4]\n";
	}) } qw(available amount monthly purchased owed held monthly_delta created_at kind payment_ref ref_seq)),
	'a receipt without a field' => qr/was told next_reset_at|was told owed/, sub {
		my ($sent, $told) = answered($_[0], 'deduct', qr/"replayed": false/);

		$told->[4] =~ s/"owed": \d+, //;
	},
	'a receipt of a row that is not there' => qr/was told of \S+ 999999, which is not/, sub {
		my ($sent, $told) = answered($_[0], 'purchase', qr/"replayed": true/);

		$told->[4] =~ s/"seq": \d+/"seq": 999999/;
	},
	"a fresh receipt of another's row" => qr/was told that it wrote this/, sub {
		my ($case) = @_;
		my ($sent, $told) = answered($case, 'purchase', qr/"replayed": true/);

		$told->[4] =~ s/"replayed": true/"replayed": false/;
	},
	'a replay of another request' => qr/which had asked for another thing/, sub {
		my ($case) = @_;
		my ($sent) = answered($case, 'purchase', qr/"replayed": true/);

		$sent->[7] =~ s/amount=(\d+)/'amount=' . ($1 + 1)/e;
	},
	'a negative balance' => qr/is negative/, sub { some($_[0], kind('deduct'), 'deduction')->{monthly} = -1 },
	'a balance without its delta' => qr/purchased is \d+ after \d+ and/, sub { some($_[0], kind('purchase'), 'purchase')->{purchased} += 1 },
	'a purchase that gives more' => qr/purchase of \d+ changes the account by/, sub {
		my ($case) = @_;
		my $row = some($case, sub { kind('purchase')->(@_) && is_head($case)->(@_) }, 'last purchase');

		$row->{$_}++ for qw(purchased purchased_delta);
		match($case, $row->{user_id});
	},
	'a grant in the wrong bucket' => qr/grant changes monthly/, sub {
		my $row = some($_[0], kind('grant'), 'grant');

		@$row{qw(monthly granted monthly_delta granted_delta)} =
		  ($row->{monthly} + $row->{granted_delta}, $row->{granted} - $row->{granted_delta}, $row->{granted_delta}, 0);
	},
	'spent in the wrong order' => qr/in another order/, sub {
		my $row = some($_[0], sub { kind('deduct')->(@_) && $_[0]{monthly_delta} < 0 && $_[0]{purchased} > 10 }, 'monthly deduction');

		$row->{purchased_delta}--, $row->{purchased}--, $row->{monthly_delta}++, $row->{monthly}++;
	},
	'a debt beyond the limit' => qr/a debt of/, sub { some($_[0], kind('deduct'), 'deduction')->{owed_purchased} += 100_000 },
	'held without a hold' => qr/are held, the holds have/, sub { some($_[0], kind('hold'), 'hold')->{held_purchased} += 1 },
	'a hold is released twice' => qr/a release of \d+, which is|a row of kind/, sub {
		my ($case) = @_;

		append($case, { %{ some($case, kind('release'), 'release') } });
	},
	'a refund of more than was spent' => qr/refunds \d+ of/, sub { some($_[0], kind('refund'), 'refund')->{amount} += 1000 },
	'a chargeback of more than was paid' => qr/is revoked by more/, sub { some($_[0], kind('revoke'), 'chargeback')->{amount} += 10_000 },
	'a transfer that gives less' => qr/gives what it does not take|this is another amount/, sub { some($_[0], kind('transfer_in'), 'transfer')->{amount}-- },
	'another amount than was asked' => qr/this is another amount/, sub {
		my ($sent) = answered($_[0], 'deduct', qr/"replayed": false/);

		$sent->[7] =~ s/amount=(\d+)/'amount=' . ($1 + 1)/e;
	},
	'another spender than was said' => qr/this is another spender/, sub { some($_[0], kind('deduct'), 'deduction')->{spender} = 'x' },
	'another end than was asked' => qr/this is another end/, sub { some($_[0], kind('grant'), 'grant')->{ends_at} =~ s/^\d/9/ },
	'another key' => qr/this is another key/, sub { some($_[0], kind('grant'), 'grant')->{idempotency_key} = 'x' },
	'another user' => qr/this is another user/, sub {
		my ($case) = @_;
		my ($sent) = answered($case, 'grant', qr/"replayed": false/);

		$sent->[5] = 'another';
	},
	'an account that differs from its last row' => qr/: purchased is \d+, and in its last row/, sub { $_[0]{account}[0]{purchased}++ },
	'an account that is gone' => qr/a history without an account/, sub { pop @{ $_[0]{account} } },
	'a payment that is gone' => qr/a purchase without a payment/, sub { pop @{ $_[0]{payment} } },
	'a chargeback that the payment does not know' => qr/: revoked is/, sub { $_[0]{payment}[0]{revoked}++ },
	'a stale read' => qr/sees seq 0, it should be/, sub {
		my ($sent, $told) = answered($_[0], 'balance', qr/"seq": \d\d/);

		$told->[4] =~ s/"seq": \d+/"seq": 0/;
	},
	'a read of what was not there' => qr/saw what was not there/, sub {
		my ($sent, $told) = answered($_[0], 'balance', qr/"seq": \d\d/);

		$told->[4] =~ s/"purchased": (\d+)/'"purchased": ' . ($1 + 100_000)/e;
	},
	'a period that is left out' => qr/the period \d+ after \d+/, sub { known($_[0], 'known_cycle', 'restart')->{period}++ },
	'a share that nothing shortens' => qr/a share of 500000 of a period/, sub { known($_[0], 'known_cycle', 'restart')->{period_share} = 500_000 },
	'a period whose end moves' => qr/the end of the period moves/, sub { known($_[0], 'known_cycle', 'set_cycle')->{next_reset_at} = '2030-01-01 00:00:00+00' },
	'a plan change that forgets what was spent' => qr/set_plan has owed_monthly 0, and the rules give 190/, sub {
		known($_[0], 'known_cycle', 'set_plan')->{owed_monthly} = 0;
	},
	'a refund that does not pay what is owed' => qr/refund has owed_monthly 190, and the rules give 150/, sub {
		my $row = known($_[0], 'known_cycle', 'refund');

		$row->{owed_monthly} += 40;
		$row->{$_} += 40 for qw(monthly monthly_delta);
	},
	'a restart that grants less' => qr/restart has amount 49, and the rules give 50/, sub { known($_[0], 'known_cycle', 'restart')->{amount}-- },
	'a capture that owes less' => qr/capture has owed_purchased \d+, and the rules give/, sub { known($_[0], 'known_cycle', 'capture')->{owed_purchased}-- },
	'a late capture of what is there' => qr/capture has allocations 0 20, and the rules give -4 12 0 8/, sub { known($_[0], 'known_late', 'capture')->{allocations} = '{0,20}' },
	'what was left is forgotten' => qr/restart has last_left 0, and the rules give/, sub { known($_[0], 'known_late', 'restart')->{last_left} = 0 },
	'a chargeback that takes elsewhere' => qr/revoke has allocations -5 30 -9 30, and the rules give/, sub { known($_[0], 'known_cycle', 'revoke')->{allocations} = '{-5,30,-9,30}' },
	'another total than was said' => qr/this is another total/, sub { (answered($_[0], 'revoke', qr/known_pack/))[0][7] =~ s/total=30/total=31/ },
	'more is reinstated than was revoked' => qr/is reinstated than was revoked/, sub { known($_[0], 'known_cycle', 'reinstate')->{amount} = 31 },
	'a closing that forgets what was lost' => qr/forfeits is 0, and in its last row 5/, sub { account($_[0], 'known_closed')->{forfeits} = 0 },
	'an account that forgets what it was charged' => qr/charged_monthly is 0, and in its last row 15/, sub {
		account($_[0], 'known_closed')->{charged_monthly} = 0;
	},
	'a refund that loses what was charged' => qr/refund has forfeited 20, and the rules give 0/, sub {
		(grep { $_->{user_id} eq 'known_closed' && $_->{kind} eq 'refund' } @{ $_[0]{history} })[-1]{forfeited} = 20;
	},
	'a payment that forgets what was reported' => qr/known_pack: reported is 0/, sub { (grep { $_->{payment_ref} eq 'known_pack' } @{ $_[0]{payment} })[0]{reported} = 0 },
	'a grant that forgets its chargeback' => qr/the grant known_cycle 7: elsewhere is 0/, sub { (grep { $_->{user_id} eq 'known_cycle' } @{ $_[0]{grant} })[0]{elsewhere} = 0 },
	'a hold that has more' => qr/the hold known_late 2: monthly is 1/, sub { (grep { $_->{user_id} eq 'known_late' } @{ $_[0]{hold} })[0]{monthly} = 1 },
	'a level that is not said' => qr/crosses nothing, and the rules give empty/, sub {
		(grep { $_->{crossed} eq 'empty' } @{ $_[0]{history} })[0]{crossed} = '\N';
	},
	'a level that is said twice' => qr/crosses low, and the rules give nothing/, sub {
		known($_[0], 'known_cycle', 'set_cycle')->{crossed} = 'low';
	},
	'an account of another level' => qr/known_cycle: level is ok, and in its last row empty/, sub { account($_[0], 'known_cycle')->{level} = 'ok' },
	'an account without flags' => qr/known_cycle: flags is 0, and in its last row 6/, sub { account($_[0], 'known_cycle')->{flags} = 0 },
	'an account of another threshold' => qr/known_closed: plan_threshold is 9, and in its last row/, sub { account($_[0], 'known_closed')->{plan_threshold} = 9 },
	'a refusal though there is enough' => qr/though there is enough/, sub {
		my ($case) = @_;
		my ($told) = grep { $_->[0] eq 'R' && $_->[3] eq '00000' && $_->[4] =~ /"ok": false/ && line($case, 'S', $_->[1])->[2] eq '-' && $_->[4] =~ /insufficient/ } @{ $case->{journal} };

		$told->[4] =~ s/"required": \d+/"required": 0/;
	});

# Doctor what $world left, case by case: these, or others.
sub doctor
{
	my ($world, @others) = @_;
	my $dir = "$ENV{TORTURE_DIR}/doctored";
	my $found = 0;
	my @todo = @others ? @others : @cases;

	while (my ($name, $expected, $change) = splice @todo, 0, 3)
	{
		my $case = { %{ load($world->{dir}) }, retention => $world->{seed}{retention} };

		if (!eval { $change->($case); 1 })
		{
			fail("$name: $@");
			next;
		}
		TortureServer::run('rm', '-rf', $dir);
		save($case, $dir);
		my @problems = eval { TortureCheck->new($dir, jumping => $world->{seed}{jumping}, retention => $case->{retention})->check };
		push @problems, "the check died: $@" if $@;

		$found++ if ok(scalar(grep { /$expected/ } @problems), "found: $name");
		diag(@problems ? "found instead: $problems[0]" : "$name: found nothing") if !grep { /$expected/ } @problems;
	}
	note("$found doctored cases found");
	return;
}

1;

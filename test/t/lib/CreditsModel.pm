# A reference model of the ledger's rules, written from its contract alone and
# for clarity alone: an account is a list of lots, and every answer is counted
# anew from them.  Calls have a number each, their tag, which stands for the seq
# of the row that they write; what a call refers to (a hold, a deduction) it names
# by that call's tag.
package CreditsModel;

use strict;
use warnings FATAL => 'all';

use parent 'CreditsModelPlans';

use CreditsModelArchive;
use CreditsModelImport;
use CreditsModelLevels;
use CreditsModelLife;
use CreditsModelLots;
use CreditsModelPay;
use CreditsModelRuns;
use CreditsModelSpend;
use CreditsModelTime;
use List::Util qw(min max);
use Storable qw(dclone);

use constant LONGEST_HOLD => 31 * DAY;

sub new
{
	my ($class, %opt) = @_;

	return bless {
		clock => undef,
		default_plan => $opt{default_plan},
		retention => $opt{retention} // 90 * DAY,
		chargeback_days => $opt{chargeback_days} // 120,
		refuse_recent => $opt{refuse_recent} // 0,
		plans => {},
		payments => {},
		accounts => {},
		past => {},
		rows => {},
		erased => {},
		runs => {},
		anchored => {},
		anchors => 0,
		archived => {},
		audit => [] }, $class;
}

# All that is now, to go back to.  Accounts are never changed, only replaced.
sub save
{
	my ($self) = @_;

	return {
		%$self,
		accounts => { %{ $self->{accounts} } },
		payments => dclone($self->{payments}),
		(map { $_ => { %{ $self->{$_} } } } qw(erased runs archived)),
		audit => [ @{ $self->{audit} } ],
		map {
			my $lists = $self->{$_};
			$_ => { map { $_ => [ @{ $lists->{$_} } ] } keys %$lists }
		} qw(plans past rows) };
}

sub restore
{
	my ($self, $saved) = @_;

	%$self = %$saved;
	return;
}

#
# Calls
#

# What each call takes: what is compared when its key comes again, and what
# does it.  try_deduct is deduct.
my %call = (
	deduct => { compared => [qw(amount)], check => [qw(amount)], does => \&CreditsModelSpend::deduct },
	purchase => { compared => [qw(amount ref)], check => [qw(amount)], does => \&CreditsModelPay::purchase },
	adjust => { compared => [qw(bucket delta)], check => [qw(delta bucket)], does => \&CreditsModelPay::adjust },
	set_plan => { compared => [qw(plan when restart keep_anchor)], check => [qw(restart)], does => \&CreditsModelPlans::set_plan },
	set_cycle => {
		compared => [qw(anchor zone)],
		check => [qw(zone)],
		does => \&CreditsModelPlans::set_cycle
	},
	grant => { compared => [qw(amount ends ref)], check => [qw(amount)], does => \&CreditsModelPay::grant },
	hold => { compared => [qw(amount lasts)], check => [qw(amount lasts)], does => \&CreditsModelSpend::hold },
	capture => {
		compared => [qw(hold amount keep_open over)],
		check => [qw(settled)],
		does => \&CreditsModelSpend::capture
	},
	release => { compared => [qw(hold)], does => \&CreditsModelSpend::release },
	refund => { compared => [qw(of amount)], check => [qw(some)], does => \&CreditsModelSpend::refund },
	revoke => { compared => [qw(ref amount total)], check => [qw(some total)], does => \&CreditsModelPay::revoke },
	reinstate => { compared => [qw(ref amount)], check => [qw(some)], does => \&CreditsModelPay::reinstate },
	transfer => { compared => [qw(to amount)], check => [qw(some other)], does => \&CreditsModelPay::transfer },
	set_overdraft => { compared => [qw(limit)], check => [qw(limit)], does => \&set_overdraft },
	set_low_threshold => {
		compared => [qw(threshold)],
		check => [qw(threshold)],
		does => \&CreditsModelPlans::set_low_threshold
	},
	freeze => { does => sub { set_status(@_, 'frozen') } },
	unfreeze => { does => sub { set_status(@_, 'active') } },
	close_account => { does => \&CreditsModelLife::close_account },
	repair_clock => { does => \&repair_clock });

my %run = (
	grant_many => \&CreditsModelRuns::grant_many,
	apply_plan => \&CreditsModelRuns::apply_plan,
	undo => \&CreditsModelRuns::undo,
	import => \&CreditsModelImport::import_accounts,
	anchor => \&CreditsModelArchive::anchor,
	archive => \&CreditsModelArchive::archive);

my %check = (
	amount => sub { check_number($_[0]{amount}, 1) },
	some => sub { check_number($_[0]{amount}, 1) if defined $_[0]{amount} },
	total => sub { check_number($_[0]{total}, 1) if defined $_[0]{total} },
	settled => sub { check_number($_[0]{amount}, $_[0]{keep_open} ? 1 : 0) if defined $_[0]{amount} },
	restart => sub {
		refuse('22023') if $_[0]{keep_anchor} && !$_[0]{restart};
		refuse('22023') if $_[0]{restart} && ($_[0]{when} eq 'next_reset' || !defined $_[0]{plan});
	},
	other => sub { refuse('22023') if $_[0]{to} eq $_[0]{user} },
	limit => sub { check_number($_[0]{limit}, 0) },
	threshold => sub { check_number($_[0]{threshold}, 0) if defined $_[0]{threshold} },
	delta => sub {
		refuse('22004') unless defined $_[0]{delta};
		refuse('22023') if $_[0]{delta} == 0;
		check_number(abs $_[0]{delta}, 1);
	},
	bucket => sub {
		refuse('22023') unless grep { $_ eq $_[0]{bucket} } buckets();
	},
	zone => sub {
		refuse('22023') if defined $_[0]{zone} && !grep { $_ eq $_[0]{zone} } zones();
	},
	lasts => sub { refuse('22023') if $_[0]{lasts} <= 0 || $_[0]{lasts} > LONGEST_HOLD; });

sub check_number
{
	my ($n, $least) = @_;

	refuse('22004') unless defined $n;
	refuse('22023') if $n < $least;
	refuse('22003') if $n > MAX;
	return;
}

# Do a call.  The answer: { state => SQLSTATE } and, of a success, its receipt,
# of a refusal its detail; of a batch, the answers of its items.
sub call
{
	my ($self, $op) = @_;
	my $saved = $op->{call} eq 'deduct_many' ? $self->save : undef;
	my $answer = eval { $self->dispatch($op) };

	if (!$answer)
	{
		die $@ unless ref $@ eq 'HASH' && $@->{state};
		$answer = $@;

		# What a batch did before it failed is undone.
		$self->restore($saved) if $saved;
	}
	return $answer;
}

sub dispatch
{
	my ($self, $op) = @_;

	return $self->define_plan($op) if $op->{call} eq 'define_plan';
	return $self->open_account($op) if $op->{call} eq 'open_account';
	return $self->deduct_many($op) if $op->{call} eq 'deduct_many';
	return $run{ $op->{call} }->($self, $op) if $run{ $op->{call} };
	return CreditsModelLife::erase_user($self, $op) if $op->{call} eq 'erase_user';

	if ($op->{call} eq 'try_deduct')
	{
		my $answer = $self->call({ %$op, call => 'deduct' });
		return $answer if $answer->{state} ne 'UC001';
		return { state => '00000', refusal => $answer->{detail} };
	}
	my $call = $call{ $op->{call} } // die "no call $op->{call}";
	$check{$_}->($op) for @{ $call->{check} // [] };
	# Who is to get it is looked for before the key is.
	$self->known_or_default($op->{to}) if $op->{call} eq 'transfer';
	return CreditsModelPay::revoke_purchase($self, $op) if $op->{call} eq 'revoke';
	return CreditsModelPay::reinstate_purchase($self, $op) if $op->{call} eq 'reinstate';
	return CreditsModelPay::pay($self, $op) if is_payment($op);
	return $self->on_account($op->{user}, $op);
}

sub is_payment { my ($op) = @_; return $op->{call} eq 'purchase' || ($op->{call} eq 'grant' && defined $op->{ref}); }

# Calls on one account that are in the audit log, and as what.
my %audited = (
	freeze => 'freeze',
	unfreeze => 'unfreeze',
	repair_clock => 'clock_repair',
	close_account => 'close_account');

# What a key stands for.
sub request
{
	my ($op) = @_;

	return join '|', $op->{call}, map { $op->{$_} // 'NULL' } @{ $call{ $op->{call} }{compared} };
}

sub known_key
{
	my ($acct, $op) = @_;

	return undef unless defined $op->{key} && $acct && $acct->{keys}{ $op->{key} };
	my $first = $acct->{keys}{ $op->{key} };
	refuse('UC003') if $first->{request} ne request($op);
	return replay($first->{receipt});
}

sub replay { return { state => '00000', receipt => { %{ $_[0] }, replayed => 'true' } }; }

# A call on one account: its key first, then what is due, then the call itself,
# on a copy that only a success keeps.
sub on_account
{
	my ($self, $user, $op) = @_;
	my $known = known_key($self->{accounts}{$user}, $op);

	return $known if $known;
	my $instant = $op->{call} eq 'transfer' ? $self->instant_of($user, $op->{to}) : $self->{clock};
	my $acct = $self->copy_or_open($user, is_payment($op), $instant);
	my $at = max($instant, $acct->{at});

	if ($op->{call} eq 'repair_clock')
	{
		refuse('22023') if $self->{clock} >= $acct->{at};
		$at = $self->{clock};
	}
	$self->apply_due($acct, $at);
	my $row = write_row($acct, row_kind($op), $at,
		sub { $call{ $op->{call} }{does}->($self, $acct, $op, $at) });
	$row->{$_} = $op->{$_} for grep { defined $op->{$_} } qw(tag key spender metadata run);
	$row->{created_at} = $self->{clock};
	my $receipt = receipt($row);
	$acct->{keys}{ $op->{key} } = { request => request($op), receipt => $receipt }
	  if defined $op->{key};
	$self->keep($acct);
	push @{ $self->{audit} }, "$audited{ $op->{call} } $user" if $audited{ $op->{call} };
	return { state => '00000', receipt => $receipt };
}

# A transfer is one instant for both, also where it opens an account.  An account that is
# far ahead of the clock takes no part.
sub instant_of
{
	my ($self, @users) = @_;
	my $instant = max($self->{clock}, map { $self->{accounts}{$_}{at} } grep { $self->{accounts}{$_} } @users);

	$self->known_or_default($_) for @users;
	refuse('55000') if $instant > $self->{clock} + MINUTE;
	return $instant;
}

sub row_kind
{
	my ($op) = @_;

	return 'schedule_plan' if $op->{call} eq 'set_plan' && $op->{when} eq 'next_reset';
	return 'restart' if $op->{restart};
	return { repair_clock => 'clock_repair', transfer => 'transfer_out', close_account => 'close' }->{ $op->{call} } // $op->{call};
}

sub copy_or_open
{
	my ($self, $user, $is_purchase, $at) = @_;

	return dclone($self->{accounts}{$user}) if $self->{accounts}{$user};
	$self->known_or_default($user) unless $is_purchase;
	$at //= $self->{clock};
	my $plan = $self->{default_plan};
	my $missing = defined $plan && !$self->version_at($plan, $at);

	refuse('UC009') if $missing && !$is_purchase;
	my $acct = $self->new_account($user);
	$self->open_with($acct, $missing ? undef : $plan, undef, 'UTC', $at, defined $plan && !$missing);
	return $acct;
}

sub known_or_default
{
	my ($self, $user) = @_;

	refuse('UC002') unless $self->{accounts}{$user} || defined $self->{default_plan};
	return;
}

sub keep
{
	my ($self, $acct) = @_;

	push @{ $self->{rows}{ $acct->{user} } }, @{ delete $acct->{new_rows} // [] };
	$self->{accounts}{ $acct->{user} } = $acct;
	push @{ $self->{past}{ $acct->{user} } }, $acct;
	return;
}

#
# Batches
#

# The items of a batch, each as a call of its own; users in the order of their
# bytes, and a user's in the batch's order.
sub deduct_many
{
	my ($self, $op) = @_;
	my @items = @{ $op->{items} };
	my @order = sort { $items[$a]{user} cmp $items[$b]{user} || $a <=> $b } 0 .. $#items;
	my @answers;

	$check{amount}->($_) for @items;
	for my $i (@order)
	{
		$answers[$i] = $self->call({ %{ $items[$i] }, call => 'deduct' });
		refuse($answers[$i]{state}) if $answers[$i]{state} eq 'UC009' || ($op->{all} && $answers[$i]{state} ne '00000');
	}
	return { state => '00000', items => \@answers };
}

#
# Settings
#

sub set_overdraft
{
	my ($self, $acct, $op) = @_;

	$acct->{overdraft} = $op->{limit};
	return ();
}

sub set_status
{
	my ($self, $acct, $op, $at, $status) = @_;

	not_closed($acct) if $status eq 'frozen';
	$acct->{status} = $status;
	return ();
}

sub repair_clock { return (); }

#
# Reading
#

# The account as it stands at the clock, all due applied; nothing is kept.
sub view
{
	my ($self, $user, $with_rows) = @_;
	my $acct = $self->copy_or_open($user, 0);

	$self->apply_due($acct, max($self->{clock}, $acct->{at}));
	delete $acct->{new_rows} unless $with_rows;
	return $acct;
}

# A user's rows that are not archived.
sub live_rows
{
	my ($self, $user) = @_;
	my @rows = @{ $self->{rows}{$user} // [] };

	return splice @rows, $self->{archived}{$user} // 0;
}

# The account as it stood: as its last row by then left it, and what was due
# after that row by then.
sub view_at
{
	my ($self, $user, $at) = @_;
	my @all = @{ $self->{rows}{$user} // [] };
	my $gone = $self->{archived}{$user};

	refuse('22023') if $gone && $at < $all[ $gone - 1 ]{effective_at};
	my @before = grep { $_->{at} <= $at } @{ $self->{past}{$user} // [] };
	my $acct = dclone($before[-1] // refuse('UC002'));

	$self->apply_due($acct, $at);
	delete $acct->{new_rows};
	return $acct;
}

# What credits_balance says of it, or credits_balance_at.
sub balance
{
	my ($self, $user, $at) = @_;
	my $acct = eval { defined $at ? $self->view_at($user, $at) : $self->view($user) };

	if (!$acct)
	{
		die $@ unless ref $@;
		return { state => $@->{state} };
	}
	my $version = $self->held_version($acct);
	return {
		state => '00000',
		receipt => {
			(map { $_ => total(free($acct, $_)) } buckets()),
			user_id => $user,
			available => available($acct),
			held => total(held($acct)),
			owed => $acct->{owed}{purchased},
			owed_monthly => $acct->{owed}{monthly},
			overdraft_limit => $acct->{overdraft},
			plan => $acct->{plan},
			scheduled_plan => $acct->{scheduled},
			monthly_credits => $version ? $version->{credits} : 0,
			status => $acct->{status},
			time_zone => $acct->{zone},
			period_start => $acct->{period_start},
			next_reset_at => $acct->{period_end},
			low => is_low($acct) ? 'true' : 'false',
			as_of => $at // max($self->{clock}, $acct->{at}) } };
}

# A sweep of all accounts: what is due becomes rows, and nothing else changes: what
# ended without a row after the last of them has not, when the clock goes back.
sub sweep
{
	my ($self) = @_;

	for my $user (sort keys %{ $self->{accounts} })
	{
		my $seen = $self->view($user, 'with rows');
		my $last = ($seen->{new_rows} // [])->[-1] // next;
		my $acct = dclone($self->{accounts}{$user});

		$self->apply_due($acct, $last->{effective_at});
		$self->keep($acct);
	}
	return;
}

1;

# The end of an account, for the reference model.
package CreditsModelLife;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use List::Util qw(max);

# All is gone: the plan, what there is of each bucket, and every grant, so that
# nothing returns to one later, also where all of it had been spent.  What the period
# granted and is not there any more is remembered, should it come back.  What is lost of
# payments covers their chargebacks.  All that is owed then is for what was before.
sub close_account
{
	my ($self, $acct, $op) = @_;
	my %lost = map { $_ => total(free($acct, $_)) } buckets();

	not_closed($acct);
	refuse('55000') if grep { $_->{state} eq 'open' } values %{ $acct->{holds} };
	my @taken = take($acct, total(free($acct)), spend_order(free($acct)));
	my @parts = parts($acct, @taken);
	$acct->{owed}{monthly} += max(0, $acct->{period_granted} - $lost{monthly});
	@$acct{qw(period_granted last_undone)} = (0, 0);
	for my $grant (values %{ $acct->{grants} })
	{
		$grant->{ended} = 1;
		$grant->{expired} += total(grep { ($_->{grant} // 0) == $grant->{tag} } @taken) if $grant->{paid};
	}
	$acct->{forfeited} += $lost{purchased};
	$acct->{charged} = { %{ $acct->{owed} } };
	$acct->{closings}++;
	$acct->{lives}++;
	$acct->{closed} = $op->{tag};
	@$acct{qw(plan version scheduled status plan_threshold)} = (undef, undef, undef, 'closed', 0);
	return (
		amount => $lost{monthly} + $lost{granted} + $lost{purchased},
		expired => $lost{monthly} + $lost{granted},
		forfeited => $lost{purchased},
		alloc => grant_parts(@parts));
}

# The texts of all rows that there are.  It is no change of the account: nothing that
# is due is applied, and there is no row of it.
sub erase_user
{
	my ($self, $op) = @_;
	my @rows = @{ $self->{rows}{ $op->{user} } // refuse('UC002') };
	my $erased = grep { defined $_->{tag} } @rows[ ($self->{erased}{ $op->{user} } // 0) .. $#rows ];

	$self->{erased}{ $op->{user} } = @rows;
	push @{ $self->{audit} }, "erase_user $op->{user} $erased" if $erased;
	return { state => '00000', report => { ok => 'true', user_id => $op->{user}, rows => $erased } };
}

1;

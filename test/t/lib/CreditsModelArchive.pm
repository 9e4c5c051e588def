# Anchors and archiving, for the reference model.  Nothing of an account goes: how
# many of its rows are in the archive is kept beside it, and what is forgotten with
# them is taken from the account.
package CreditsModelArchive;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelRuns;
use List::Util qw(min);

# Each user's newest row, as many as there are.
sub anchor
{
	my ($self) = @_;
	my %newest = map { $_ => scalar @{ $self->{rows}{$_} } } keys %{ $self->{rows} };
	my $changed = grep { $newest{$_} != ($self->{anchored}{$_} // 0) } keys %newest;

	$self->{anchored} = \%newest;
	$self->{anchors}++;
	return {
		state => '00000',
		report => { ok => 'true', anchor_no => $self->{anchors}, accounts => scalar keys %newest, changed => $changed } };
}

sub archive
{
	my ($self, $op) = @_;
	refuse('22023') if $op->{before} > $self->{clock};
	return CreditsModelRuns::run_over_accounts(
		$self, $op,
		'archive',
		sub {
			my ($acct, $at) = @_;
			my $user = $acct->{user};
			my $gone = $self->{archived}{$user} // 0;
			my $go = how_many($self, $user, $op->{before});
			my @rows = @{ $self->{rows}{$user} }[ $gone .. $go - 1 ];

			if (2 > grep { $_->{kind} ne 'archive' } @rows)
			{
				my ($first) = $self->live_rows($user);
				return $self->{anchored}{$user} && $first->{effective_at} < $op->{before} ? { skipped => 1 } : undef;
			}
			forget($self, $acct, @rows);
			$self->{archived}{$user} = $go;
			my %done = CreditsModelRuns::run_row($self, $acct, { tag => $op->{tag} },
				'archive', $at, sub { return (ref => CreditsModelRuns::name_of($rows[-1])) });
			$acct->{new_rows}[-1]{tag} = undef;
			return { %done, rows => scalar @rows };
		});
}

# How many of a user's rows may be in the archive.
sub how_many
{
	my ($self, $user, $before) = @_;
	my $rows = $self->{rows}{$user};
	my $most = min(@$rows - 1, $self->{anchored}{$user} // 0);
	my $gone = $self->{archived}{$user} // 0;

	for my $i ($gone .. $most - 1)
	{
		my $row = $rows->[$i];
		my $keyed = ($row->{key} // '') ne '' && $self->{clock} - $row->{created_at} < $self->{retention};

		$most = $i if $i < $most && ($row->{effective_at} >= $before || $keyed);
	}
	for (; $most > $gone; $most--)
	{
		my %goes = map { CreditsModelRuns::name_of($_) => 1 } @$rows[ $gone .. $most - 1 ];

		last if !grep { $_->{kind} =~ /^(refund|undo)$/ && $goes{ $_->{ref} } } @$rows[ $most .. $#$rows ];
	}
	return $most;
}

# Keys, and what could be refunded or undone.  What was settled stays so.
sub forget
{
	my ($self, $acct, @rows) = @_;

	for my $row (@rows)
	{
		delete $acct->{keys}{ $row->{key} } if defined $row->{key};
		$acct->{open_receipt} = { user_id => $acct->{user}, ok => 'true', archived => 'true' }
		  if ($row->{key} // 'none') eq '';
		$acct->{reset} = undef
		  if $row->{kind} eq 'reset' && $acct->{reset} && $acct->{reset}{at} == $row->{effective_at};
		next if !defined $row->{tag};
		delete $acct->{spent}{ $row->{tag} };
		$acct->{gone}{ $row->{tag} } = 1;
		if ($row->{kind} eq 'purchase' || $row->{kind} eq 'grant' && defined $row->{payment_ref})
		{
			my $payment = $self->{payments}{ $row->{payment_ref} };
			my %facts = map { $_ => $payment->{receipt}{$_} } qw(user_id amount payment_ref tag);

			$payment->{receipt} = { %facts, ok => 'true', archived => 'true' };
		}
		elsif ($row->{kind} eq 'revoke')
		{
			my $payment = $self->{payments}{ $row->{payment_ref} };

			$payment->{last_revoke} = { user_id => $acct->{user}, ok => 'true', archived => 'true' }
			  if $payment->{last_revoke}{tag} == $row->{tag};
		}
	}
	return;
}

1;

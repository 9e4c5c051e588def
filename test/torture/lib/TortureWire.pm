# A connection to PostgreSQL: its protocol, as far as the torture needs it.  No
# driver, so that what a client knows of a call is just what came over the wire:
# an answer, an error, or that the connection ended between the two.
package TortureWire;

use strict;
use warnings FATAL => 'all';

use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);

# Connect to the server whose socket is in $dir.  undef if it is not to be had.
sub connect
{
	my ($class, $dir, $port, %options) = @_;
	my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$dir/.s.PGSQL.$port") or return;
	my $self = bless { socket => $socket, in => '', alive => 1 }, $class;
	my $start = join '', map { "$_\0" }
	  (user => 'postgres', database => 'postgres', options => '', client_encoding => 'UTF8', %options);

	$self->put(pack('NN', length($start) + 9, 196608) . "$start\0");
	my $answer = $self->answer;
	return $answer && $answer->{state} eq '00000' ? $self : undef;
}

sub put
{
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';

	while (length $bytes)
	{
		my $n = syswrite $self->{socket}, $bytes;

		if (!defined $n)
		{
			next if $!{EINTR};
			$self->{alive} = 0;
			return;
		}
		substr($bytes, 0, $n, '');
	}
	return;
}

# The next message, as (type, body); nothing once the connection has ended.
sub message
{
	my ($self) = @_;

	for (;;)
	{
		if (length $self->{in} >= 5)
		{
			my ($type, $length) = unpack 'a N', $self->{in};

			if (length $self->{in} > $length)
			{
				my $body = substr $self->{in}, 5, $length - 4;

				substr($self->{in}, 0, $length + 1, '');
				return ($type, $body);
			}
		}
		my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
		next if !defined $n && $!{EINTR};
		if (!$n)
		{
			$self->{alive} = 0;
			return;
		}
	}
}

# All that comes until the server is ready again: {state, rows, tag, detail, message,
# status: of the transaction, I, T or E}.  undef if the connection ended before.
# Of several statements' errors, there can only be one.
sub answer
{
	my ($self) = @_;
	my %answer = (state => '00000', rows => []);

	while (my ($type, $body) = $self->message)
	{
		if ($type eq 'D')
		{
			my ($n, @row) = unpack 'n', $body;
			my $at = 2;

			for (1 .. $n)
			{
				my $length = unpack 'l>', substr $body, $at, 4;

				push @row, $length < 0 ? undef : substr $body, $at + 4, $length;
				$at += 4 + ($length < 0 ? 0 : $length);
			}
			push @{ $answer{rows} }, \@row;
		}
		elsif ($type eq 'C')
		{
			$answer{tag} = $body =~ s/\0//r;
		}
		elsif ($type eq 'E')
		{
			my %field = map { (substr($_, 0, 1), substr($_, 1)) } grep { length } split /\0/, $body;

			$answer{state} = $field{C};
			$answer{message} = $field{M};
			$answer{detail} = $field{D} // '';

			# What is told while the connection is being made, and no more.
			if ($field{S} ne 'ERROR' && !$self->{ready})
			{
				$self->{alive} = 0;
				return \%answer;
			}
		}
		elsif ($type eq 'K')
		{
			$self->{pid} = unpack 'N', $body;
		}
		elsif ($type eq 'Z')
		{
			$self->{ready} = 1;
			$answer{status} = $body;
			return \%answer;
		}
	}
	return;
}

# Run one statement, or several at once.
sub query
{
	my ($self, $sql) = @_;

	$self->put(pack('a N', 'Q', length($sql) + 5) . "$sql\0");
	return $self->answer;
}

# Run what must not fail; give its rows.
sub rows
{
	my ($self, $sql) = @_;
	my $answer = $self->query($sql) or die "the connection ended: $sql\n";

	die "$sql: $answer->{state} $answer->{message}\n" if $answer->{state} ne '00000';
	return @{ $answer->{rows} };
}

sub value { return (rows(@_))[0][0]; }

sub quote
{
	my ($text) = @_;

	return 'NULL' if !defined $text;
	return "'" . ($text =~ s/'/''/gr) . "'";
}

1;

# The format of an export and the encoding and hashes of docs/audit-format.md.
package CreditsFormat;

use strict;
use warnings;
use Digest::SHA qw(sha256);
use Exporter qw(import);

our @EXPORT_OK = qw(MAX_AMOUNT INT64_MAX INT64_MIN %TYPE_OF @FACTS decode_value
  decode_row encode_value microseconds first_hash history_preimage history_hash
  first_audit_hash audit_preimage audit_hash checkpoint_preimage checkpoint_digest);

use constant MAX_AMOUNT => 9007199254740991;
use constant INT64_MAX  => 9223372036854775807;
use constant INT64_MIN  => -9223372036854775807 - 1;

# The columns of each file.  Types: t text, i integer, z time with zone,
# l local time, b bytea, u uuid, a array of integers, f true or false as 1 or 0.
our %TYPE_OF = (
	credit_plan => {
		plan => 't', version => 'i', effective_from => 'z', monthly_credits => 'i',
		rollover_limit => 'i', low_balance_threshold => 'i', created_at => 'z', cycle => 't',
	},
	credit_account => {
		user_id => 't', monthly => 'i', granted => 'i', purchased => 'i',
		held_monthly => 'i', held_granted => 'i', held_purchased => 'i',
		owed_monthly => 'i', owed_purchased => 'i', overdraft_limit => 'i',
		period_granted => 'i', period => 'i', last_monthly_reset => 'z', period_share => 'i', cycle => 't',
		last_left => 'i', last_limit => 'i', last_undone => 'f', low_threshold => 'i', effective_at => 'z',
		cycle_anchor => 'l', history_seq => 'i', time_zone => 't', status => 't',
		history_hash => 'b', next_reset_at => 'z', next_event_at => 'z',
		plan_version => 'i', plan => 't', scheduled_plan => 't',
		end_anchor => 'l', end_zone => 't', end_cycle => 't', closed_seq => 'i', forfeited => 'i',
		charged_monthly => 'i', charged_purchased => 'i', last_charged => 'i', last_closed_seq => 'i',
		plan_threshold => 'i', level => 't', flags => 'i',
	},
	credit_history => {
		user_id => 't', seq => 'i', kind => 't', created_at => 'z', effective_at => 'z',
		period => 'i', plan_version => 'i', monthly_delta => 'i',
		granted_delta => 'i', purchased_delta => 'i', monthly => 'i', granted => 'i',
		purchased => 'i', held_monthly => 'i', held_granted => 'i',
		held_purchased => 'i', owed_monthly => 'i', owed_purchased => 'i',
		allocations => 'a', ref_seq => 'i', ends_at => 'z', next_reset_at => 'z',
		payment_ref => 't', idempotency_key => 't', request_digest => 'b',
		actor => 't', spender => 't', run_id => 'u', amount => 'i', expired => 'i',
		forfeited => 'i', skipped => 'i', plan => 't', scheduled_plan => 't',
		cycle_anchor => 'l', time_zone => 't', status => 't', overdraft_limit => 'i',
		period_granted => 'i', period_start => 'z', period_share => 'i', cycle => 't',
		last_left => 'i', last_limit => 'i', last_undone => 'f', low_threshold => 'i',
		crossed => 't', text_salt => 'b', reason => 't', metadata => 't',
		reason_digest => 'b', metadata_digest => 'b', hash => 'b',
	},
	credit_checkpoint => {
		user_id => 't', monthly => 'i', granted => 'i', purchased => 'i',
		held_monthly => 'i', held_granted => 'i', held_purchased => 'i',
		owed_monthly => 'i', owed_purchased => 'i', overdraft_limit => 'i',
		period_granted => 'i', period => 'i', last_monthly_reset => 'z', period_share => 'i', cycle => 't',
		last_left => 'i', last_limit => 'i', last_undone => 'f', low_threshold => 'i', effective_at => 'z',
		cycle_anchor => 'l', history_seq => 'i', time_zone => 't', status => 't',
		history_hash => 'b', next_reset_at => 'z', next_event_at => 'z',
		plan_version => 'i', plan => 't', scheduled_plan => 't',
		end_anchor => 'l', end_zone => 't', end_cycle => 't', closed_seq => 'i', forfeited => 'i',
		charged_monthly => 'i', charged_purchased => 'i', last_charged => 'i', last_closed_seq => 'i',
		plan_threshold => 'i', level => 't', flags => 'i', grants => 'a', holds => 'a',
		purchases => 'a', payment_refs => 'T', archived => 'a', opened_seq => 'i',
		opened_digest => 'b', opened_plan => 't', opened_anchor => 'l', opened_zone => 't',
	},
	credit_payment => {
		user_id => 't', seq => 'i', payment_ref => 't', amount => 'i', revoked => 'i',
		granted => 't', paid_at => 'z', reported => 'i',
	},
	credit_grant => {
		user_id => 't', seq => 'i', amount => 'i', remaining => 'i', ends_at => 'z', closed => 't',
		paid => 't', expired => 'i', elsewhere => 'i',
	},
	credit_hold => {
		user_id => 't', seq => 'i', amount => 'i', monthly => 'i', purchased => 'i',
		period => 'i', state => 't', ends_at => 'z', allocations => 'a', given_back => 'i',
	},
	credit_audit_log => {
		seq => 'i', created_at => 'z', action => 't', subject => 't', actor => 't',
		client_addr => 't', application => 't', before => 't', after => 't', hash => 'b',
	},
	credit_anchor => {
		anchor_no => 'i', created_at => 'z', accounts => 'i', changed => 'i', audit_seq => 'i',
		audit_hash => 'b', root => 'b', changed_root => 'b', previous_hash => 'b', hash => 'b',
	},
	credit_anchor_leaf => { anchor_no => 'i', seq => 'i', user_id => 't', hash => 'b' },
);

$TYPE_OF{credit_history_archive} = $TYPE_OF{credit_history};

# What the hashes cover, in order.
our @HISTORY_FIELDS = qw(user_id seq kind created_at effective_at period
  plan_version monthly_delta granted_delta purchased_delta monthly granted purchased
  held_monthly held_granted held_purchased owed_monthly owed_purchased allocations
  ref_seq ends_at next_reset_at payment_ref idempotency_key request_digest actor
  spender run_id amount expired forfeited skipped);
our @FACTS = qw(plan plan_version scheduled_plan cycle_anchor time_zone status
  overdraft_limit period_granted period_start period_share cycle last_left last_limit last_undone
  low_threshold);
our @AUDIT_FIELDS =
  qw(seq created_at action subject actor client_addr application before after);
#
# Values: from the text of an export to bytes and numbers
#

my %UNESCAPE = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t", v => "\x0b", '\\' => '\\');

sub unescape
{
	my ($text) = @_;
	$text =~ s{\\(.?)}{$UNESCAPE{$1} // die "unknown escape \\$1\n"}ges;
	return $text;
}

sub integer
{
	my ($text) = @_;
	die "'$text' is not an integer\n" unless $text =~ /\A-?[0-9]{1,19}\z/;
	my $number = 0 + $text;
	die "'$text' is not a 64-bit integer\n"
	  unless "$number" eq $text && $number <= INT64_MAX;
	return $number;
}

# Days from 1970-01-01 in the proleptic Gregorian calendar.
sub days
{
	my ($year, $month, $day) = @_;
	use integer;
	$year-- if $month <= 2;
	my $era = ($year >= 0 ? $year : $year - 399) / 400;
	my $of_era = $year - $era * 400;
	my $of_year = (153 * ($month + ($month > 2 ? -3 : 9)) + 2) / 5 + $day - 1;
	return $era * 146097 + $of_era * 365 + $of_era / 4 - $of_era / 100 + $of_year - 719468;
}

my %day_cache;

# Microseconds since 1970-01-01.  A time with zone must be written in UTC.
sub microseconds
{
	my ($text, $with_zone) = @_;
	return INT64_MAX if $text eq 'infinity';
	return INT64_MIN if $text eq '-infinity';
	my ($date, $h, $m, $s, $fraction, $zone, $bc) = $text =~
	  /\A([0-9]{4,6}-[0-9]{2}-[0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?(\+00)?( BC)?\z/
	  or die "'$text' is not an ISO time" . ($with_zone ? " in UTC" : "") . "\n";
	die "'$text' has " . ($with_zone ? "no" : "a") . " UTC offset\n"
	  if !$with_zone != !defined $zone;
	my $key = $bc ? "$date BC" : $date;
	%day_cache = () if keys %day_cache > 50_000;
	my $days = $day_cache{$key} //= do {
		my ($year, $month, $day) = split /-/, $date;
		days($bc ? 1 - $year : $year, $month, $day);
	};
	die "'$text' is too late for 64 bits\n" if $days >= 106_751_991;
	use integer;
	return (($days * 24 + $h) * 60 + $m) * 60_000_000 + $s * 1_000_000
	  + substr(($fraction // '') . '000000', 0, 6);
}

sub raw_bytes
{
	my ($text) = @_;
	die "'$text' is not bytea in hex format\n" unless $text =~ /\A\\x((?:[0-9a-f]{2})*)\z/;
	return pack 'H*', $1;
}

sub uuid
{
	my ($text) = @_;
	die "'$text' is not a uuid\n"
	  unless $text =~ /\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\z/;
	return pack 'H*', $text =~ tr/-//dr;
}

sub integer_array
{
	my ($text) = @_;
	die "'$text' is not a plain array of integers\n"
	  unless $text =~ /\A\{(-?[0-9]+(?:,-?[0-9]+)*)\}\z/;
	return pack 'q>*', map { integer($_) } split /,/, $1;
}

# True or false, as COPY writes it.
sub flag
{
	my ($text) = @_;
	die "'$text' is not t or f\n" unless $text =~ /\A[tf]\z/;
	return $text eq 't' ? 1 : 0;
}

# An array of texts; NULL is not among them.
sub text_array
{
	my ($text) = @_;
	my @items;
	$text =~ s/\A\{(.*)\}\z/$1/s or die "'$text' is not an array\n";
	while (length $text)
	{
		if ($text =~ s/\A"((?:[^"\\]|\\.)*)"(?:,|\z)//s) { push @items, $1 =~ s/\\(.)/$1/gsr }
		elsif ($text =~ s/\A([^",]+)(?:,|\z)//s)           { push @items, $1 }
		else                                               { die "'$text' is not the rest of an array\n" }
	}
	return \@items;
}

my %DECODE = (
	T => \&text_array,
	t => sub { $_[0] },
	i => \&integer,
	z => sub { microseconds($_[0], 1) },
	l => sub { microseconds($_[0], 0) },
	b => \&raw_bytes,
	u => \&uuid,
	a => \&integer_array,
	f => \&flag,
);

#
# The encoding and the hashes
#

sub bytes_field { defined $_[0] ? "\x01" . pack('N', length $_[0]) . $_[0] : "\x00" }
sub int_field   { defined $_[0] ? "\x01\x00\x00\x00\x08" . pack('q>', $_[0]) : "\x00" }

my %ENCODE = map { ($_ => \&int_field) } qw(i z l f);
$ENCODE{$_} = \&bytes_field for qw(t b u a);

sub encode_value { my ($type, $value) = @_; return $ENCODE{$type}->($value) }

sub encode_fields
{
	my ($table, $row, @names) = @_;
	my $type = $TYPE_OF{$table};
	return join '', map { defined $row->{$_} ? $ENCODE{ $type->{$_} }->($row->{$_}) : "\x00" } @names;
}

sub facts_digest
{
	my ($row) = @_;
	return undef unless defined $row->{status};
	return sha256('credits-f1' . encode_fields('credit_history', $row, @FACTS));
}

sub text_digest
{
	my ($row, $name) = @_;
	return $row->{"${name}_digest"} if defined $row->{"${name}_digest"};
	return undef unless defined $row->{$name};
	return sha256(($row->{text_salt} // '') . $row->{$name});
}

sub first_hash { sha256('credits-g1' . $_[0]) }

# What is hashed for a history row, given the hash of the row before it.
sub history_preimage
{
	my ($before, $row) = @_;
	return
		'credits-h1'
	  . $before
	  . encode_fields('credit_history', $row, @HISTORY_FIELDS)
	  . bytes_field(facts_digest($row))
	  . bytes_field(text_digest($row, 'reason'))
	  . bytes_field(text_digest($row, 'metadata'));
}

sub history_hash { sha256(history_preimage(@_)) }

sub first_audit_hash { sha256('credits-a0') }

sub audit_preimage
{
	my ($before, $row) = @_;
	return 'credits-a1' . $before . encode_fields('credit_audit_log', $row, @AUDIT_FIELDS);
}

# What a checkpoint is sealed with.
sub checkpoint_preimage
{
	my ($row) = @_;
	return 'credits-c1'
	  . encode_fields('credit_checkpoint', $row, qw(user_id history_seq history_hash monthly granted purchased
		held_monthly held_granted held_purchased owed_monthly owed_purchased period effective_at
		next_reset_at next_event_at))
	  . bytes_field(facts_digest({ %$row, period_start => $row->{last_monthly_reset} }))
	  . encode_fields('credit_checkpoint', $row, qw(end_anchor end_zone end_cycle closed_seq forfeited
		charged_monthly charged_purchased last_charged last_closed_seq plan_threshold level flags grants holds purchases))
	  . join('', map { bytes_field($_) } @{ $row->{payment_refs} // [] })
	  . encode_fields('credit_checkpoint', $row, 'archived', 'opened_seq')
	  . (defined $row->{opened_seq}
		? encode_fields('credit_checkpoint', $row, qw(opened_digest opened_plan opened_anchor opened_zone)) : '');
}

sub checkpoint_digest { sha256(checkpoint_preimage(@_)) }

sub audit_hash { sha256(audit_preimage(@_)) }
sub decode_value
{
	my ($type, $text) = @_;
	return $DECODE{$type}->(index($text, '\\') < 0 ? $text : unescape($text));
}

# Columns and their text in COPY format to a row of values, without the NULLs.
sub decode_row
{
	my ($name, $header, $text) = @_;
	my $types = $TYPE_OF{$name};
	my (%row, $column);
	eval {
		for my $i (0 .. $#$text)
		{
			next if $text->[$i] eq '\N';
			$column = $header->[$i];
			my $type = $types->{$column} // next;
			$row{$column} = index($text->[$i], '\\') >= 0 ? $DECODE{$type}->(unescape($text->[$i]))
			  : $type eq 't' ? $text->[$i]
			  :                $DECODE{$type}->($text->[$i]);
		}
		1;
	} or die "column $column: $@";
	return \%row;
}

1;

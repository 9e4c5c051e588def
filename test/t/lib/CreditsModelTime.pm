# Time for the reference model: microseconds since 1970, a few time zones by
# their own rules, and period boundaries, none of it by PostgreSQL's code.
package CreditsModelTime;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use Time::Local qw(timegm);

our @EXPORT = qw(utc local_to_utc utc_to_local next_boundary last_boundary one_cycle_later length_of cycles
  share_of share_part iso from_iso zones SECOND MINUTE HOUR DAY FULL);

use constant SECOND => 1_000_000;
use constant MINUTE => 60 * SECOND;
use constant HOUR => 3600 * SECOND;
use constant DAY => 86400 * SECOND;

# The share of a full period, in parts per million.
use constant FULL => 1_000_000;

# A cycle: what it is as long as, how many months or days that is, and whether it is
# counted from the account's anchor or from the calendar.
my %cycle = (
	daily => { length => 'day', days => 1 },
	weekly => { length => 'week', days => 7, anchored => 1 },
	calendar => { length => 'month', months => 1 },
	anniversary => { length => 'month', months => 1, anchored => 1 },
	yearly => { length => 'year', months => 12, anchored => 1 });

sub cycles { return sort keys %cycle; }

sub length_of { return $cycle{ $_[0] }{length}; }

# Microseconds of a UTC time; also of a wall-clock time, which is kept as if it
# were UTC.
sub utc
{
	my ($y, $m, $d, $hh, $mm, $ss) = @_;

	return timegm($ss // 0, $mm // 0, $hh // 0, $d // 1, ($m // 1) - 1, $y) * SECOND;
}

# The nth (from 1) or last (0) Sunday of a month, as its day.
sub sunday
{
	my ($y, $m, $nth) = @_;
	my @days = grep { (gmtime(utc($y, $m, $_) / SECOND))[6] == 0 } 1 .. month_length($y, $m);

	return $days[ $nth - 1 ];
}

sub month_length
{
	my ($y, $m) = @_;

	return (31, ($y % 4 == 0 && ($y % 100 != 0 || $y % 400 == 0)) ? 29 : 28,
		31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[ $m - 1 ];
}

# Offset without and with summer time, and when that begins and ends in a year.
# The rules are those since 2007.
my %zone = (
	'UTC' => [0],
	'Asia/Kathmandu' => [ 5.75 * HOUR ],
	'Asia/Tokyo' => [ 9 * HOUR ],
	'Europe/Berlin' => [
		1 * HOUR, 2 * HOUR,
		sub { utc($_[0], 3, sunday($_[0], 3, 0), 1) },
		sub { utc($_[0], 10, sunday($_[0], 10, 0), 1) }
	],
	'America/New_York' => [
		-5 * HOUR,
		-4 * HOUR,
		sub { utc($_[0], 3, sunday($_[0], 3, 2), 7) },
		sub { utc($_[0], 11, sunday($_[0], 11, 1), 6) }
	]);
my %summer;

sub zones { return sort keys %zone; }

sub offset
{
	my ($name, $t) = @_;
	my ($winter, $summer, $begins, $ends) = @{ $zone{$name} };

	return $winter unless defined $summer;
	my $y = (gmtime($t / SECOND))[5] + 1900;
	my ($from, $to) = @{ $summer{"$name $y"} //= [ $begins->($y), $ends->($y) ] };
	return $t >= $from && $t < $to ? $summer : $winter;
}

sub utc_to_local { return $_[1] + offset($_[0], $_[1]); }

# A time that does not exist: by the offset before the gap.  One that exists
# twice: by the offset after.
sub local_to_utc
{
	my ($name, $local) = @_;
	my @offsets = grep { defined } @{ $zone{$name} }[ 0, 1 ];
	my @exist = sort { $a <=> $b }
	  grep { utc_to_local($name, $_) == $local } map { $local - $_ } @offsets;

	return $exist[-1] // $local - offset($name, $local - DAY);
}

# The wall-clock time $n months after the anchor, clamped to the month's end.
sub add_months
{
	my ($anchor, $n) = @_;
	my $second = ($anchor - $anchor % SECOND) / SECOND;
	my ($ss, $mm, $hh, $d, $m, $y) = gmtime($second);
	my $month = ($y + 1900) * 12 + $m + $n;

	($y, $m) = (int($month / 12), $month % 12 + 1);
	my $last = month_length($y, $m);
	return utc($y, $m, $d > $last ? $last : $d, $hh, $mm, $ss) + $anchor % SECOND;
}

# $n cycles after a wall-clock time, as an instant.
sub cycles_after
{
	my ($cycle, $from, $name, $n) = @_;
	my ($months, $days) = @{ $cycle{$cycle} }{qw(months days)};

	return local_to_utc($name, $months ? add_months($from, $n * $months) : $from + $n * $days * DAY);
}

# The first boundary after $t, and the last one that is not after it.
sub boundaries_around
{
	my ($cycle, $anchor, $name, $t) = @_;
	my $from = $cycle{$cycle}{anchored} ? $anchor : utc(2000, 1, 1);
	my $days = $cycle{$cycle}{days} // $cycle{$cycle}{months} * ($t < $from ? 28 : 31);
	my $n = int(($t - $from) / ($days * DAY)) - 3;
	my ($last, $next);

	for (;; $n++)
	{
		$next = cycles_after($cycle, $from, $name, $n);
		last if $next > $t;
		$last = $next;
	}
	return ($last, $next);
}

sub next_boundary { return (boundaries_around(@_))[1]; }

sub last_boundary { return (boundaries_around(@_))[0]; }

# The same wall-clock time one cycle later.
sub one_cycle_later
{
	my ($cycle, $name, $t) = @_;

	return cycles_after($cycle, utc_to_local($name, $t), $name, 1);
}

# What part of a full period some of it is, in parts in a million, rounded down: digit by
# digit, as the product is too long for a number here.
sub share_of
{
	my ($some, $full) = @_;
	my $share = 0;

	return FULL if $some >= $full;
	for (1 .. 6)
	{
		use integer;
		$some *= 10;
		$share = $share * 10 + $some / $full;
		$some %= $full;
	}
	return $share;
}

# That share of some credits, rounded down, without a product that is too long.
sub share_part
{
	my ($credits, $share) = @_;

	use integer;
	return $credits / FULL * $share + $credits % FULL * $share / FULL;
}

# 2026-01-31 10:00:00.000001; add a zone where one is meant.
sub iso
{
	my ($t) = @_;
	my $fraction = $t % SECOND;
	my ($ss, $mm, $hh, $d, $m, $y) = gmtime(($t - $fraction) / SECOND);

	return sprintf('%04d-%02d-%02d %02d:%02d:%02d', $y + 1900, $m + 1, $d, $hh, $mm, $ss)
	  . ($fraction ? sprintf('.%06d', $fraction) : '');
}

sub from_iso
{
	my ($text) = @_;

	$text =~ /^(\d+)-(\d+)-(\d+)[T ](\d+):(\d+):(\d+)(?:\.(\d+))?Z?$/ or return $text;
	return utc($1, $2, $3, $4, $5, $6) + substr(($7 // '') . '000000', 0, 6);
}

1;

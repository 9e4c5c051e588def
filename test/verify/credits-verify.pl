#!/usr/bin/perl
#
# Verifies an export of the credits extension (export.sql) from the description
# in docs/audit-format.md alone: it shares no code with the extension and needs
# nothing but Perl.
#
#   perl credits-verify.pl DIR [FILE...]
#
# The files have anchors that were kept, one to a line; then the export has to
# continue each of them.  One line per bad account (its first bad row), plan,
# payment, audit row or anchor, then a summary.  Exit status: 0 clean, 1 bad, 2 the export could not be read.
#
use strict;
use warnings;
use Config;
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__);
use CreditsAnchors qw(parse_anchor begin_anchors check_leaves add_leaves check_anchors);
use CreditsArchive qw(checkpoint_state check_archived check_purchases);
use CreditsOpen qw(check_tables);
use CreditsFormat qw(%TYPE_OF decode_row checkpoint_digest first_hash first_audit_hash audit_hash
  microseconds);
use CreditsRules qw(new_state check_row check_account check_plan %AUDITED);

#
# Files: one row at a time, with one row of look-ahead
#

sub open_table
{
	my ($dir, $name, $file) = @_;
	my $path = "$dir/" . ($file // $name) . '.tsv';
	return { rows => 0 } if $name =~ /\A(?:credit_checkpoint|credit_history_archive)\z/ && !-e $path;
	open my $fh, '<:raw', $path or die "$path: $!\n";
	my $header = <$fh> // die "$path: empty, without a header line\n";
	chomp $header;
	my @header = split /\t/, $header, -1;
	my %wanted = %{ $TYPE_OF{$name} };
	for (@header) { delete $wanted{$_} }
	die "$path: no column " . join(', ', sort keys %wanted) . "\n" if %wanted;
	my $table = { name => $name, path => $path, fh => $fh, header => \@header, rows => 0,
		order => $name eq 'credit_anchor_leaf' ? 'anchor_no' : 'seq' };
	advance($table);
	return $table;
}

# Reads the next row into $table->{next}; undef at the end.
sub advance
{
	my ($table) = @_;
	my $line = readline $table->{fh};
	return $table->{next} = undef unless defined $line;
	$table->{rows}++;
	chomp $line or die "$table->{path} line $.: cut off\n";
	my @text = split /\t/, $line, -1;
	die "$table->{path} row $table->{rows}: " . @text . ' columns instead of ' . @{ $table->{header} } . "\n"
	  if @text != @{ $table->{header} };
	my $row = eval { decode_row($table->{name}, $table->{header}, \@text) };
	die "$table->{path} row $table->{rows}, $@" unless $row;
	return $table->{next} = $row;
}

# The next row if it is this user's, else undef.
sub take
{
	my ($table, $user) = @_;
	my $row = $table->{next};
	return undef unless defined $row && $row->{user_id} eq $user;
	advance($table);
	my ($next, $order) = @$table{qw(next order)};
	die "$table->{path}: not sorted by user_id COLLATE \"C\", $order\n"
	  if $next
	  && ( $next->{user_id} lt $user
		|| $next->{user_id} eq $user && ($next->{$order} // 0) < ($row->{$order} // 0));
	return $row;
}

# The seq of the user's next row.
sub next_seq
{
	my ($table, $user) = @_;
	my $next = $table->{next};
	return $next && $next->{user_id} eq $user ? $next->{seq} : 'inf';
}

#
# The walk
#

# All the user's rows.
sub take_all
{
	my ($table, $user) = @_;
	my @rows;
	while (my $row = take($table, $user)) { push @rows, $row }
	return \@rows;
}

# The archived rows, of the export and of years that were exported before.
sub take_archived
{
	my ($tables, $user) = @_;
	my @rows = map { @{ take_all($_, $user) } } $tables->{credit_history_archive}, @{ $tables->{years} };
	return sort { $a->{seq} <=> $b->{seq} } @rows;
}

# One user: the account row, the history, what tables say of it and the leaves.  Returns
# the first bad seq and what is wrong there, or nothing.
sub verify_user
{
	my ($user, $tables, $plans, $audited, $anchors, $dropped) = @_;
	my ($history, $payments) = @$tables{qw(credit_history credit_payment)};
	my $account = take($tables->{credit_account}, $user);
	my $state = new_state(first_hash($user));
	my ($bad_seq, @bad);
	my @tables = map { take_all($tables->{$_}, $user) } qw(credit_grant credit_hold);
	my %payments;
	my $wrong = sub { my ($seq, @what) = @_; ($bad_seq, @bad) = ($seq, @what) if @what && !@bad };
	my $stray = sub {
		my ($payment) = @_;
		$wrong->($payment->{seq}, "credit_payment '$payment->{payment_ref}' has no purchase row here");
	};

	my (@leaves, %anchored);
	while (my $leaf = take($tables->{credit_anchor_leaf}, $user))
	{
		push @leaves, $leaf;
		$anchored{ $leaf->{seq} } = undef;
	}
	add_leaves($anchors, $user, \@leaves);
	$wrong->(1, 'two credit_account rows') while take($tables->{credit_account}, $user);
	my $checkpoint = take($tables->{credit_checkpoint}, $user);
	my @archived = take_archived($tables, $user);
	my ($complete, $sealed) = (1, !$checkpoint);
	$anchored{ $_->{seq} } = $_->{hash} for grep { exists $anchored{ $_->{seq} } } @archived;
	$wrong->($archived[0]{seq}, 'archived rows without a credit_checkpoint row') if @archived && !$checkpoint;
	if ($checkpoint)
	{
		my $upto = $checkpoint->{history_seq};
		my %paid;
		while (next_seq($payments, $user) <= $upto)
		{
			my $payment = take($payments, $user);
			$paid{ $payment->{seq} } = $payment;
		}
		($complete, my @problem) = check_archived($checkpoint, \@archived, $state, \%paid, $plans, $audited, $dropped);
		$wrong->(@problem);
		$state = checkpoint_state($checkpoint, grep { $_->{seq} == $upto } @archived);
		$wrong->(check_purchases($state->{book}, \%paid));
		%payments = %paid;
		$anchored{$upto} = $checkpoint->{history_hash} if exists $anchored{$upto};
		for my $leaf ($complete ? () : @leaves)
		{
			$anchored{ $leaf->{seq} } //= $leaf->{hash} if $leaf->{seq} < $upto;
		}
	}
	while (my $row = take($history, $user))
	{
		$anchored{ $row->{seq} } = $row->{hash} if exists $anchored{ $row->{seq} };
		next if @bad;
		my ($seq, $expected) = ($row->{seq}, $state->{seq} + 1);
		$stray->(take($payments, $user)) while next_seq($payments, $user) < $seq;
		if ($seq != $expected)
		{
			$wrong->($expected, $seq < $expected ? "row $seq is there twice" : "the row is missing, the next is $seq");
			next;
		}
		my $payment = $row->{kind} =~ /\A(?:purchase|grant)\z/ && next_seq($payments, $user) == $seq ? take($payments, $user) : undef;
		$payments{$seq} = $payment if $payment;
		$stray->($payment) if $payment && $row->{kind} eq 'grant' && !defined $row->{payment_ref};
		my @problems;
		($state, @problems) = check_row($state, $row, $payment, $plans, $audited);
		if ($checkpoint && $row->{kind} eq 'archive' && ($row->{ref_seq} // 0) == $checkpoint->{history_seq})
		{
			$sealed = 1;
			push @problems, 'credit_checkpoint is not the one that was sealed'
			  if checkpoint_digest($checkpoint) ne ($row->{request_digest} // '');
		}
		$wrong->($seq, @problems);
	}
	$wrong->($state->{seq}, 'no row seals credit_checkpoint') unless $sealed;
	%$audited = () unless $complete;
	$wrong->($state->{seq} + 1, "the row is missing, credit_account has history_seq $account->{history_seq}")
	  if $account && $account->{history_seq} > $state->{seq};
	while (my $payment = take($payments, $user)) { $stray->($payment) }
	$wrong->(check_leaves(\@leaves, \%anchored));
	if (!@bad)
	{
		if (!$account) { $wrong->($state->{seq} || 1, 'no credit_account row') }
		elsif ($account->{history_seq} < $state->{seq})
		{
			$wrong->($account->{history_seq} + 1, "credit_account ends before this row");
		}
		else
		{
			$wrong->($state->{seq}, check_account($account, $state, $plans));
			$wrong->(@$_) for check_tables($state->{book}, @tables, \%payments);
		}
	}
	return ($bad_seq, @bad);
}

# The audit log: its chain.  Returns what it says of plans, {plan}{version} =>
# columns, and of users, {user}{action} => [seq]; sets the hashes of the wanted
# rows.
sub verify_audit_log
{
	my ($log, $wanted, $report) = @_;
	my ($seq, $hash, $bad) = (0, first_audit_hash());
	my (%plans, %users, %dropped);
	while (my $row = $log->{next})
	{
		my @problems;
		push @problems, "the row is missing, the next is $row->{seq}" if $row->{seq} != $seq + 1;
		push @problems, 'the hash is not that of the row and the hash before it'
		  if !@problems && $row->{hash} ne audit_hash($hash, $row);
		push @{ $users{ $row->{subject} }{ $row->{action} } }, $row->{seq} if $AUDITED{ $row->{action} };
		$dropped{$1} = 1 if $row->{action} eq 'drop_archive' && $row->{subject} =~ /\Acredit_history_archive_([0-9]+)\z/;
		if ($row->{action} eq 'define_plan')
		{
			my $plan = defined_plan($row);
			push @problems, 'after is not a plan version' unless $plan;
			$plans{ $row->{subject} }{ $plan->{version} } = $plan if $plan;
		}
		$report->('credit_audit_log seq ' . ($seq + 1), @problems) if @problems && !$bad++;
		($seq, $hash) = @$row{qw(seq hash)};
		$wanted->{$seq} = $hash if exists $wanted->{$seq};
		advance($log);
	}
	return (\%plans, \%users, \%dropped);
}

# The plan version that a define_plan row of the audit log made.
sub defined_plan
{
	my ($row) = @_;
	my $plan = eval { JSON::PP->new->utf8->decode($row->{after} // '') };
	return undef unless ref $plan eq 'HASH' && ($plan->{version} // '') =~ /\A[0-9]+\z/;
	$plan->{effective_from} =
	  eval { microseconds(($plan->{effective_from} // '') =~ s/T/ /r =~ s/Z\z/+00/r, 1) };
	return $plan;
}

# The plans' versions against those of the audit log.  Returns them by plan.
sub verify_plans
{
	my ($table, $defined, $report) = @_;
	my %plans;
	while (my $row = $table->{next})
	{
		my $versions = $plans{ $row->{plan} } //= [];
		$report->('credit_plan ' . quoted($row->{plan}) . " version $row->{version}",
			check_plan($row, $versions->[-1], delete $defined->{ $row->{plan} }{ $row->{version} }));
		push @$versions, $row;
		advance($table);
	}
	for my $plan (sort keys %$defined)
	{
		$report->('credit_plan ' . quoted($plan) . " version $_", 'the row is missing, the audit log defines it')
		  for sort { $a <=> $b } keys %{ $defined->{$plan} };
	}
	return \%plans;
}

sub quoted
{
	my ($text) = @_;
	$text =~ s/([\x00-\x1f"\\\x7f])/sprintf '\\x%02x', ord $1/ge;
	return "\"$text\"";
}

# The anchors of files of text, one to a line.
sub read_kept
{
	my @kept;
	for my $path (@_)
	{
		open my $fh, '<', $path or die "$path: $!\n";
		while (my $line = readline $fh)
		{
			next unless $line =~ /\S/;
			push @kept, eval { parse_anchor($line) } // die "$path line $.: $@";
		}
	}
	return \@kept;
}

sub read_anchors
{
	my ($table) = @_;
	my @anchors;
	while (my $row = $table->{next})
	{
		push @anchors, $row;
		advance($table);
	}
	return \@anchors;
}

sub verify
{
	my ($dir, @files) = @_;
	my $bad = 0;
	my $report = sub {
		my ($what, @problems) = @_;
		return unless @problems;
		$bad++;
		my $line = "BAD $what: " . join('; ', @problems);
		$line =~ s/([\x00-\x1f\x7f])/sprintf '\\x%02x', ord $1/ge;
		print "$line\n";
	};
	my %tables = map { ($_ => open_table($dir, $_)) } sort keys %TYPE_OF;
	my $anchors = begin_anchors(read_anchors($tables{credit_anchor}), read_kept(@files));
	my ($defined, $audited, $dropped) = verify_audit_log($tables{credit_audit_log}, $anchors->{wanted} //= {}, $report);
	my $plans = verify_plans($tables{credit_plan}, $defined, $report);

	$tables{years} = [ map { open_table($dir, 'credit_history_archive', m{([^/]+)\.tsv\z}) }
		  sort glob("\"$dir\"/credit_history_archive_*.tsv") ];
	my @by_user = (@tables{qw(credit_account credit_history credit_payment credit_grant credit_hold
	  credit_anchor_leaf credit_checkpoint credit_history_archive)}, @{ $tables{years} });
	while (my @next = sort map { $_->{next} ? $_->{next}{user_id} : () } @by_user)
	{
		my $user = $next[0];
		my ($seq, @problems) = verify_user($user, \%tables, $plans, $audited->{$user} //= {}, $anchors, $dropped);
		$report->('user ' . quoted($user) . " seq $seq", @problems) if @problems;
		delete $audited->{$user} if @problems;
	}
	for my $user (sort keys %$audited)
	{
		my ($seq) = sort { $a <=> $b } map { @$_ } values %{ $audited->{$user} };
		$report->("credit_audit_log seq $seq", 'the history of user ' . quoted($user) . ' has no such row') if $seq;
	}
	check_anchors($anchors, $report);
	my $archived = 0;
	$archived += $_->{rows} // 0 for $tables{credit_history_archive}, @{ $tables{years} };
	printf "%d accounts, %d history rows%s, %d payments, %d plan versions, %d audit rows, %d anchors: %s\n",
	  (map { $tables{"credit_$_"}{rows} } qw(account history)), ($archived ? ", $archived archived" : ''),
	  (map { $tables{"credit_$_"}{rows} } qw(payment plan audit_log anchor)),
	  $bad ? "$bad bad" : 'clean';
	return $bad ? 1 : 0;
}

sub main
{
	if (!@_ || $_[0] =~ /^-/)
	{
		print STDERR "usage: perl credits-verify.pl DIR [FILE...]\nDIR holds the files that export.sql writes, ",
		  "FILE anchors that were kept, one to a line.\n";
		return 2;
	}
	my $status = eval {
		die "this needs a Perl with 64-bit integers\n" if $Config::Config{ivsize} < 8;
		verify(@_);
	};
	return $status if defined $status;
	print STDERR "credits-verify: $@";
	return 2;
}

exit main(@ARGV) unless caller;
1;

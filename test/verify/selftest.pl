#!/usr/bin/perl
#
# Tests credits-verify.pl without a server: the vectors of docs/audit-format.md,
# and the exports in example/ and its neighbours, clean as they are and bad after
# any change.
#
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Spec::Functions qw(rel2abs);
use File::Temp qw(tempdir);
use Test::More;

use lib dirname(__FILE__), dirname(__FILE__) . '/../t/lib';
use AuditOpen;
use CreditsAnchors qw(leaf_preimage leaf_hash tree_root first_anchor_hash anchor_preimage anchor_hash
  parse_anchor);
use CreditsFormat qw(%TYPE_OF @FACTS decode_value decode_row encode_value microseconds first_hash
  history_preimage history_hash first_audit_hash audit_preimage audit_hash);
use SelfTestCases;

my $here = rel2abs(dirname(__FILE__));
require "$here/credits-verify.pl";

my @FILES = qw(credit_plan credit_account credit_history credit_payment credit_grant credit_hold credit_audit_log credit_anchor
  credit_anchor_leaf);
my %header;

# An example export as text: file => [ { column => text } ].
sub example
{
	my ($dir) = @_;
	my %export;
	$dir //= 'example';
	for my $name (@FILES)
	{
		open my $fh, '<:raw', "$here/$dir/$name.tsv" or die "$name: $!";
		my ($first, @lines) = map { [ split /\t/, s/\n\z//r, -1 ] } <$fh>;
		$header{$name} = $first;
		$export{$name} = [ map { my %r; @r{@$first} = @$_; \%r } @lines ];
	}
	return \%export;
}

sub decoded
{
	my ($name, $row) = @_;
	my @header = @{ $header{$name} };
	return decode_row($name, \@header, [ @$row{@header} ]);
}

# Writes an export and verifies it, with files of kept anchors: (exit status, lines).
sub verified
{
	my ($export, @kept) = @_;
	my $dir = tempdir(CLEANUP => 1);
	for my $name (@FILES)
	{
		open my $fh, '>:raw', "$dir/$name.tsv" or die "$name: $!";
		print $fh join("\t", @$_) . "\n"
		  for $header{$name}, map { [ @$_{ @{ $header{$name} } } ] } @{ $export->{$name} };
		close $fh or die "$name: $!";
	}
	my $output = '';
	open my $memory, '>', \$output or die $!;
	my $stdout = select $memory;
	my $status = eval { verify($dir, @kept) } // "died: $@";
	select $stdout;
	return ($status, split /\n/, $output);
}

sub row_of
{
	my ($export, $user, $seq) = @_;
	return (grep { $_->{user_id} eq $user && $_->{seq} == $seq } @{ $export->{credit_history} })[0];
}

sub account_of
{
	my ($export, $user) = @_;
	return (grep { $_->{user_id} eq $user } @{ $export->{credit_account} })[0];
}

# What a forger does who knows the format: makes balances, hashes and the head
# of a user's account follow from the rows.  Balances in $fixed, seq => columns,
# stay as they are.
sub rebuild
{
	my ($export, $user, $fixed) = @_;
	my $hash = first_hash($user);
	my $account = account_of($export, $user);
	my %balance = (monthly => 0, granted => 0, purchased => 0);
	for my $row (grep { $_->{user_id} eq $user } @{ $export->{credit_history} })
	{
		for my $name (keys %balance)
		{
			$balance{$name} = $fixed->{ $row->{seq} }{$name} // $balance{$name} + $row->{"${name}_delta"};
			$row->{$name} = $balance{$name};
		}
		$hash = history_hash($hash, decoded('credit_history', $row));
		$row->{hash} = '\\\\x' . unpack 'H*', $hash;
		$account->{history_hash} = $row->{hash};
		$account->{history_seq} = $row->{seq};
		$account->{$_} = $row->{$_}
		  for qw(monthly granted purchased held_monthly held_granted held_purchased
		  owed_monthly owed_purchased effective_at period next_reset_at);
		next if $row->{status} eq '\N';
		$account->{ $_ eq 'period_start' ? 'last_monthly_reset' : $_ } = $row->{$_} for @FACTS;
	}
	return;
}

sub rebuild_audit_log
{
	my ($export) = @_;
	my $hash = first_audit_hash();
	for my $row (@{ $export->{credit_audit_log} })
	{
		$hash = audit_hash($hash, decoded('credit_audit_log', $row));
		$row->{hash} = '\\\\x' . unpack 'H*', $hash;
	}
	return;
}

# The same forger makes every anchor follow from the leaves, and the leaves from
# the history.
sub rebuild_anchors
{
	my ($export, %other) = @_;
	my ($before, %newest) = (first_anchor_hash());
	my %audit = map { ($_->{seq} => decoded('credit_audit_log', $_)->{hash}) } @{ $export->{credit_audit_log} };
	for my $row (@{ $export->{credit_anchor} })
	{
		my @own = map { decoded('credit_anchor_leaf', $_) }
		  grep { $_->{anchor_no} == $row->{anchor_no} } @{ $export->{credit_anchor_leaf} };
		my @changed = map { leaf_hash(@$_{qw(user_id seq hash)}) } @own;
		@newest{ map { $_->{user_id} } @own } = @changed;
		my %set = (previous_hash => $before, changed_root => tree_root(@changed),
			root => tree_root((map { $newest{$_} } sort keys %newest),
				leaf_hash(undef, $row->{audit_seq}, $audit{ $row->{audit_seq} })));
		$row->{changed} = @changed;
		$row->{accounts} = $other{accounts} // keys %newest;
		$row->{$_} = '\\\\x' . unpack 'H*', $set{$_} for keys %set;
		$row->{hash} = '\\\\x' . unpack 'H*', $before = anchor_hash(decoded('credit_anchor', $row));
	}
	return;
}

# Another value of the same type.
sub changed
{
	my ($type, $text) = @_;
	return { i => 1, t => 'x', z => '2026-01-01 00:00:00+00', l => '2026-01-01 00:00:00',
		b => '\\\\x00', u => '00000000-0000-0000-0000-000000000000', a => '{1,1}', f => 't' }->{$type}
	  if $text eq '\N';
	return $text + 1 if $type eq 'i';
	return $text . 'x' if $type eq 't';
	return $text eq 't' ? 'f' : 't' if $type eq 'f';
	return $text =~ s/(\d+)\}\z/$1 + 1 . '}'/er if $type eq 'a';
	return $text =~ s/(\d\d)(?=\.|\+|\z)/sprintf '%02d', ($1 + 1) % 60/er if $type =~ /[zl]/;
	return $text =~ s/(.)\z/$1 eq '0' ? 1 : 0/er;
}

# The vectors in the documentation.
subtest 'vectors' => sub {
	open my $fh, '<:raw', "$here/../../docs/audit-format.md" or die "docs/audit-format.md: $!";
	my $text = do { local $/; <$fh> };

	my $count = 0;
	while ($text =~ /^\| `([a-z]+)` \| `(.*?)` \| `([0-9a-f ]+)` \|$/mg)
	{
		my ($name, $value, $hex) = ($1, $2, $3);
		my %type = (text => 't', integer => 'i', time => 'z', local => 'l', bytea => 'b',
			uuid => 'u', array => 'a');
		my $decoded = $value eq 'NULL' ? undef : decode_value($type{$name}, $value);
		is(unpack('H*', encode_value($type{$name}, $decoded)),
			$hex =~ tr/ //dr, "$name $value");
		$count++;
	}
	cmp_ok($count, '>=', 12, 'field vectors found');

	my $export = example();
	my %hash;
	$count = 0;
	while ($text =~ /^(history|audit log) (\S+)? ?row (\d+)\npreimage\n([0-9a-f\n]+)sha256\n([0-9a-f]{64})$/mg)
	{
		my ($what, $user, $seq, $preimage, $sha) = ($1, $2, $3, $4 =~ tr/\n//dr, $5);
		my ($got, $stored);
		if ($what eq 'history')
		{
			my $before = $seq == 1 ? first_hash($user)
			  : decoded('credit_history', row_of($export, $user, $seq - 1))->{hash};
			my $row = decoded('credit_history', row_of($export, $user, $seq));
			$got = history_preimage($before, $row);
			$stored = $row->{hash};
		}
		else
		{
			my @rows = map { decoded('credit_audit_log', $_) } @{ $export->{credit_audit_log} };
			$got = audit_preimage(
				$seq == 1 ? first_audit_hash() : $rows[ $seq - 2 ]{hash}, $rows[ $seq - 1 ]);
			$stored = $rows[ $seq - 1 ]{hash};
		}
		my $name = join ' ', grep { defined } $what, $user, $seq;
		is(unpack('H*', $got), $preimage, "$name: preimage");
		is(unpack('H*', Digest::SHA::sha256($got)), $sha, "$name: sha256");
		is(unpack('H*', $stored), $sha, "$name: stored");
		$count++;
	}
	cmp_ok($count, '>=', 5, 'row vectors found');

	$count = 0;
	while ($text =~ /^(leaf|anchor) (?:(.+) row )?(\d+)\npreimage\n([0-9a-f\n]+)sha256\n([0-9a-f]{64})$/mg)
	{
		my ($what, $subject, $number, $preimage, $sha) = ($1, $2, $3, $4 =~ tr/\n//dr, $5);
		my $log = ($subject // '') eq 'audit log';
		my ($row) = map { decoded($_->[0], $_->[1]) }
		    $what eq 'anchor' ? [ 'credit_anchor', $export->{credit_anchor}[ $number - 1 ] ]
		  : $log              ? [ 'credit_audit_log', $export->{credit_audit_log}[ $number - 1 ] ]
		  :                     [ 'credit_history', row_of($export, $subject, $number) ];
		my $got = $what eq 'anchor' ? anchor_preimage($row)
		  : leaf_preimage($log ? undef : $subject, $number, $row->{hash});
		my $name = join ' ', grep { defined } $what, $subject, $number;
		is(unpack('H*', $got), $preimage, "$name: preimage");
		is(unpack('H*', Digest::SHA::sha256($got)), $sha, "$name: sha256");
		is(unpack('H*', $row->{hash}), $sha, "$name: stored") if $what eq 'anchor';
		$count++;
	}
	is($count, 5, 'leaf and anchor vectors found');
};

# A row that has every field, which no ledger has.  It is on the page, and test/unit/chain_test.c
# holds the extension to the same hash.
subtest 'the row with everything' => sub {
	my $counting = pack 'C*', 0 .. 31;
	my $descending = pack 'C*', reverse 224 .. 255;
	my %row = (user_id => "usr_\xc3\xbc", seq => 258, kind => 'deduct', period => 3, plan => 'pro', plan_version => 14,
		scheduled_plan => '', status => 'frozen', time_zone => 'Europe/Berlin', cycle => 'weekly', overdraft_limit => 50,
		period_granted => 500, period_share => 903225, last_left => -40, last_limit => 60, last_undone => 0, low_threshold => 75,
		monthly_delta => -10, granted_delta => -20, purchased_delta => -7, monthly => 1, granted => 2,
		purchased => 9007199254740000, held_monthly => 4, held_granted => 5, held_purchased => 6, owed_monthly => 8,
		owed_purchased => 9, amount => 37, expired => 11, forfeited => 12, skipped => 13, ref_seq => 15,
		allocations => pack('q>*', 3, 25, 7, 10), payment_ref => 'pi_3Q', idempotency_key => '', actor => 'app',
		spender => 'user_9', run_id => substr($descending, 0, 16), request_digest => $counting,
		reason_digest => $descending, metadata_digest => $counting,
		cycle_anchor => microseconds('2026-01-31 10:30:00', 0),
		map { $_->[0] => microseconds("$_->[1]+00", 1) } [ created_at => '2026-02-03 04:05:07' ],
		[ effective_at => '2026-02-03 04:05:06.789012' ], [ next_reset_at => '2026-03-01 00:00:00' ],
		[ ends_at => '1999-12-31 23:59:59' ], [ period_start => '2026-02-01 00:00:00' ]);
	my $preimage = history_preimage($counting, \%row);
	my $sha = Digest::SHA::sha256_hex($preimage);
	open my $fh, '<:raw', "$here/../../docs/audit-format.md" or die "docs/audit-format.md: $!";
	my ($hex, $page) = join('', <$fh>) =~ /^row with everything\npreimage\n([0-9a-f\n]+)sha256\n([0-9a-f]{64})$/m;
	is(unpack('H*', $preimage), ($hex // '') =~ tr/\n//dr, 'the preimage of the page');
	is($sha, $page, 'the hash of the page');
	open $fh, '<:raw', "$here/../unit/chain_test.c" or die "chain_test.c: $!";
	my ($unit) = join('', <$fh>) =~ /"([0-9a-f]{64})",\s*"h\(n\) of a row with everything"/;
	is($sha, $unit, 'the hash of the unit test');
};

# The trees of Certificate Transparency's tests.
subtest 'trees' => sub {
	my @leaves = map { Digest::SHA::sha256("\x00" . pack 'H*', $_) } '', '00', '10', '2021', '3031', '40414243',
	  '5051525354555657', '606162636465666768696a6b6c6d6e6f';
	my @roots = qw(
	  e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
	  6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
	  fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
	  aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
	  d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
	  4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
	  76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
	  ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
	  5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328);
	is(unpack('H*', tree_root(@leaves[ 0 .. $_ - 1 ])), $roots[$_], "$_ leaves") for 0 .. @leaves;
};

# What somebody kept of the example, and what happened to it since.
subtest 'anchors' => sub {
	my $kept = "$here/example/anchors.txt";
	my ($status, @lines) = verified(example(), $kept);
	is("$status @lines", '0 2 accounts, 14 history rows, 2 payments, 3 plan versions, 6 audit rows, 3 anchors: clean',
		'kept anchors');
	my $export = example();
	rebuild_anchors($export);
	is_deeply($export, example(), 'rebuilding changes nothing');

	my $cut = sub {
		my ($export) = @_;
		pop @{ $export->{credit_history} };
		rebuild($export, 'user_2abc');
	};
	my @cases = (
		[ 'rolled back', sub { splice @{ $_[0]{credit_anchor} }, 1; splice @{ $_[0]{credit_anchor_leaf} }, 2 },
			qr/\ABAD kept anchor 2: it is not here, the newest is 1: rolled back.*\nBAD kept anchor 3: it is not here[^\n]*\n[^\n]*\z/ ],
		[ 'a tail cut off', $cut, qr/\ABAD user "user_2abc" seq 12: the row that anchor 2 has is missing\n[^\n]*\z/ ],
		[ 'a tail cut off, and the leaf', sub { $cut->($_[0]); splice @{ $_[0]{credit_anchor_leaf} }, 2, 1;
			rebuild_anchors($_[0]) },
			qr/\ABAD kept anchor 2: another anchor has its number.*; the leaves do not give its root\nBAD kept anchor 3: another[^\n]*\n[^\n]*\z/ ],
		[ 'an account deleted', sub { shift @{ $_[0]{credit_account} }; splice @{ $_[0]{credit_history} }, 0, 2;
			shift @{ $_[0]{credit_payment} } },
			qr/\ABAD user "org_7" seq 2: the row that anchor 1 has is missing\n[^\n]*\z/ ],
		[ 'an anchor deleted', sub { splice @{ $_[0]{credit_anchor} }, 1, 1 },
			qr/BAD credit_anchor 3: anchor 2 is missing.*BAD credit_anchor 2: there are leaves.*BAD kept anchor 2: it is not here, but/s ],
		[ 'an audit row of an anchor changed', sub { $_[0]{credit_audit_log}[5]{actor} = 'x'; rebuild_audit_log($_[0]) },
			qr/\ABAD credit_anchor 2: the audit log has no row 6 with its audit_hash/ ],
		[ 'a leaf moved', sub { $_[0]{credit_anchor_leaf}[2]{anchor_no} = 3 },
			qr/BAD credit_anchor 2: it has 0 leaves.*BAD credit_anchor 3: it has 1 leaves/s ],
		[ 'another row than the one anchored', sub {
				my $row = row_of($_[0], 'user_2abc', 12);
				$row->{created_at} = '2026-03-02 13:00:01+00';
				rebuild($_[0], 'user_2abc');
			}, qr/\ABAD user "user_2abc" seq 12: it is not the row that anchor 2 has\n[^\n]*\z/ ],
		[ 'a count of users', sub {
				rebuild_anchors($_[0], accounts => 3);
			}, qr/\ABAD credit_anchor 1: up to it 2 users have leaves instead of 3/ ],
		[ 'a leaf that goes back', sub { $_[0]{credit_anchor_leaf}[2]{$_} = $_[0]{credit_anchor_leaf}[1]{$_} for qw(seq hash);
			rebuild_anchors($_[0]) },
			qr/\ABAD user "user_2abc" seq 3: anchor 2 has not a later row than anchor 1/ ]);
	for my $case (@cases)
	{
		my ($name, $change, $expected) = @$case;
		my $export = example();
		$change->($export);
		my ($status, @lines) = verified($export, $kept);
		is($status, 1, "$name: exit status");
		like(join("\n", @lines), $expected, $name);
	}

	open my $fh, '<', $kept or die $!;
	my $line = readline $fh;
	close $fh;
	for my $broken ('x', "$line x", $line =~ s/ 2 / 3 /r, $line =~ s/T12/T13/r, $line =~ s/[0-9a-f](?=[0-9a-f]{9} )/0/r,
		substr($line, 0, -9), $line =~ s/anchor-1/anchor-2/r, $line =~ s/T.*?Z//r, uc $line)
	{
		next if $broken eq $line;
		ok(!defined eval { parse_anchor($broken) }, 'no anchor: ' . substr $broken, 0, 60);
	}
	my $dir = tempdir(CLEANUP => 1);
	open $fh, '>', "$dir/kept" or die $!;
	print $fh "$line\nnothing\n";
	close $fh;
	like((verified(example(), "$dir/kept"))[0], qr{^died: .*/kept line 3: not an anchor}, 'a file that has none');
};

subtest 'times' => sub {
	my %expected = (
		'1970-01-01 00:00:00+00' => 0, '1969-12-31 23:59:59.999999+00' => -1,
		'2000-01-01 00:00:00+00' => 946684800000000, '2024-02-29 12:00:00.5+00' => 1709208000500000,
		'infinity' => 9223372036854775807, '-infinity' => -9223372036854775807 - 1,
		'10000-01-01 00:00:00+00' => 253402300800000000, '0001-01-01 00:00:00+00' => -62135596800000000,
		'0001-12-31 00:00:00+00 BC' => -62135683200000000, '4714-11-24 00:00:00+00 BC' => -210866803200000000,
	);
	is(microseconds($_, 1), $expected{$_}, $_) for sort keys %expected;
	for (['2026-01-01 00:00:00+02', 1], ['2026-01-01 00:00:00', 1], ['2026-01-01 00:00:00+00', 0],
		['01.02.2026 00:00:00+00', 1], ['294276-12-31 00:00:00+00', 1], ['2026-01-01T00:00:00+00', 1])
	{
		ok(!defined eval { microseconds(@$_) }, "refused: $_->[0]");
	}
};

subtest 'clean' => sub {
	my ($status, @lines) = verified(example());
	is($status, 0, 'exit status');
	is("@lines", '2 accounts, 14 history rows, 2 payments, 3 plan versions, 6 audit rows, 3 anchors: clean', 'summary');
	my $export = example();
	rebuild($export, $_) for qw(org_7 user_2abc);
	rebuild_audit_log($export);
	is_deeply($export, example(), 'rebuilding changes nothing');
};

# Every value of every row, changed by somebody who does not mend the hashes.
subtest 'any change' => sub {
	my $clean = example();
	for my $name (@FILES)
	{
		for my $i (0 .. $#{ $clean->{$name} })
		{
			for my $column (@{ $header{$name} })
			{
				my $export = example();
				my $row = $export->{$name}[$i];
				my $type = $TYPE_OF{$name}{$column};
				my $seq = $row->{seq} // $row->{history_seq};
				my $subject = quotemeta($row->{user_id} // $row->{subject} // $row->{plan} // $row->{anchor_no});
				# What nobody else knows; and only a lower bound.
				next if $name eq 'credit_plan' && $column eq 'created_at';
				next if $column eq 'next_event_at' && $row->{next_reset_at} eq '\N';
				$row->{$column} = changed($type, $row->{$column});

				my ($status, @lines) = verified($export);
				my $expected = $name eq 'credit_audit_log' ? "credit_audit_log seq $seq"
				  : $name eq 'credit_plan' ? qq{credit_plan "$subject}
				  : $name eq 'credit_anchor' ? qq{credit_anchor (?:$subject|$row->{anchor_no})\\b}
				  : $name eq 'credit_anchor_leaf' ? "(?:credit_anchor $row->{anchor_no}:|user \"$subject\")" : qq{user "$subject"};
				my $named = grep { /^BAD $expected/ } @lines;
				# A change of user_id, seq or order may show at a neighbour.
				$named = 1 if $status =~ /^died: .*not sorted/ && $column =~ /^(?:user_id|seq)$/;
				my $exact = $name !~ /history|payment/ || $column =~ /^(?:user_id|seq)$/
				  || grep { /^BAD user "$subject" seq $seq:/ } @lines;
				ok($status && $named && $exact, "$name row " . ($i + 1) . ", $column")
				  or diag("$status: @lines");
			}
		}
	}
};

subtest 'rows' => sub {
	my $user = qr/^BAD user "user_2abc"/;
	my %case = (
		'a middle row deleted' => [ sub { splice @{ $_[0]{credit_history} }, 5, 1 },
			qr/$user seq 4: the row is missing/ ],
		'the first row deleted' => [ sub { splice @{ $_[0]{credit_history} }, 2, 1 },
			qr/$user seq 1: the row is missing/ ],
		'the last row deleted' => [ sub { pop @{ $_[0]{credit_history} } }, qr/$user seq 12: the row is missing/ ],
		'all rows deleted' => [ sub { splice @{ $_[0]{credit_history} }, 2 }, qr/$user seq 1: / ],
		'a row twice' => [ sub { my $h = $_[0]{credit_history}; splice @$h, 5, 0, { %{ $h->[5] } } },
			qr/$user seq 5: / ],
		'two rows swapped' => [
			sub {
				my ($x, $y) = map { row_of($_[0], 'user_2abc', $_) } 4, 5;
				my %x = %$x;
				%$x = (%$y, seq => 4);
				%$y = (%x, seq => 5);
			}, qr/$user seq 4: / ],
		'a row added' => [
			sub { my $h = $_[0]{credit_history}; push @$h, { %{ $h->[-1] }, seq => 13 } }, qr/$user seq 13: the hash/ ],
		'the account deleted' => [ sub { pop @{ $_[0]{credit_account} } }, qr/$user seq 12: no credit_account row/ ],
		'the account twice' => [ sub { my $a = $_[0]{credit_account}; push @$a, { %{ $a->[-1] } } },
			qr/$user seq 1: two credit_account/ ],
		'a payment deleted' => [ sub { pop @{ $_[0]{credit_payment} } }, qr/$user seq 3: no credit_payment row/ ],
		'a payment twice' => [
			sub { my $p = $_[0]{credit_payment}; push @$p, { %{ $p->[-1] }, payment_ref => 'pi_other' } },
			qr/$user seq 3: credit_payment 'pi_other' has no purchase/ ],
		'a payment added' => [
			sub { my $p = $_[0]{credit_payment}; push @$p, { %{ $p->[-1] }, payment_ref => 'pi_other', seq => 99 } },
			qr/$user seq 99: credit_payment 'pi_other' has no purchase/ ],
		'a payment of nobody' => [
			sub { my $p = $_[0]{credit_payment}; push @$p, { %{ $p->[-1] }, payment_ref => 'pi_other',
				user_id => 'zed' } },
			qr/^BAD user "zed" seq 3: credit_payment 'pi_other'/ ],
		'an audit row deleted' => [ sub { splice @{ $_[0]{credit_audit_log} }, 3, 1 },
			qr/^BAD credit_audit_log seq 4: the row is missing/ ],
		'a plan version too many' => [
			sub { my $p = $_[0]{credit_plan}; push @$p, { %{ $p->[-1] }, version => 3,
				effective_from => '2026-05-01 00:00:00+00' } },
			qr/^BAD credit_plan "pro" version 3: the audit log does not define it/ ],
		'a plan version out of order' => [
			sub {
				$_[0]{credit_plan}[2]{effective_from} = '2025-04-01 00:00:00+00';
				$_[0]{credit_audit_log}[2]{after} =~ s/2026-04-01T/2025-04-01T/;
				rebuild_audit_log($_[0]);
			}, qr/^BAD credit_plan "pro" version 2: effective_from is not after/ ],
		'a negative threshold' => [
			sub {
				$_[0]{credit_plan}[0]{low_balance_threshold} = -1;
				$_[0]{credit_audit_log}[0]{after} =~ s/("low_balance_threshold": )10/$1-1/;
				rebuild_audit_log($_[0]);
			}, qr/^BAD credit_plan "max" version 1: low_balance_threshold is -1$/ ],
		'the last plan version deleted' => [ sub { pop @{ $_[0]{credit_plan} } },
			qr/^BAD credit_plan "pro" version 2: the row is missing/ ],
		'the end of the audit log cut off' => [ sub { splice @{ $_[0]{credit_audit_log} }, 3 },
			qr/$user seq 9: the audit log has no such freeze/ ],
		'an act that was none' => [
			sub { my $l = $_[0]{credit_audit_log}; push @$l, { %{ $l->[-1] }, seq => 7 }; rebuild_audit_log($_[0]) },
			qr/^BAD credit_audit_log seq 7: the history of user "user_2abc" has no such row/ ],
		'a plan version deleted' => [ sub { splice @{ $_[0]{credit_plan} }, 1, 1 },
			qr/^BAD credit_plan "pro" version 2: version 1 is missing/ ],
	);
	for my $name (sort keys %case)
	{
		my $export = example();
		$case{$name}[0]->($export);
		my ($status, @lines) = verified($export);
		is($status, 1, "$name: exit status");
		like($lines[0], $case{$name}[1], $name) or diag("@lines");
	}
};

# A row that sets an overdraft limit, instead of the deduction in row 2.
sub limit
{
	my ($limit) = @_;
	return { kind => 'set_overdraft', amount => 0, monthly_delta => 0, spender => '\N', idempotency_key => '\N',
		(map { ($_ => row_of(example(), 'user_2abc', 1)->{$_}) } @FACTS), overdraft_limit => $limit };
}

# Rows that break a rule while every hash and balance is right.
subtest 'rules' => sub {
	my @cases = (
		[ 'a balance that does not follow', 2, { monthly => 80 }, qr/monthly is 80, not 100 \+ \(-30\)/ ],
		[ 'a purchased balance that does not follow', 6, { purchased => 1000 }, qr/purchased is 1000, not 30/ ],
		[ 'an amount over the cap', 9, { amount => '9007199254740992' }, qr/amount is 9007199254740992/ ],
		[ 'a period that ends before it starts', 6, { kind => 'set_plan', scheduled_plan => '\N',
			period_start => '2026-03-01 00:00:00+00', next_reset_at => '2026-02-20 00:00:00+00' },
			qr/not after period_start/ ],
		[ 'a deduction after the end of the period', 12, { effective_at => '2026-04-15 00:00:00+00' },
			qr/after the end of the period/ ],
		[ 'a version without a plan', 9, { plan => '\N' }, qr/plan without plan_version/ ],
		[ 'an unknown status', 6, { status => 'gone' }, qr/status is 'gone'/ ],
		[ 'facts without a time zone', 9, { time_zone => '\N' }, qr/status without time_zone/ ],
		[ 'a negative limit', 9, { overdraft_limit => -1 }, qr/overdraft_limit is -1/ ],
		[ 'an account opened twice', 6, { kind => 'open' }, qr/had a plan already/ ],
		[ 'an account opened with less', 1, { monthly_delta => 90 }, qr/monthly is 90, not 100$/ ],
		[ 'an account opened with purchased credits', 1, { purchased_delta => 90 }, qr/purchased is 90, not 0/ ],
		[ 'a deduction that gives', 4, { monthly_delta => 10, amount => 10 }, qr/monthly is 80, not 60; purchased is 30, not 50/ ],
		[ 'a debt of monthly credits', 4, { owed_monthly => 1 }, qr/owed_monthly is 1, not 0/ ],
		[ 'a debt over the limit', 4, { 2 => limit(9), 4 => { amount => 160, monthly_delta => -100,
			purchased_delta => -50, owed_purchased => 10 } }, qr/overdraft limit/ ],
		[ 'an adjustment before the debt', 5, { 2 => limit(10), 4 => { amount => 160, monthly_delta => -100,
			purchased_delta => -50, owed_purchased => 10, crossed => 'empty' },
				5 => { monthly_delta => 0, purchased_delta => 7, owed_purchased => 10 } }, qr/purchased is 7, not 0; owed_purchased is 10, not 3/ ],
		[ 'an adjustment into debt', 5, { 2 => limit(10), 4 => { amount => 160, monthly_delta => -100,
			purchased_delta => -50, owed_purchased => 10, crossed => 'empty' },
				5 => { monthly_delta => 0, owed_purchased => 17, amount => -7 } }, qr/purchased is 0, less than was taken/ ],
		[ 'a purchase of nothing', 3, { amount => 0, purchased_delta => 0 }, qr/amount is 0/ ],
		[ 'a purchase without a reference', 3, { payment_ref => '\N' }, qr/no payment_ref/ ],
		[ 'a purchase of monthly credits', 3, { monthly_delta => 5 }, qr/monthly is 75, not 70/ ],
		[ 'a purchase that makes a debt', 3, { purchased_delta => 51, owed_purchased => 1 }, qr/purchased is 51, not 50; owed_purchased is 1, not 0/ ],
		[ 'a plan set for another amount', 6, { kind => 'set_plan', monthly_delta => 5, amount => 3,
			period_granted => 105 }, qr/period_granted is 105, not 100; amount is 3, not 0/ ],
		[ 'a plan set that gives purchased credits', 6, { kind => 'set_plan', purchased_delta => 5 },
			qr/purchased is 35, not 30/ ],
		[ 'a plan scheduled with free credits', 6, { monthly_delta => 5 }, qr/monthly is 12, not 7/ ],
		[ 'a plan change that takes credits', 7, { monthly_delta => -7 }, qr/monthly is 0, not 7/ ],
		[ 'a plan change out of nowhere', 7, { 6 => { scheduled_plan => '\N' } }, qr/no plan change was due/ ],
		[ 'a plan change that stays scheduled', 7, { scheduled_plan => 'max' }, qr/scheduled_plan is max, not NULL/ ],
		[ 'a plan change too early', 7, { effective_at => '2026-02-20 00:00:00+00' },
			qr/not at the end of the period/ ],
		[ 'a plan change to another version', 7, { plan => 'max', plan_version => 2 },
			qr/plan 'max' has no version 2/ ],
		[ 'a plan change to no known plan', 7, { 6 => { scheduled_plan => 'gold' }, 7 => { plan => 'gold' } },
			qr/'gold' has no version 1/ ],
		[ 'a reset of another period', 8, { period_start => '2026-02-27 00:00:00+00' },
			qr/period_start is 1772150400000000, not 1772271000250000/ ],
		[ 'a reset that skipped nothing', 8, { skipped => 1 }, qr/not at the end of the period/ ],
		[ 'a negative reset', 8, { amount => -1, monthly_delta => -3, period_granted => 0 }, qr/amount is -1/ ],
		[ 'a reset without a period', 2, { kind => 'reset', amount => 0, purchased_delta => 0, payment_ref => '\N' },
			qr/no reset was due/, 'org_7' ],
		[ 'an unfreeze that does not', 10, { status => 'frozen' }, qr/status is frozen, not active/ ],
		[ 'credits that expire in a deduction', 2, { expired => 1 }, qr/expired is 1, not 0/ ],
		[ 'a reason without a salt', 2, { text_salt => '\N' }, qr/text_salt is not 16 bytes/ ],
		[ 'a short salt', 2, { text_salt => '\\\\x00' }, qr/text_salt is not 16 bytes/ ],
		[ 'a salt of nothing', 3, { text_salt => '\\\\x00' }, qr/text_salt without a text/ ],
		[ 'a reason and its digest', 2, { reason_digest => '\\\\x00' }, qr/reason with its digest/ ],
		[ 'a deduction that took less', 2, { monthly_delta => -29 }, qr/monthly is 71, not 70/ ],
		[ 'purchased credits spent first', 4, { monthly_delta => -60, purchased_delta => -30 },
			qr/monthly is 10, not 0; purchased is 20, not 30/ ],
		[ 'a negative balance', 4, { monthly_delta => -90, purchased_delta => 0 }, qr/monthly is -20/ ],
		[ 'a negative deduction', 2, { monthly_delta => 30, amount => -30 }, qr/amount is -30/ ],
		[ 'a debt without a limit', 4, { amount => 130, monthly_delta => -70, purchased_delta => -50,
			owed_purchased => 10 }, qr/overdraft limit/ ],
		[ 'credits over the cap', 3, { purchased_delta => '9007199254740991', amount => '9007199254740991' },
			qr/the total 9007199254741061 is above/ ],
		[ 'a purchase that gave more', 3, { purchased_delta => 60 }, qr/purchased is 60, not 50/ ],
		[ 'a purchase of another amount', 3, { purchased_delta => 60, amount => 60 },
			qr/credit_payment has another amount/ ],
		[ 'a purchase of another payment', 3, { payment_ref => 'pi_9' }, qr/credit_payment has another payment_ref/ ],
		[ 'a purchase without a payment', 5, { kind => 'purchase', payment_ref => 'pi_9', monthly_delta => 0,
			purchased_delta => 7 }, qr/no credit_payment row/ ],
		[ 'a payment that is a deduction', 4, { payment_ref => 'pi_9' }, qr/payment_ref in a row of kind deduct/ ],
		[ 'an adjustment without a reason', 5, { reason_digest => '\N' }, qr/no reason/ ],
		[ 'an adjustment of two buckets', 5, { purchased_delta => 7 }, qr/2 buckets changed/ ],
		[ 'an adjustment of another amount', 5, { monthly_delta => 8 }, qr/monthly is 8, not 7/ ],
		[ 'granted credits raised', 5, { granted_delta => 7, monthly_delta => 0 }, qr/granted credits were raised/ ],
		[ 'a plan set with free credits', 6, { kind => 'set_plan', monthly_delta => 5, amount => 5 },
			qr/amount is 5, not 0; monthly is 12, not 7/ ],
		[ 'a plan set with another allowance', 6, { kind => 'set_plan', monthly_delta => 950, amount => 950,
			period_granted => 1050, plan => 'max', scheduled_plan => '\N' }, qr/period_granted is 1050, not 1000; amount is 950, not 900/ ],
		[ 'a plan set down that takes too little', 6, { kind => 'set_plan', plan => '\N', plan_version => '\N',
			scheduled_plan => '\N', monthly_delta => -1, amount => -1, period_granted => 99 },
			qr/period_granted is 99, not 0; amount is -1, not -100; monthly is 6, not 0; owed_monthly is 0, not 93/ ],
		[ 'an account opened with more', 1, { monthly_delta => 101, amount => 101, period_granted => 101 },
			qr/amount is 101, not 100/ ],
		[ 'an account opened with another version', 1, { plan_version => 2 }, qr/plan_version is 2, which was not in force yet/ ],
		[ 'an account opened without an end', 1, { next_reset_at => '\N' }, qr/next_reset_at is NULL, with a plan/ ],
		[ 'an account opened for a year', 1, { next_reset_at => '2027-01-31 10:00:00+00' },
			qr/longer than the cycle 'anniversary' lets it be/ ],
		[ 'a reset that is the last', 8, { next_reset_at => '\N' }, qr/next_reset_at is NULL, with a plan/ ],
		[ 'a plan set that ends at once', 6, { kind => 'set_plan', scheduled_plan => '\N',
			next_reset_at => '2026-02-20 00:00:00+00' }, qr/next_reset_at is 1771545600000000, not 1772271000250000/ ],
		[ 'a plan set that moves the period', 6, { kind => 'set_plan', scheduled_plan => '\N',
			next_reset_at => '2026-03-20 00:00:00+00' }, qr/next_reset_at is 1773964800000000, not 1772271000250000/ ],
		[ 'an account opened for free', 1, { period_granted => 0 }, qr/period_granted is 0, not 100/ ],
		[ 'a plan change nobody scheduled', 7, { plan => 'pro' }, qr/not the scheduled plan/ ],
		[ 'a reset that touches purchased credits', 8, { purchased_delta => 1 }, qr/purchased is 31, not 30/ ],
		[ 'a reset that gave more', 8, { monthly_delta => 1098, amount => 1100, period_granted => 1100 },
			qr/amount is 1100, not 1000/ ],
		[ 'a reset that let more stay', 8, { monthly_delta => 1000, expired => 0 }, qr/expired is 0, not 2; monthly is 1007, not 1005/ ],
		[ 'a reset with other sums', 8, { monthly_delta => 999 }, qr/monthly is 1006, not 1005/ ],
		[ 'a reset that grants twice', 8, { period_granted => 0 }, qr/period_granted is 0, not 1000/ ],
		[ 'a reset that leaves a debt', 8, { owed_monthly => 3 }, qr/owed_monthly is 3/ ],
		[ 'a reset too early', 8, { effective_at => '2026-02-28 09:00:00+00',
			period_start => '2026-02-28 09:00:00+00' }, qr/effective_at is before/ ],
		[ 'a reset too late', 8, { effective_at => '2026-02-28 10:00:00+00',
			period_start => '2026-02-28 10:00:00+00' }, qr/not at the end of the period/ ],
		[ 'a reset by another version', 8, { plan_version => 2 }, qr/'max' has no version 2/ ],
		[ 'a freeze that does not', 9, { status => 'active' }, qr/status is active, not frozen/ ],
		[ 'a freeze that takes credits', 9, { monthly_delta => -5 }, qr/monthly is 1000, not 1005/ ],
		[ 'a deduction while frozen', 10, { kind => 'deduct', status => '\N', monthly_delta => -1, amount => 1,
				map { ($_ => '\N') } grep { $_ !~ /\A(?:plan_version|status)\z/ } @FACTS },
					qr/was frozen/ ],
		[ 'a clock repair that grants', 11, { monthly_delta => 5 }, qr/monthly is 1010, not 1005/ ],
		[ 'time going back', 12, { effective_at => '2026-03-02 11:00:00+00' }, qr/effective_at is before/ ],
		[ 'a moved period', 12, { next_reset_at => '2026-05-01 00:00:00+00' }, qr/next_reset_at is 1777593600000000, not 1774945800250000/ ],
		[ 'held credits out of nowhere', 12, { held_monthly => 1 }, qr/held_monthly is 1, not 0/ ],
		[ 'facts without a status', 12, { time_zone => 'UTC' }, qr/time_zone without status/ ],
		[ 'a changed overdraft limit', 10, { overdraft_limit => 100 }, qr/overdraft_limit is 100, not 0/ ],
		[ 'a changed version', 12, { plan_version => 2 }, qr/plan_version is 2, not 1/ ],
		[ 'a key used twice', 4, { idempotency_key => 'req-1' }, qr/key was used before/ ],
		[ 'a reference to the future', 4, { ref_seq => 5 }, qr/ref_seq is 5/ ],
		[ 'an unknown kind', 4, { kind => 'gift' }, qr/unknown kind 'gift'/ ],
		[ 'no opening row', 1, { kind => 'adjust' }, qr/the first row is of kind 'adjust'/ ],
		[ 'an opening row without facts', 1, { status => '\N' }, qr/no status/ ],
	);
	for my $case (@cases)
	{
		my ($name, $seq, $changes, $problem, $user) = @$case;
		my $export = example();
		$user //= 'user_2abc';
		$changes = { $seq => $changes } unless ref((values %$changes)[0]);
		for my $at (keys %$changes)
		{
			my $row = row_of($export, $user, $at);
			%$row = (%$row, %{ $changes->{$at} });
		}
		rebuild($export, $user, $changes);
		my ($status, @lines) = verified($export);
		is($status, 1, "$name: exit status");
		like($lines[0], qr/^BAD user "$user" seq $seq: .*$problem/, $name) or diag("@lines");
	}
};

# Each column of the tables beside the history is checked.
sub are_checked
{
	my ($dir) = @_;
	my $clean = example($dir);
	for my $name (qw(credit_account credit_payment credit_grant credit_hold))
	{
		for my $i (0 .. $#{ $clean->{$name} })
		{
			for my $column (@{ $header{$name} })
			{
				my $export = example($dir);
				my $row = $export->{$name}[$i];
				my $user = quotemeta $row->{user_id};
				# Only a lower bound, and none where the boundary has no row.
				next if $column eq 'next_event_at' && ($row->{$column} eq '\N'
					|| "@$row{qw(plan scheduled_plan monthly owed_monthly held_monthly)}" eq '\N \N 0 0 0');
				$row->{$column} = changed($TYPE_OF{$name}{$column}, $row->{$column});
				my ($status, @lines) = verified($export);
				ok($status && ($status =~ /not sorted/ || grep { /^BAD user "$user/ } @lines), "$name row " . ($i + 1) . ", $column")
				  or diag("$status: @lines");
			}
		}
	}
	return;
}

# Grants, holds, refunds and chargebacks: whatever the tables say otherwise, and
# rows that break a rule while every hash and balance is right.
subtest 'holds' => sub {
	my $user = 'user_holds';
	my ($status, @lines) = verified(example('example-holds'));
	is($status, 0, 'clean') or diag("@lines");
	my $clean = example('example-holds');
	rebuild($clean, $user);
	is_deeply($clean, example('example-holds'), 'rebuilding changes nothing');
	are_checked('example-holds');
	for my $name (qw(credit_grant credit_hold))
	{
		my $export = example('example-holds');
		pop @{ $export->{$name} };
		($status, @lines) = verified($export);
		like($lines[0], qr/^BAD user "$user" seq (?:38|40): $name has no row of it/, "$name: a row deleted");
		$export = example('example-holds');
		push @{ $export->{$name} }, { %{ $export->{$name}[-1] }, seq => 41 };
		($status, @lines) = verified($export);
		like($lines[0], qr/^BAD user "$user" seq 41: $name has a row that no/, "$name: a row added");
	}

	my %seq;
	push @{ $seq{ $_->{kind} } }, $_->{seq} for @{ $clean->{credit_history} };
	my $expand = sub { return $_[0] =~ s/:\{(\w+) (\d+)\}/$seq{$1}[$2 - 1] \/\/ die "no $1 $2"/ger };
	for my $name (sort keys %OPEN_FORGERY)
	{
		my ($at, $changes) = @{ $OPEN_FORGERY{$name} };
		my $export = example('example-holds');
		my $row = row_of($export, $user, $expand->($at));
		$row->{$_} = $expand->($changes->{$_}) for keys %$changes;
		rebuild($export, $user);
		($status, @lines) = verified($export);
		like($lines[0], qr/^BAD user "$user" seq $row->{seq}: (?!the hash)/, $name) or diag("@lines");
	}
};

# Periods, restarts, what is remembered, paid grants and closed accounts; levels.
for ([ 'example-periods', \%PERIOD_FORGERY ], [ 'example-payments', \%PAYMENT_FORGERY ], [ 'example-levels', \%LEVEL_FORGERY ])
{
	my ($dir, $forgeries) = @$_;
	subtest $dir => sub {
		my ($status, @lines) = verified(example($dir));
		is($status, 0, 'clean') or diag("@lines");
		my $clean = example($dir);
		rebuild($clean, $_->{user_id}) for @{ $clean->{credit_account} };
		is_deeply($clean, example($dir), 'rebuilding changes nothing');
		are_checked($dir);
		for my $name (sort keys %$forgeries)
		{
			my ($user, $seq) = $name =~ /\A(\w+) (\d+): /;
			my $export = example($dir);
			my $row = row_of($export, $user, $seq);
			%$row = (%$row, %{ $forgeries->{$name} });
			rebuild($export, $user);
			($status, @lines) = verified($export);
			like($lines[0], qr/^BAD user "$user" seq $seq: (?!the hash)/, $name) or diag("@lines");
		}
	};
}

# The threshold of a plan's version, where the audit log was made to say the same.
subtest 'another threshold' => sub {
	for my $case ([ 31, 'a_line', 2, 'crossed is NULL, not low' ], [ 29, 'a_line', 19, undef ])
	{
		my ($threshold, $user, $seq, $problem) = @$case;
		my $export = example('example-levels');
		my ($plan) = grep { $_->{plan} eq 'low' && $_->{version} == 1 } @{ $export->{credit_plan} };
		$plan->{low_balance_threshold} = $threshold;
		$export->{credit_audit_log}[0]{after} =~ s/("low_balance_threshold": )30/$1$threshold/;
		rebuild_audit_log($export);
		my ($status, @lines) = verified($export);
		my $expected = defined $problem ? qr{^BAD user "$user" seq $seq: $problem$} : qr{^BAD user "d_import" seq 6: credit_account has plan_threshold 30, the history $threshold$};
		ok((grep { $_ =~ $expected } @lines), "the threshold was $threshold") or diag("@lines");
	}
};

subtest 'what cannot be read' => sub {
	my $dir = tempdir(CLEANUP => 1);
	my @run = ($^X, "$here/credits-verify.pl");
	is(system("@run 2>/dev/null >&2") >> 8, 2, 'no directory given');
	is(system("@run $dir 2>/dev/null >&2") >> 8, 2, 'an empty directory');
	is(system("@run $here/example >/dev/null") >> 8, 0, 'the example');
	for my $case (['credit_history', 'effective_at', '2026-01-01 00:00:00+02'], ['credit_history', 'seq', 'x'],
		['credit_history', 'amount', '9223372036854775808'], ['credit_history', 'hash', 'abc'],
		['credit_history', 'allocations', '{}'], ['credit_history', 'reason', '\q'])
	{
		my ($name, $column, $value) = @$case;
		my $export = example();
		$export->{$name}[0]{$column} = $value;
		my ($status) = verified($export);
		like($status, qr/^died: .*$name\.tsv row 1, column $column/, "$column $value");
	}
	my $export = example();
	@{ $export->{credit_history} } = reverse @{ $export->{credit_history} };
	like((verified($export))[0], qr/not sorted/, 'an unsorted file');
	local $header{credit_history} = [ grep { $_ ne 'amount' } @{ $header{credit_history} } ];
	like((verified($export))[0], qr/no column amount/, 'a missing column');
};

done_testing();

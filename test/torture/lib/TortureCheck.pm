# What happened, against what the clients sent and were told: every account is
# replayed from its exported history.  Shares nothing with the product.
package TortureCheck;

use strict;
use warnings FATAL => 'all';

use parent qw(TortureRows TortureBulkRows TortureRules TortureLevels);

use List::Util qw(max);
use TortureRows qw(@numbers %event %kind_of differs instant time_of);
use TortureLevels qw(@of_levels);
use TortureRules qw(@facts @of_closings);

# A flat JSON object, as a hash.
sub flat
{
	my ($text) = @_;
	my %value;

	while ($text =~ /"(\w+)": (?:"((?:[^"\\]|\\.)*)"|(-?\d+|true|false)|null)/g)
	{
		$value{$1} = $2 // $3;
	}
	return \%value;
}

# jumping: the ledger's clock jumped, so that one call may have seen an event that
# the next one, with the clock before, did not.  forgetful: the server crashed, so
# what was only read, or an error, may be from a row that the crash forgot: a
# sweep's, which does not wait for the disk, or with early lock release one that
# nobody was told of.  retention: how long archiving keeps keys.
sub new
{
	my ($class, $dir, %opt) = @_;

	return bless {
		%opt, dir => $dir, ops => {}, tx => {}, problems => [], stats => {}, told => {}, asked => {},
		seen => {}, groups => {}, keys => {}, purchases => {}, last => {}, retention => $opt{retention} // '90d', bulk => {}, runs => {},
		erases => {}, by_key => {}, anonymous => {} }, $class;
}

sub bad
{
	my ($self, $what) = @_;

	push @{ $self->{problems} }, $what;
	return;
}

# --- The journals.

sub read_journal
{
	my ($self, $file) = @_;
	my ($ops, $tx) = @$self{qw(ops tx)};

	open my $in, '<', $file or die "$file: $!";
	while (my $line = <$in>)
	{
		# The last line of a client that was killed.
		last if $line !~ /\n\z/;
		chomp $line;
		my ($what, $id, @column) = split /\t/, $line, -1;

		if ($what eq 'S')
		{
			my %op = (id => $id, end => 9e99);

			@op{qw(tx start call user key args)} = @column;
			$ops->{$id} = \%op;
		}
		elsif ($what eq 'R') { @{ $ops->{$id} }{qw(end state text)} = @column; }
		elsif ($what eq 'N') { $ops->{$id}{end} = $column[0]; }
		elsif ($what eq 'U') { $ops->{$id}{undone} = 1; }
		elsif ($what eq 'C') { $tx->{$id}{sent} = $column[1]; }
		elsif ($what eq 'P') { $tx->{$id}{prepared} = 1; }
		elsif ($what eq 'X') { @{ $tx->{$id} }{qw(end outcome)} = @column; }
		elsif ($what =~ /^[BE]$/) { $self->bulk_line($what, $id, @column); }
		elsif ($what eq 'L') { $self->bad("$id: was prepared, and is gone"); }
		else { die "$file: $line"; }
	}
	close $in or die "$file: $!";
	return;
}

# What a replay has to ask the same.
sub request
{
	my ($op) = @_;
	my $call = $op->{call} =~ /deduct/ ? 'deduct' : $op->{call};

	return "$call " . join ';', grep { !/^(?:spender|meta)=/ } split /;/, $op->{args};
}

# What calls may be answered here.
my %explained = map { ($_ => 1) } qw(00000 22003 22023 40001 40P01 53100 53200 55000 55P03 57014
  UC001 UC002 UC003 UC004 UC005 UC006 UC010 UC011);

# Whether each call must be in the history (yes, no), or may be (with all of its
# transaction), and from when on others saw it.
sub judge
{
	my ($self) = @_;

	for my $op (values %{ $self->{ops} })
	{
		my $alone = $op->{tx} eq '-';
		my $tx = $alone ? {} : $self->{tx}{ $op->{tx} } // {};
		my $outcome = $alone ? (defined $op->{state} ? 'commit' : 'unknown') : $tx->{outcome} // ($tx->{sent} ? 'unknown' : 'rollback');

		$op->{receipt} = flat($op->{text}) if defined $op->{state} && $op->{state} eq '00000';
		my $said = $op->{receipt} // {};
		my $fresh = ($said->{ok} // '') eq 'true' && ($op->{call} eq 'erase' || ($said->{replayed} // '') eq 'false');
		$self->bad("$op->{id}: a receipt that is none: $op->{text}")
		  if $op->{receipt} && $op->{call} ne 'balance' && ($said->{ok} // '') !~ /^(?:true|false)$/;
		$op->{fate} =
		    $op->{undone} || $outcome eq 'rollback' || (defined $op->{state} && !$fresh) || $op->{call} eq 'balance' ? 'no'
		  : $outcome eq 'unknown' ? 'maybe'
		  : defined $op->{state} ? 'yes'
		  :                        'no';
		$op->{seen_from} = $outcome ne 'commit' ? 9e99 : $alone ? $op->{end} : $tx->{end};
		push @{ $self->{groups}{ $op->{tx} } }, $op if $op->{fate} eq 'maybe' && !$alone;
		$self->{stats}{"must be there"}++ if $op->{fate} eq 'yes';
		$self->{stats}{"may be there"}++ if $op->{fate} eq 'maybe';
		push @{ $self->{by_key}{"$op->{user} $op->{key}"} }, $op if $op->{key} ne '' && $op->{fate} ne 'no';
		push @{ $self->{erases}{ $op->{user} } }, $op if $op->{call} eq 'erase';

		$self->bad("$op->{id} $op->{call} $op->{user}: $op->{state}, which nothing explains: $op->{text}")
		  if defined $op->{state} && !$explained{ $op->{state} };

		# What was answered to something that went away again proves nothing.
		next if $op->{undone} || $outcome eq 'rollback' || !defined $op->{state} || ($outcome eq 'unknown' && !$fresh);
		if ($op->{receipt} && $op->{call} !~ /^(?:balance|erase)$/ && $op->{receipt}{ok} eq 'true')
		{
			my $receipt = $op->{receipt};

			push @{ $self->{told}{ $receipt->{user_id} }{ $receipt->{seq} } }, $op;
			$self->bad("$op->{id}: the receipt is another user's: $receipt->{user_id}")
			  if $receipt->{user_id} ne $op->{user} && $op->{call} ne 'revoke' && $op->{call} ne 'purchase';
		}
		elsif ($alone)
		{
			push @{ $self->{asked}{ $op->{user} } }, $op;
		}
	}
	return;
}

# --- The history.

sub read_table
{
	my ($self, $name, $each) = @_;

	open my $in, '<', "$self->{dir}/$name.tsv" or die "$self->{dir}/$name.tsv: $!";
	my $head = <$in>;
	chomp $head;
	my @columns = split /\t/, $head;
	while (my $line = <$in>)
	{
		chomp $line;
		my %row;

		@row{@columns} = map { $_ eq '\\N' ? undef : $_ } split /\t/, $line, -1;
		$each->(\%row);
	}
	close $in or die "$self->{dir}/$name.tsv: $!";
	return;
}

sub row
{
	my ($self, $state, $row) = @_;
	my $where = "$row->{user_id} $row->{seq}";
	my $kind = $row->{kind};

	$self->{stats}{rows}++;
	$self->bad("$where: seq after $state->{seq}") if $row->{seq} != $state->{seq} + 1;
	$state->{facts} = { %$state{@numbers, qw(plan plan_version period_granted)}, at => $state->{latest_row} ? instant($state->{latest_row}{effective_at}) : '' };
	$state->{targets}{ $row->{seq} } = $row if $kind eq 'reset';
	$row->{undoes} = ($state->{targets}{ $row->{ref_seq} // 0 } // {})->{kind} // '' if $kind eq 'undo';
	$self->conserves($where, $row, $state) or return;
	$state->{seq} = $row->{seq};
	if (defined $row->{status})
	{
		$state->{planned} = $row->{seq} if grep { differs($state->{$_}, $row->{$_}) } qw(plan plan_version period_granted);
		$state->{$_} = $row->{$_} for @facts;
	}
	$state->{closed} = 1 if $kind eq 'close';
	$self->passes_level($where, $row, $state);

	my $op = $self->source($where, $row, $state);
	$self->in_order($where, $op, $state) if $op;
	for my $told (@{ delete $self->{told}{ $row->{user_id} }{ $row->{seq} } // [] })
	{
		$self->receipt($where, $row, $told, $op) unless $told->{fate} eq 'maybe' && (!$op || $op != $told);
	}
	push @{ $state->{rows} }, {
		seq => $row->{seq}, kind => $kind, start => $op ? $op->{start} : 0, seen_from => $op ? $op->{seen_from} : 9e99,
		key => $row->{idempotency_key}, (map { ($_ => $row->{$_}) } qw(archived erased texts created_at)),
		status => $state->{status}, at => instant($row->{effective_at}),
		sum => join ' ', @$row{qw(monthly granted purchased)}, $self->sums($row) };
	$state->{latest_row} = $row;
	$state->{ends}{ instant($_) } = 1 for grep { defined } @$row{qw(ends_at next_reset_at)};
	return;
}

# Whose call it was.
sub source
{
	my ($self, $where, $row, $state) = @_;
	my $kind = $row->{kind};
	my $key = $row->{idempotency_key};
	my $op;

	if (defined $key && $key ne '')
	{
		my $known = $self->{keys}{ $row->{user_id} }{$key};

		# What was archived by then is forgotten.
		$self->bad("$where: the key $key a second time") if $known && $known->{seq} > $state->{archived};
		$row->{again} = 1 if $known;
		$self->{keys}{ $row->{user_id} }{$key} = $row;
	}
	my ($bulk, $is_of_run) = $self->of_run($where, $row, $state);
	return $bulk if $is_of_run;
	if ($event{$kind} || ($kind eq 'open' && !defined $row->{reason}))
	{
		$self->bad("$where: an event with a reason or a key") if $event{$kind} && (defined $row->{reason} || defined $key);
		push @{ $state->{opens} }, $row if $kind eq 'open';
		return;
	}
	if (!defined $row->{reason})
	{
		return $self->bad("$where: a $kind that no client sent") if $row->{erased} ne 't';
		$op = $self->source_of_erased($row);
		if (!$op)
		{
			push @{ $self->{anonymous}{ $row->{user_id} }{$kind} }, $row;
			return;
		}
	}
	$op //= $self->{ops}{ $row->{reason} } or return $self->bad("$where: a $kind of $row->{reason}, which no client sent");
	$self->bad("$where: $op->{id} was " . ($op->{undone} ? 'undone' : $op->{state} // 'never committed') . ', and is in the history')
	  if $op->{fate} eq 'no';
	$self->bad("$where: $op->{id} a second time") if $self->{seen}{"$op->{id} $kind"}++;
	$self->{stats}{'came true'}++ if $op->{fate} eq 'maybe' && $kind ne 'transfer_in';
	$row->{op} = $op;
	$self->as_asked($where, $row, $op, $state);
	return $op;
}

# The same of a row whose reason is erased: by who was told that it is theirs, or by
# its key.
sub source_of_erased
{
	my ($self, $row) = @_;
	my $user = $row->{user_id};
	my ($told) = grep { $_->{call} ne 'open' && $_->{receipt}{replayed} eq 'false' } @{ $self->{told}{$user}{ $row->{seq} } // [] };
	my $key = $row->{idempotency_key};

	return $told if $told || !defined $key;
	my @ops = grep { !$self->{seen}{"$_->{id} $row->{kind}"} && $_->{call} ne 'open' } @{ $self->{by_key}{"$user $key"} // [] };
	return (sort { ($b->{fate} eq 'yes') <=> ($a->{fate} eq 'yes') } @ops)[0];
}

# Is a call's row of a kind there?  One whose reason is erased, and that nothing else
# tells of, is taken for it.
sub is_there
{
	my ($self, $op, $kind) = @_;
	my $args = TortureRows::arguments($op);
	my $rows = $self->{anonymous}{ $kind eq 'transfer_in' ? $args->{to} : $op->{user} }{$kind} // [];
	my @said = (
		[ amount => $self->{transfers}{ $op->{id} } // $args->{amount} ], [ ref_seq => $args->{hold} // $args->{seq} ],
		[ payment_ref => $args->{ref} ], [ spender => $kind eq 'transfer_in' ? $op->{user} : undef ]);

	return 1 if $self->{seen}{"$op->{id} $kind"};
	for my $i (0 .. $#$rows)
	{
		my $row = $rows->[$i];

		next if grep { defined $_->[1] && $_->[1] ne '' && differs($_->[1], $row->{ $_->[0] }) } @said;
		splice @$rows, $i, 1;
		$self->{seen}{"$op->{id} $kind"} = 1;
		return 1;
	}
	return 0;
}

# The kinds of rows that a call may have.
sub kinds
{
	my ($op) = @_;

	return qw(transfer_out transfer_in) if $op->{call} eq 'transfer';
	return $op->{receipt} ? $op->{receipt}{kind} : TortureRows::arguments($op)->{at} ? 'schedule_plan' : 'set_plan' if $op->{call} eq 'set_plan';
	return $kind_of{ $op->{call} } // ();
}

# A call that had ended before another began comes before it.
sub in_order
{
	my ($self, $where, $op, $state) = @_;

	$self->bad("$where: $op->{id} ended before $state->{latest_id} began, which is before it in the history")
	  if $op->{end} < $state->{latest};
	@$state{qw(latest latest_id)} = ($op->{start}, $op->{id}) if $op->{start} > $state->{latest};
	return;
}

# A receipt, fresh or replayed, against its row.
sub receipt
{
	my ($self, $where, $row, $told, $op) = @_;
	my $receipt = $told->{receipt};

	return $self->archived_receipt($where, $row, $told) if $receipt->{archived};
	my ($held, $owed) = $self->sums($row);
	my %expected = (
		%$row{qw(user_id seq kind amount monthly granted purchased monthly_delta granted_delta purchased_delta ref_seq
		  payment_ref spender)},
		ok => 'true', held => $held, owed => $owed, owed_monthly => $row->{owed_monthly} || undef,
		recently_purchased => $row->{kind} eq 'transfer_out' ? TortureRows::noted($row, -8) : undef, available => $row->{monthly} + $row->{granted} + $row->{purchased},
		replayed => $receipt->{replayed}, crossed => $row->{crossed}, expired => $row->{expired} || undef, forfeited => $row->{forfeited} || undef,
		(map { ($_ => time_of($row->{$_})) } qw(created_at effective_at ends_at next_reset_at)),
		defined $row->{status} ? %$row{qw(plan status time_zone scheduled_plan overdraft_limit)} : ());
	my @wrong = grep { (defined $receipt->{$_} ? "=$receipt->{$_}" : '') ne (defined $expected{$_} ? "=$expected{$_}" : '') }
	  sort keys %{ { %expected, %$receipt } };

	$self->{stats}{receipts}++;
	$self->bad("$where: $told->{id} was told " . join ', ', map { "$_ " . ($receipt->{$_} // 'nothing') . ' and it is ' . ($expected{$_} // 'nothing') } @wrong)
	  if @wrong;
	if ($receipt->{replayed} eq 'true')
	{
		my $asked = request($told);

		$self->{stats}{replays}++;
		if ($op && !$op->{arg})
		{
			$self->bad("$where: $told->{id} is a replay of $op->{id}, which had asked for another thing: " . request($op))
			  if $asked ne request($op) && !($told->{call} eq 'revoke' && $asked !~ /amount/ && ($told->{key} eq '' || $told->{key} ne $op->{key}));
			$self->bad("$where: $told->{id} is a replay of $op->{id}, which began later") if $op->{start} > $told->{end};
		}
	}
	elsif ($told->{call} eq 'open')
	{
		$row->{opened_by}++;
		$self->bad("$where: opened twice") if $row->{opened_by} > 1;
	}
	elsif (!$op || $op != $told)
	{
		$self->bad("$where: $told->{id} was told that it wrote this, and it is " . ($op ? "$op->{id}'s" : 'an event'));
	}
	return;
}

# What is left to answer of a row that was archived.
sub archived_receipt
{
	my ($self, $where, $row, $told) = @_;
	my $receipt = $told->{receipt};
	my %expected = (%$row{qw(user_id seq kind amount)}, replayed => 'true');

	@expected{qw(kind amount)} = ('revoke', $receipt->{amount}) if $told->{call} eq 'revoke';
	@expected{qw(kind amount)} = ('open', undef) if $told->{call} eq 'open';
	$expected{payment_ref} = $row->{payment_ref} if $told->{call} ne 'open';
	@expected{qw(plan time_zone)} = @$row{qw(plan time_zone)} if $told->{call} eq 'open';
	$self->{stats}{'archived receipts'}++;
	$self->bad("$where: $told->{id} was told that it is archived") if $row->{archived} ne 't';
	for my $field (sort keys %expected)
	{
		$self->bad("$where: $told->{id} was told of the archived row $field " . ($receipt->{$field} // 'nothing'))
		  if differs($receipt->{$field}, $expected{$field});
	}
	return;
}

# --- What was read, and why calls were refused.

# The first row that a read had to see, and the last that it could have.
sub window
{
	my ($self, $state, $op) = @_;
	my $rows = $state->{rows};

	if (!$state->{by_end})
	{
		my $seq = 0;
		my @by_end = map { [ $_->{seen_from}, $seq = max($seq, $_->{seq}) ] } sort { $a->{seen_from} <=> $b->{seen_from} } @$rows;
		my $last = @$rows + 1;
		my @by_start = reverse map { [ $_->{start}, $last = $_->{seq} < $last ? $_->{seq} : $last ] }
		  sort { $b->{start} <=> $a->{start} } grep { $_->{start} } @$rows;

		@$state{qw(by_end by_start)} = (\@by_end, \@by_start);
	}
	my $first = before($state->{by_end}, $op->{start});
	my $after = before($state->{by_start}, $op->{end}) + 1;

	return (
		$first < 0 ? 0 : $state->{by_end}[$first][1],
		$after > $#{ $state->{by_start} } ? scalar @$rows : $state->{by_start}[$after][1] - 1);
}

# The last of a sorted list whose time is before.
sub before
{
	my ($list, $time) = @_;
	my ($low, $high) = (-1, $#$list);

	while ($low < $high)
	{
		my $middle = int(($low + $high + 2) / 2) ;

		if ($list->[$middle][0] < $time) { $low = $middle; }
		else { $high = $middle - 1; }
	}
	return $low;
}

sub asked
{
	my ($self, $state) = @_;
	my $rows = $state->{rows};

	for my $op (@{ delete $self->{asked}{ $state->{user} } // [] })
	{
		my $error = $op->{state} eq '00000' ? '' : $op->{state};
		my $said = $op->{receipt} // ($op->{text} =~ /^\{/ ? flat($op->{text}) : {});
		my ($first, $last) = $self->window($state, $op);
		my @possible = map { $_ == 0 ? { sum => '0 0 0 0 0', status => 'active', kind => '' } : $rows->[ $_ - 1 ] } $first .. $last;
		my $where = "$op->{id} $op->{call} $op->{user}";

		# Of a batch that failed as a whole, one item says why.
		next if ($self->{forgetful} && !defined $said->{ok}) || ($op->{call} eq 'deduct_many' && $error);
		# What was due and not written yet shows as if it were.
		for (my $i = $last ; $i < @$rows && $event{ $rows->[$i]{kind} } ; $i++) { push @possible, $rows->[$i]; }
		if ($op->{call} eq 'balance' && !$error)
		{
			$self->{stats}{reads}++;
			$self->bad("$where: sees seq $said->{seq}, it should be from $first to $last")
			  if $said->{seq} < $first || $said->{seq} > $last;
		}
		if (($op->{call} eq 'balance' && !$error) || ($said->{error} // '') eq 'insufficient_credits')
		{
			$self->{stats}{refusals}++ if $op->{call} ne 'balance';
			if (defined $said->{bucket})
			{
				my $place = { monthly => 0, granted => 1, purchased => 2 }->{ $said->{bucket} };

				@possible = grep { (split / /, $_->{sum})[$place] == $said->{available} } @possible;
			}
			else
			{
				my $sum = join ' ', @$said{qw(monthly granted purchased held owed)};

				@possible = grep { $_->{sum} eq $sum } @possible;
			}
			# Something ended between the row that it saw and its own time.
			my $since = defined $said->{as_of} && $said->{seq} > 0 && $rows->[ $said->{seq} - 1 ];
			my $due = $since && grep { $_ gt $since->{at} && $_ le instant($said->{as_of}) } keys %{ $state->{ends} };

			$self->bad("$where: saw what was not there from $first to $last: $op->{text}") if !@possible && !$due && !$self->{jumping};
			$self->bad("$where: refused, though there is enough: $op->{text}")
			  if defined $said->{required} && $said->{required} <= $said->{available};
		}
		elsif ($error eq 'UC002' || ($said->{error} // '') eq 'account_not_found')
		{
			$self->bad("$where: no account, though it had $first rows") if $first > 0 && ($said->{user_id} // '') eq $op->{user};
		}
		elsif ($error eq 'UC004')
		{
			$self->bad("$where: refused as frozen, and was not")
			  if ($said->{user_id} // '') eq $op->{user} && !grep { $_->{status} ne 'active' } @possible;
		}
		elsif ($error eq 'UC003' && $said->{idempotency_key})
		{
			my $row = $self->{keys}{ $op->{user} }{ $said->{idempotency_key} };

			if (!$row) { $self->bad("$where: a conflict of the key $op->{key}, which nothing has"); }
			elsif ($row->{op} && !$row->{again} && request($row->{op}) eq request($op)) { $self->bad("$where: a conflict of the key $op->{key} with the same request"); }
			$self->{stats}{conflicts}++;
		}
	}
	return;
}

# A user's whole history has been read.
sub finish
{
	my ($self, $state) = @_;

	$self->{last}{ $state->{user} } = {
		%{ $state->{latest_row} // {} }, %$state{@facts}, %$state{ @of_closings, @of_levels, 'closed_seq' } };
	push @{ $self->{finished} }, $state;
	$self->finish_bulk($state);
	return;
}

sub check
{
	my ($self) = @_;
	my ($ops, $state) = ($self->{ops});

	$self->read_journal($_) for glob "$self->{dir}/client_*.log";
	$self->read_runs;
	$self->read_table('erasure', sub { $self->{erasures}{ $_[0]{user_id} } = $_[0]{rows} });
	$self->judge;
	$self->judge_bulk;
	$self->read_table('history', sub {
		my ($row) = @_;

		if (!$state || $state->{user} ne $row->{user_id})
		{
			$self->finish($state) if $state;
			$state = TortureRows::nothing($row->{user_id});
		}
		$self->row($state, $row);
	});
	$self->finish($state) if $state;
	$self->asked($_) for @{ $self->{finished} };

	# Acknowledged, and not there.
	for my $op (values %$ops)
	{
		next if $op->{fate} ne 'yes' || $op->{call} =~ /^(?:open|erase)$/;
		$self->bad("$op->{id} $op->{call} $op->{user} was acknowledged, and is not in the history") if grep { !$self->is_there($op, $_) } kinds($op);
	}
	for my $user (sort keys %{ $self->{told} })
	{
		for my $seq (sort keys %{ $self->{told}{$user} })
		{
			for my $op (grep { $_->{fate} ne 'maybe' } @{ $self->{told}{$user}{$seq} })
			{
				$self->bad("$op->{id} was told of $user $seq, which is not in the history");
			}
		}
	}
	for my $op (map { @$_ } values %{ $self->{asked} })
	{
		my $needs = $op->{call} eq 'balance' ? qr/^00000/ : $op->{call} eq 'deduct_many' ? qr/^(?!)/ : qr/^UC00[14]/;

		next if $op->{state} !~ $needs;
		$self->bad("$op->{id} $op->{call} $op->{user}: answered from an account without a history");
	}

	# All of a transaction or nothing.
	for my $tx (sort keys %{ $self->{groups} })
	{
		my @ops = grep { $_->{call} !~ /^(?:open|erase)$/ } @{ $self->{groups}{$tx} };
		my @seen = grep { my $op = $_; !grep { !$self->is_there($op, $_) } kinds($op) } @ops;

		$self->bad("$tx: of its " . @ops . ' calls, ' . @seen . ' are in the history') if @seen && @seen < @ops;
	}

	# Of what is erased, all that may be there has been looked for.
	for my $op (grep { $_->{fate} eq 'maybe' && $_->{tx} eq '-' && $_->{call} !~ /^(?:open|erase)$/ } values %$ops)
	{
		$self->is_there($op, $_) for kinds($op);
	}
	for my $row (map { map { @$_ } values %$_ } values %{ $self->{anonymous} })
	{
		$self->bad("$row->{user_id} $row->{seq}: a $row->{kind}, erased, that no client sent");
	}
	$self->finish_runs;
	$self->grants;
	$self->lots;
	$self->bad("$_: the audit log says erased, and there is no history") for sort keys %{ $self->{erasures} };

	# What has been refused or is new under a key was not done under it before.
	for my $op (values %$ops)
	{
		next if $op->{key} eq '' || ($op->{state} // '') !~ /^UC0(?:01|04)$/ || $op->{tx} ne '-';
		my $row = $self->{keys}{ $op->{user} }{ $op->{key} } or next;
		my $done = $row->{op} or next;

		next if $row->{archived} eq 't' || $row->{again};
		$self->bad("$op->{id}: refused under the key $op->{key}, under which $done->{id} had been done") if $done->{end} < $op->{start};
	}
	$self->tables;
	return @{ $self->{problems} };
}

# The account and payment tables against the last rows.
sub tables
{
	my ($self) = @_;
	my ($last, $purchases) = @$self{qw(last purchases)};

	$self->read_table('account', sub {
		my ($account) = @_;
		my $row = delete $last->{ $account->{user_id} } or return $self->bad("$account->{user_id}: an account without a history");

		for my $column (@numbers, qw(seq effective_at next_reset_at period hash closed_seq), @of_closings, @of_levels, @facts)
		{
			$self->bad("$account->{user_id}: $column is " . ($account->{$column} // 'NULL') . ', and in its last row ' . ($row->{$column} // 'NULL'))
			  if differs($account->{$column}, $row->{$column});
		}
		$self->{stats}{accounts}++;
		return;
	});
	$self->bad("$_: a history without an account") for sort keys %$last;
	$self->read_table('payment', sub {
		my ($payment) = @_;
		my $row = delete $purchases->{ $payment->{payment_ref} } or return $self->bad("$payment->{payment_ref}: a payment without a purchase");

		for my $column (qw(user_id seq kind amount revoked reported))
		{
			$self->bad("$payment->{payment_ref}: $column is $payment->{$column}, and in the history $row->{$column}")
			  if differs($payment->{$column}, $row->{$column});
		}
		return;
	});
	$self->bad("$_: a purchase without a payment") for sort keys %$purchases;
	return;
}

1;

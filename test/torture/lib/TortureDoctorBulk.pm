# The doctored cases of calls for many accounts, of archives and of erasing; what they
# need, TortureBulk::begin_bulk has put into every seed.
package TortureDoctorBulk;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use TortureDoctor ();

our @EXPORT_OK = qw(@bulk_cases);

*some = \&TortureDoctor::some;
*append = \&TortureDoctor::append;
*match = \&TortureDoctor::match;

# The calls of the beginning: [B …] and [E …].
sub called
{
	my ($case, $call, $nth) = @_;
	my ($sent) = (grep { $_->[0] eq 'B' && $_->[4] eq $call && $_->[1] =~ /^b0_/ } @{ $case->{journal} })[$nth];

	return ($sent, TortureDoctor::line($case, 'E', $sent->[1]));
}

# The first row of a kind that one of these calls has written.
sub written
{
	my ($case, $kind, $also) = @_;

	return some($case, sub { $_[0]{kind} eq $kind && $_[0]{run_id} ne '\\N' && $_[0]{user_id} =~ /^(?:bulk|import)_/ && (!$also || $also->($_[0])) }, "$kind of a run");
}

sub run_of { my ($case, $row) = @_; return (grep { $_->{run_id} eq $row->{run_id} } @{ $case->{run} })[0]; }

# Drop a row at the end of a user's history.
sub drop_last
{
	my ($case, $row) = @_;

	@{ $case->{history} } = grep { $_ != $row } @{ $case->{history} };
	match($case, $row->{user_id});
	return;
}

our @bulk_cases = (
	'a run grants twice' => qr/grants a second time/, sub { append($_[0], { %{ written($_[0], 'grant') } }) },
	'two runs grant under one key' => qr/the key known_many a second time/, sub {
		my ($case) = @_;
		my $row = written($case, 'grant', sub { $_[0]{idempotency_key} eq 'known_many' });

		append($case, { %$row, run_id => (grep { $_->{kind} eq 'grant' && $_->{run_id} ne $row->{run_id} } @{ $case->{run} })[0]{run_id} });
	},
	'half a batch' => qr/has done \d+ accounts, and counts \d+: not whole batches/, sub {
		my ($case) = @_;

		run_of($case, written($case, 'grant'))->{accounts}++;
	},
	'half a batch of an import' => qr/an? import: has done|, import: has done/, sub { run_of($_[0], written($_[0], 'import'))->{accounts}-- },
	'a run counts other credits than it gave' => qr/gave \d+, and counts \d+/, sub { run_of($_[0], written($_[0], 'grant'))->{granted}++ },
	'a run that nobody runs' => qr/is running, and nobody runs it/, sub { $_[0]{run}[0]{state} = 'running' },
	'a run is gone' => qr/its run \S+ is not there/, sub {
		my ($case) = @_;
		my $run = run_of($case, written($case, 'grant'));

		@{ $case->{run} } = grep { $_ != $run } @{ $case->{run} };
	},
	'a run reports more than it did' => qr/reports accounts \d+, its run has/, sub { (called($_[0], 'grant_many', 0))[1][4] =~ s/"accounts": \d+/"accounts": 77/ },
	'a run fails of what nothing explains' => qr/failed with XX000, which nothing explains/, sub {
		@{ $_[0]{run}[0] }{qw(failed failures)} = ('hot_0 XX000', 1);
	},
	'a user is left out' => qr/left bulk_2 out/, sub {
		my ($case) = @_;
		my $row = some($case, sub { $_[0]{user_id} eq 'bulk_2' && $_[0]{idempotency_key} eq 'known_many' }, 'grant of bulk_2');

		@$row{qw(idempotency_key)} = ('\\N');
		run_of($case, $row)->{accounts}--;
		@$row{qw(run_id)} = ('\\N');
	},
	'a run grants another amount' => qr/asked for \d+, this is/, sub { (called($_[0], 'grant_many', 0))[0][6] =~ s/bulk_0:5/bulk_0:4/ },
	'a run grants to who was not named' => qr/grants to who was not named: bulk_1/, sub { $_->[6] =~ s/bulk_1:/bulk_11:/ for (called($_[0], 'grant_many', 0))[0] },
	'a run grants until another time' => qr/asked for another end/, sub { written($_[0], 'grant')->{ends_at} =~ s/^\d/9/ },
	'a bulk row that nobody sent' => qr/a grant of 77_7, which no client sent/, sub { written($_[0], 'grant')->{reason} = '77_7' },
	'a bulk call that was rolled back' => qr/was rolled back, (?:and is in the history|the run)/, sub {
		my ($sent) = called($_[0], 'grant_many', 0);

		$sent->[2] = 't77_1';
	},
	'a row by a run of another kind' => qr/a grant by a run of kind undo/, sub {
		my ($case) = @_;

		written($case, 'grant')->{run_id} = written($case, 'undo')->{run_id};
	},
	'an undo without a run' => qr/a row of kind undo without a run/, sub { written($_[0], 'undo')->{run_id} = '\\N' },
	'undone twice' => qr/is undone a second time/, sub {
		my ($case) = @_;

		append($case, { %{ written($case, 'undo', sub { $_[0]{user_id} eq 'bulk_0' }) } });
	},
	'an undo of another run' => qr/undoes the run \S+, this was of/, sub { (called($_[0], 'undo_run', 0))[0][6] =~ s/run=\w{4}/run=0000/ },
	'an undo that takes more than was given' => qr/more goes than came/, sub { written($_[0], 'undo', sub { $_[0]{user_id} eq 'bulk_0' })->{amount} = -1000 },
	'an undo of another bucket' => qr/undoing a grant changes another bucket/, sub { written($_[0], 'undo', sub { $_[0]{user_id} eq 'bulk_0' })->{purchased_delta} = -1 },
	'an undo that leaves a grant' => qr/left the grant bulk_0 \d+ as it was/, sub {
		my ($case) = @_;
		my $undo = written($case, 'undo', sub { $_[0]{user_id} eq 'bulk_0' });

		@$undo{qw(kind run_id)} = ('freeze', '\\N');
		(called($case, 'undo_run', 1))[1][3] = '57014';
	},
	'a grant that was undone and has credits' => qr/was undone, and has \d+ left/, sub {
		my ($case) = @_;
		my $undo = written($case, 'undo', sub { $_[0]{user_id} eq 'bulk_0' });

		(grep { $_->{user_id} eq 'bulk_0' && $_->{seq} == $undo->{ref_seq} } @{ $case->{grant} })[0]{remaining} = 4;
	},
	'grants that are not the balance' => qr/has \d+ granted, its grants/, sub { $_[0]{grant}[-1]{remaining}++ },
	'a plan applied by another version' => qr/another version was in force|this version already/, sub { written($_[0], 'set_plan')->{plan_version} = 1 },
	'a plan that gives more' => qr/applying it changes the account by/, sub { (grep { $_->{plan} eq 'bulk' && $_->{version} == 2 } @{ $_[0]{plan} })[0]{monthly_credits}-- },
	'imported twice' => qr/imported a second time/, sub {
		my ($case) = @_;

		append($case, { %{ written($case, 'import', sub { $_[0]{user_id} ne 'import_3' }) } });
	},
	'imported and not as the source says' => qr/the source never said so/, sub {
		my $row = written($_[0], 'import');

		$row->{$_} += 500 for qw(purchased purchased_delta);
	},
	'an old row twice' => qr/the old row old \d+ \d+, after/, sub {
		my ($case) = @_;

		append($case, { %{ written($case, 'imported', sub { $_[0]{reason} =~ / 1$/ }) } });
	},
	'an old row of another amount' => qr/the old row \d+ is of/, sub { written($_[0], 'imported')->{amount}++ },
	'archived, and in the history' => qr/was archived, and is not in the archive/, sub { some($_[0], sub { $_[0]{archived} eq 't' }, 'archived row')->{archived} = 'f' },
	'in the archive by itself' => qr/is in the archive, and was not archived/, sub { some($_[0], sub { $_[0]{archived} eq 'f' }, 'row')->{archived} = 't' },
	'an archived row is lost' => qr/seq after/, sub {
		my ($case) = @_;
		my $row = some($case, sub { $_[0]{archived} eq 't' }, 'archived row');

		@{ $case->{history} } = grep { $_ != $row } @{ $case->{history} };
	},
	'archived without an anchor' => qr/which no anchor has/, sub {
		my ($case) = @_;
		my $row = some($case, sub { $_[0]{kind} eq 'archive' }, 'archive');

		@{ $case->{leaf} } = grep { $_->{user_id} ne $row->{user_id} } @{ $case->{leaf} };
	},
	'a key is archived too early' => qr/archives a key that is kept longer/, sub {
		my ($case) = @_;
		my $row = some($case, sub { $_[0]{archived} eq 't' && $_[0]{user_id} eq 'bulk_4' }, 'archived row');

		$row->{idempotency_key} = 'young';
		$case->{retention} = '90d';
	},
	'erased, and the text is there' => qr/was erased, and has texts or a salt/, sub { some($_[0], sub { $_[0]{erased} eq 't' }, 'erased row')->{texts} = 't' },
	'not erased' => qr/erased the user later, and it has texts/, sub {
		@{ some($_[0], sub { $_[0]{erased} eq 't' && $_[0]{user_id} eq 'bulk_5' }, 'erased row') }{qw(erased texts)} = qw(f t);
	},
	'another user is erased, too' => qr/was erased, and nobody had asked for that/, sub {
		@{ some($_[0], sub { $_[0]{user_id} eq 'bulk_4' && $_[0]{texts} eq 't' }, 'row') }{qw(erased texts)} = qw(t f);
	},
	'a receipt of another number of erased rows' => qr/rows are erased, the receipts say/, sub { (TortureDoctor::answered($_[0], 'erase'))[1][4] =~ s/"rows": \d+/"rows": 99/ },
	'an audit log of another number' => qr/rows are erased, the audit log says/, sub { $_[0]{erasure}[0]{rows}++ },
	'an erased row that nobody sent' => qr/erased, that no client sent/, sub {
		my ($case) = @_;
		my $row = { %{ some($case, sub { $_[0]{user_id} eq 'bulk_5' && $_[0]{erased} eq 't' && $_[0]{kind} eq 'deduct' }, 'erased deduction') } };

		append($case, $row);
	},
	'other metadata' => qr/this is other metadata/, sub { some($_[0], sub { $_[0]{meta} eq '7' && $_[0]{user_id} eq 'bulk_4' }, 'metadata')->{meta} = 8 });

1;

# Anchors and their leaves, as docs/audit-format.md describes them: Merkle trees,
# and what an anchor that somebody kept says of an export.
package CreditsAnchors;

use strict;
use warnings;
use Digest::SHA qw(sha256);
use Exporter qw(import);
use CreditsFormat qw(encode_value microseconds first_audit_hash);

our @EXPORT_OK = qw(leaf_preimage leaf_hash tree_root first_anchor_hash anchor_preimage
  anchor_hash parse_anchor begin_anchors check_leaves add_leaves check_anchors);

#
# Trees.  Built leaf by leaf; kept are complete subtrees, [leaves, hash], each
# larger than the next.
#

sub join_trees { my ($left, $right) = @_; return [ $left->[0] + $right->[0], sha256("\x01$left->[1]$right->[1]") ] }

sub add_leaf
{
	my ($tree, $leaf) = @_;
	push @$tree, [ 1, $leaf ];
	while (@$tree > 1 && $tree->[-1][0] == $tree->[-2][0])
	{
		my $right = pop @$tree;
		$tree->[-1] = join_trees($tree->[-1], $right);
	}
	return;
}

sub root_of
{
	my @trees = @{ $_[0] };
	return sha256('') unless @trees;
	while (@trees > 1)
	{
		my $right = pop @trees;
		$trees[-1] = join_trees($trees[-1], $right);
	}
	return $trees[0][1];
}

sub tree_root
{
	my @tree;
	add_leaf(\@tree, $_) for @_;
	return root_of(\@tree);
}

# A user's row; of the audit log's the user is undef.
sub leaf_preimage
{
	my ($user, $seq, $hash) = @_;
	return "\x00" . encode_value('t', $user) . encode_value('i', $seq) . encode_value('b', $hash);
}

sub leaf_hash { sha256(leaf_preimage(@_)) }

#
# Anchors
#

my @NUMBERS = qw(accounts changed audit_seq);

sub first_anchor_hash { sha256('credits-n0') }

sub anchor_preimage
{
	my ($anchor) = @_;
	return
		'credits-n1'
	  . $anchor->{previous_hash}
	  . join('', map { encode_value('i', $anchor->{$_}) } qw(anchor_no created_at), @NUMBERS)
	  . join('', map { encode_value('b', $anchor->{$_}) } qw(root changed_root));
}

sub anchor_hash { sha256(anchor_preimage(@_)) }

# The anchor of a line of text; dies if it is none, or not whole.
sub parse_anchor
{
	my ($text) = @_;
	my ($tag, $no, $at, @words) = split ' ', $text;
	die "not an anchor\n" unless ($tag // '') eq 'credits-anchor-1' && @words == 7;
	my %anchor;
	@anchor{ 'anchor_no', @NUMBERS } = map { /\A[0-9]{1,18}\z/ ? 0 + $_ : die "'$_' is not a number\n" } $no,
	  splice @words, 0, 3;
	$at =~ s/\A([0-9-]+)T([0-9:.]+)Z\z/$1 $2+00/ or die "'$at' is not a time in UTC\n";
	$anchor{created_at} = microseconds($at, 1);
	for my $name (qw(root changed_root previous_hash hash))
	{
		my $hex = shift @words;
		die "'$hex' is not a hash\n" unless $hex =~ /\A[0-9a-f]{64}\z/;
		$anchor{$name} = pack 'H*', $hex;
	}
	die "its words do not give its hash\n" if anchor_hash(\%anchor) ne $anchor{hash};
	return \%anchor;
}

#
# The anchors of an export
#

# Takes the stored anchors and the kept ones.  Besides, {wanted} has the seq of
# each audit row whose hash is asked for.
sub begin_anchors
{
	my ($stored, $kept) = @_;
	my %anchors = (list => $stored, kept => $kept, newest => [], strays => {});
	for my $anchor (@$stored)
	{
		$anchors{by_no}{ $anchor->{anchor_no} } //= $anchor;
		$anchors{wanted}{ $anchor->{audit_seq} } = undef;
		@$anchor{qw(tree leaves users)} = ([], 0, 0);
	}
	$_->{tree} = [] for @$kept;
	return \%anchors;
}

# A user's leaves against the hashes of the user's rows with their seq, one
# problem at most: (seq, what).
sub check_leaves
{
	my ($leaves, $hashes) = @_;
	my $before;
	for my $leaf (@$leaves)
	{
		my ($no, $seq) = @$leaf{qw(anchor_no seq)};
		return ($seq, "anchor $no has not a later row than anchor $before->{anchor_no}")
		  if $before && $seq <= $before->{seq};
		return ($seq, "the row that anchor $no has is missing") unless defined $hashes->{$seq};
		return ($seq, "it is not the row that anchor $no has") if $hashes->{$seq} ne $leaf->{hash};
		$before = $leaf;
	}
	return;
}

# A user's leaves go into the trees.  Users come in order.
sub add_leaves
{
	my ($anchors, $user, $leaves) = @_;
	my $first = 1;
	for my $leaf (@$leaves)
	{
		$leaf->{leaf} = leaf_hash($user, @$leaf{qw(seq hash)});
		my $anchor = $anchors->{by_no}{ $leaf->{anchor_no} };
		if (!$anchor) { $anchors->{strays}{ $leaf->{anchor_no} }++; next }
		$anchor->{users}++ if $first;
		$first = 0;
		$anchor->{leaves}++;
		add_leaf($anchor->{tree}, $leaf->{leaf});
	}
	add_leaf($anchors->{newest}, $leaves->[-1]{leaf}) if @$leaves;
	for my $kept (@{ $anchors->{kept} })
	{
		my @upto = grep { $_->{anchor_no} <= $kept->{anchor_no} } @$leaves;
		add_leaf($kept->{tree}, $upto[-1]{leaf}) if @upto;
	}
	return;
}

sub gives_root
{
	my ($tree, $anchor, $audit_hash) = @_;
	add_leaf($tree, leaf_hash(undef, $anchor->{audit_seq}, $audit_hash));
	return root_of($tree) eq $anchor->{root};
}

# All leaves have been added: the anchors themselves.
sub check_anchors
{
	my ($anchors, $report) = @_;
	my @list = @{ $anchors->{list} };
	my ($no, $hash, $audit_seq, $users, $bad) = (0, first_anchor_hash(), 0, 0, 0);
	for my $anchor (@list)
	{
		my @problems;
		if ($anchor->{anchor_no} != $no + 1) { push @problems, 'anchor ' . ($no + 1) . ' is missing' }
		elsif ($anchor->{previous_hash} ne $hash)
		{
			push @problems, 'previous_hash is not the hash of the anchor before';
		}
		push @problems, 'the hash is not that of the anchor' if $anchor->{hash} ne anchor_hash($anchor);
		push @problems, 'the audit log is shorter than in the anchor before' if $anchor->{audit_seq} < $audit_seq;
		@problems = () if @problems && $bad++;
		my $audit_hash =
		  $anchor->{audit_seq} == 0 ? first_audit_hash() : $anchors->{wanted}{ $anchor->{audit_seq} };
		push @problems, "the audit log has no row $anchor->{audit_seq} with its audit_hash"
		  if ($audit_hash // '') ne $anchor->{audit_hash};
		$users += $anchor->{users};
		push @problems, "it has $anchor->{leaves} leaves instead of $anchor->{changed}"
		  if $anchor->{leaves} != $anchor->{changed};
		push @problems, 'its leaves do not give its changed_root'
		  if root_of($anchor->{tree}) ne $anchor->{changed_root};
		push @problems, "up to it $users users have leaves instead of $anchor->{accounts}"
		  if $users != $anchor->{accounts};
		push @problems, 'the leaves do not give its root'
		  if $anchor == $list[-1] && !gives_root($anchors->{newest}, $anchor, $anchor->{audit_hash});
		$report->("credit_anchor $anchor->{anchor_no}", @problems) if @problems;
		($no, $hash, $audit_seq, $users) = @$anchor{qw(anchor_no hash audit_seq accounts)};
	}
	$report->("credit_anchor $_", "there are leaves of this anchor, and it is missing")
	  for sort { $a <=> $b } keys %{ $anchors->{strays} };

	for my $kept (@{ $anchors->{kept} })
	{
		my $stored = $anchors->{by_no}{ $kept->{anchor_no} };
		my @problems =
		    !$stored && $kept->{anchor_no} > $no ? "it is not here, the newest is $no: rolled back to before it"
		  : !$stored                             ? 'it is not here, but later ones are'
		  : $stored->{hash} ne $kept->{hash}     ? 'another anchor has its number: forked or rewritten'
		  :                                        ();
		push @problems, 'the leaves do not give its root'
		  if $stored && !gives_root($kept->{tree}, $kept, $stored->{audit_hash});
		$report->("kept anchor $kept->{anchor_no}", @problems) if @problems;
	}
	return;
}

1;

# The pictures in docs/: each is XML that a browser reads, says in words what it
# shows, is readable on light and dark pages, needs nothing from elsewhere, and
# is shown by a page.  They are one family: all have the same style.
use strict;
use warnings FATAL => 'all';

use File::Find;
use File::Spec;
use FindBin;
use Test::More;

use constant MAX_BYTES => 15_000;

my $root = File::Spec->canonpath("$FindBin::RealBin/../..");

sub read_text
{
	my ($file) = @_;

	open my $fh, '<:encoding(UTF-8)', $file or die "$file: $!";
	local $/;
	return scalar <$fh>;
}

sub files
{
	my ($pattern, @folders) = @_;
	my @found;

	find(sub { push @found, $File::Find::name if /$pattern/ }, @folders);
	return sort @found;
}

# What keeps a text from being well-formed XML, as far as our pictures use it: no
# DOCTYPE, CDATA or processing instructions.
sub malformed
{
	my ($text) = @_;
	my (@open, $roots);

	for ($text)
	{
		while (!/\G\s*\z/gc)
		{
			if (/\G<!--(?:(?!--).)*-->/gcs)	{ next }
			if (/\G<(\w+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/gc)
			{
				my ($name, $attributes, $empty) = ($1, $2, $3);
				my %seen;

				$seen{$_}++ && return "$_ twice in <$name>" for $attributes =~ /([\w:-]+)="/g;
				return "two roots" if !@open && $roots++;
				return "a bare & in <$name>"
				  if $attributes =~ /&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)/;
				push @open, $name unless $empty;
			}
			elsif (/\G<\/(\w+)\s*>/gc)
			{
				my $open = pop @open // 'nothing';
				return "</$1> ends <$open>" if $open ne $1;
			}
			elsif (/\G([^<]+)/gc)
			{
				return "text outside" if !@open;
				return "a bare & in a text"
				  if $1 =~ /&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)/;
			}
			else
			{
				return 'no XML at: ' . substr($_, pos // 0, 40);
			}
		}
	}
	return @open ? "<$open[-1]> has no end" : $roots ? undef : 'empty';
}

sub says
{
	my ($text, $element) = @_;

	return scalar($text =~ /<$element id="$element">[^<]{10,}<\/$element>/);
}

# What a picture would fetch or run.
sub foreign
{
	my ($text) = @_;

	$text =~ s/ xmlns="http:\/\/www\.w3\.org\/2000\/svg"//;
	return $text =~ m{(\w+://|//\w|\@import|\@font-face|<(?:script|image|foreignObject|use|a)\b|\bhref=|\bon\w+=|\bdata:|\burl\((?!#))} ? $1 : undef;
}

# Which pictures the pages show, and which page shows one that is not there, or
# says nothing in its place.
my %pictures = map { $_ => read_text($_) } files(qr/\.svg$/, "$root/docs");
my (%shown, @broken);
for my $page ("$root/README.md", files(qr/\.md$/, "$root/docs"))
{
	my ($volume, $folder) = File::Spec->splitpath($page);
	my $text = read_text($page);

	while ($text =~ /!\[([^\]]*)\]\(([^)\s]+\.svg)\)/g)
	{
		my ($words, $link) = ($1, $2);
		my $file = File::Spec->canonpath("$folder/$link");

		$shown{$file} = 1;
		push @broken, "$page: $link" unless $pictures{$file} && length($words) > 10;
	}
}

cmp_ok(scalar(keys %pictures), '>', 0, 'there are pictures');
is_deeply(\@broken, [], 'each picture that a page shows is there, and has words for its place');

my %styles;
for my $file (sort keys %pictures)
{
	my $text = $pictures{$file};
	my ($style) = $text =~ /<style>(.*?)<\/style>/s;
	my $name = File::Spec->abs2rel($file, $root);

	$styles{ $style // '' }{$name} = 1;
	is(malformed($text), undef, "$name is well-formed");
	ok(says($text, 'title') && says($text, 'desc'), "$name has a title and a description");
	like($text, qr/\A<svg [^>]*viewBox="[^>]*role="img" aria-labelledby="title desc">/,
		"$name is an image with that name, and scales");
	like($style // '', qr/\@media \(prefers-color-scheme: dark\)\s*\{\s*:root\s*\{/,
		"$name has colours for dark pages");
	unlike($text =~ s/<style>.*?<\/style>//sr, qr/#[0-9a-fA-F]{3,8}\b|\b(?:style|fill|stroke|color)="/,
		"$name has no colour of its own");
	is(foreign($text), undef, "$name needs nothing from elsewhere");
	cmp_ok(-s $file, '<', MAX_BYTES, "$name is small");
	ok($shown{$file}, "$name is shown by a page");
}
# The picture of the layers has the folders of src/, and names files that are there.
my ($layers) = map { $pictures{$_} } grep { /\blayers\.svg$/ } sort keys %pictures;
my %folder = map { (File::Spec->splitdir($_))[-1] => $_ } grep { -d } glob("$root/src/*");
my %drawn = ($layers // '') =~ /<g id="(\w+)"[^>]*>(.*?)<\/g>/gs;
my @absent;
for my $name (sort keys %drawn)
{
	my $words = join ' ', $drawn{$name} =~ /<text class="soft"[^>]*>([^<]*)</g;

	push @absent, map { "$name/$_" }
	  grep { my $file = "$root/src/$name/$_"; !-e $file && !-e "$file.c" && !-e "$file.h" } $words =~ /[\w.]+/g;
}
is_deeply([ sort keys %drawn ], [ sort keys %folder ], 'the picture of the layers has the folders of src/');
is_deeply(\@absent, [], 'and names no file that is not there');

is(scalar(keys %styles), 1, 'the pictures have one style')
  or diag(join "\n", map { join ', ', sort keys %$_ } values %styles);

done_testing();

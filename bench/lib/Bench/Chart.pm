# The chart: an SVG of panels with horizontal bars, the median, and a line
# from the slowest to the fastest round.
package Bench::Chart;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(chart);

my ($panel_width, $row, $label_width, $columns) = (560, 20, 240, 2);

sub escape
{
	my $text = shift;
	$text =~ s/&/&amp;/g;
	$text =~ s/</&lt;/g;
	$text =~ s/>/&gt;/g;
	return $text;
}

sub number
{
	my $n = sprintf($_[0] < 10 ? '%.2f' : $_[0] < 100 ? '%.1f' : '%.0f', $_[0]);
	1 while $n =~ s/^(\d+)(\d{3})/$1,$2/;
	return $n;
}

# chart(TITLE, NOTE, PANELS): PANELS are { title, bars => [ { label, ours,
# median, min, max } ] }.
sub chart
{
	my ($title, $note, @panels) = @_;
	my @lines;
	my ($top, $width) = (88, $columns * $panel_width + 20);
	for (my $first = 0; $first < @panels; $first += $columns)
	{
		my $height = 0;
		for my $column (0 .. $columns - 1)
		{
			my $panel = $panels[ $first + $column ] or last;
			my $x = 10 + $column * $panel_width;
			my $y = $top;
			my $most = 0;
			for (@{ $panel->{bars} }) { $most = $_->{max} if $_->{max} > $most }
			my $scale = ($panel_width - $label_width - 85) / ($most || 1);
			push @lines, sprintf('<text x="%d" y="%d" class="panel">%s</text>', $x, $y, escape($panel->{title}));
			for my $bar (@{ $panel->{bars} })
			{
				$y += $row;
				my $left = $x + $label_width;
				my $length = $bar->{median} * $scale;
				push @lines,
				  sprintf('<text x="%d" y="%d" text-anchor="end">%s</text>', $left - 6, $y, escape($bar->{label})),
				  sprintf('<rect x="%d" y="%d" width="%.1f" height="13" class="%s"/>',
					$left, $y - 11, $length, $bar->{ours} ? 'ours' : 'other'),
				  sprintf('<path d="M%.1f %dH%.1f" class="range"/>',
					$left + $bar->{min} * $scale, $y - 4, $left + $bar->{max} * $scale),
				  sprintf('<text x="%.1f" y="%d">%s</text>',
					$left + $bar->{max} * $scale + 6, $y, number($bar->{median}));
			}
			$height = $y - $top if $y - $top > $height;
		}
		$top += $height + 40;
	}
	my $style = 'text{font:12px sans-serif;fill:#222}.title{font-size:18px;font-weight:bold}'
	  . '.panel{font-weight:bold}.note{fill:#666}.ours{fill:#1b7f5c}.other{fill:#b4bcc4}'
	  . '.range{stroke:#222;stroke-width:1.5}';
	return join("\n",
		qq(<svg xmlns="http://www.w3.org/2000/svg" width="$width" height="$top" viewBox="0 0 $width $top">),
		"<style>$style</style>",
		qq(<rect width="$width" height="$top" fill="#fff"/>),
		'<text x="10" y="24" class="title">' . escape($title) . '</text>',
		'<text x="10" y="42" class="note">' . escape($note) . '</text>',
		'<text x="10" y="60" class="note">Bars are medians, green: this extension; lines go from the lowest round to the highest.</text>',
		@lines, '</svg>', '');
}

1;

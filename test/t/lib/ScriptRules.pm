# Rules that an extension's scripts must keep, so that nothing planted on the
# search_path is used in them: PS001 to PS018, as the reference of pgspot numbers
# them.  A reader of tokens and not of SQL, so it is stricter than that: what it
# cannot tell from an unsafe use counts as one.
package ScriptRules;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(script_problems %RULES);

our %RULES = (
	PS001 => 'operator without OPERATOR(schema.op)',
	PS002 => 'CREATE OR REPLACE FUNCTION or PROCEDURE',
	PS003 => 'SECURITY DEFINER without SET search_path',
	PS004 => 'SECURITY DEFINER with another search_path than pg_catalog, pg_temp',
	PS005 => 'function in SQL or PL/pgSQL without SET search_path = pg_catalog, pg_temp',
	PS006 => 'CREATE OR REPLACE TRANSFORM',
	PS007 => 'CREATE OR REPLACE, or IF NOT EXISTS, of another object',
	PS008 => 'ALTER SEQUENCE without a schema',
	PS009 => 'simple CASE, which compares with an operator that cannot be qualified',
	PS010 => 'CREATE SCHEMA IF NOT EXISTS',
	PS011 => 'CREATE SEQUENCE IF NOT EXISTS',
	PS012 => 'CREATE TABLE IF NOT EXISTS',
	PS013 => 'CREATE SERVER IF NOT EXISTS',
	PS014 => 'CREATE INDEX IF NOT EXISTS',
	PS015 => 'CREATE OR REPLACE VIEW',
	PS016 => 'function without a schema',
	PS017 => 'relation or type without a schema',
	PS018 => 'SET search_path to several schemas in one pair of quotes',
);

# [kind, text, line]: w word, q quoted name, s string, n number, o operator, p other.
sub tokens
{
	my ($sql, $line) = @_;
	my @tokens;

	$sql =~ s/\@extschema(?::[^@]*)?\@/extschema/g;
	$sql =~ s/\@extowner\@/extowner/g;
	while ($sql =~ /\G(\s+|--[^\n]*|\/\*.*?\*\/|^\\[^\n]*
		|(?<w>[A-Za-z_][A-Za-z_0-9\$]*)
		|(?<q>"(?:[^"]|"")*")
		|(?<s>[eEnN]?'(?:[^']|'')*')
		|(?<d>\$(\w*)\$(?<body>.*?)\$\g{-2}\$)
		|(?<n>[0-9]+(?:\.[0-9]+)?)
		|(?<p>:=|=>|::|\.\.|[()\[\]{},;.:%\\])
		|(?<o>[-+*\/<>=~!\@#^&|`?]+))/gcxmsi)
	{
		my %m = %+;
		my $all = $1;
		if (defined $m{w}) { push @tokens, [ 'w', uc $m{w}, $line ] }
		elsif (defined $m{d}) { push @tokens, [ 's', $m{body}, $line ] }
		else
		{
			for my $kind (qw(q s n p o)) { push @tokens, [ $kind, $m{$kind}, $line ] if defined $m{$kind} }
		}
		$line += ($all =~ tr/\n//);
	}
	die 'cannot read: ' . substr($sql, pos($sql) // 0, 40) if (pos($sql) // 0) < length $sql;
	return @tokens;
}

sub unquoted { my ($text) = @_; $text =~ s/\A[eEnN]?'(.*)'\z/$1/s or return $text; return $text =~ s/''/'/gr }

# Words before a parenthesis that are no functions of anybody's.
my %SYNTAX = map { ($_ => 1) } qw(ALL ANY ARRAY AS BY CHECK COALESCE CONFLICT EXISTS FILTER FROM GREATEST IN INCLUDE
  INTO IS JOIN KEY LATERAL LEAST NOT NULLIF ON OPERATOR OR AND OVER ROW SELECT SET SOME TABLE THEN UNION UNIQUE USING
  VALUES WHEN WHERE WITH WITHIN IF ELSIF WHILE RETURN ELSE CASE LOOP EXECUTE RETURNING SETOF DISTINCT HAVING LIMIT TAG
  CAST);
# Operators that are words: they are looked up like any other.
my %WORD_OPERATOR = map { ($_ => 1) } qw(LIKE ILIKE SIMILAR BETWEEN NULLIF);
my $SAFE = qr/\APG_CATALOG(?:,PG_TEMP)?\z/;

sub words { return join ' ', map { $_->[0] eq 'w' ? $_->[1] : $_->[0] eq 's' ? "''" : $_->[1] } @_ }

# The value of SET search_path = or TO ... as words, or undef.
sub search_path_of
{
	my (@t) = @_;

	for my $i (0 .. $#t - 3)
	{
		next unless words(@t[ $i, $i + 1 ]) eq 'SET SEARCH_PATH' || words(@t[ $i .. $i + 1 ]) eq 'LOCAL SEARCH_PATH';
		my $value = '';
		for my $t (@t[ $i + 3 .. $#t ])
		{
			last unless $t->[0] =~ /[wqs]/ || $t->[1] eq ',';
			last if $t->[0] eq 'w' && $value ne '' && $value !~ /,\z/;
			$value .= $t->[1];
		}
		return $value;
	}
	return undef;
}

# Is the name that starts here qualified?
sub is_qualified { my ($t, $i) = @_; return $t->[ $i + 1 ] && $t->[ $i + 1 ][1] eq '.' }

# The uses in a statement or body.
sub check_uses
{
	my ($say, $what, $secure, @t) = @_;
	my %with;

	for my $i (0 .. $#t - 2)
	{
		$with{ $t[$i][1] } = 1 if $t[$i][0] =~ /[wq]/ && $t[ $i + 1 ][1] eq 'AS' && $t[ $i + 2 ][1] eq '(';
	}
	for my $i (0 .. $#t)
	{
		my ($kind, $text, $line) = @{ $t[$i] };
		my $before = $i > 0 ? $t[ $i - 1 ] : [ 'p', ';' ];
		my $after = $t[ $i + 1 ] // [ 'p', ';' ];
		my $is_name = $kind =~ /[wq]/ && $before->[1] ne '.';

		if ($kind eq 'o')
		{
			# inside OPERATOR(), count(*), all columns, a setting, an option of RAISE
			next if $i >= 4 && words(@t[ $i - 4, $i - 3 ]) eq 'OPERATOR (' && $before->[1] eq '.';
			next if $text eq '*' && $before->[1] =~ /\A(?:\(|SELECT|\.|DISTINCT|,)\z/;
			next if $text eq '=' && $before->[1] =~ /\A(?:ERRCODE|MESSAGE|DETAIL|HINT|SEARCH_PATH|FILLFACTOR)\z/;
			next if $text eq '-' && $after->[0] eq 'n' && $before->[1] =~ /\A[(,\[]\z/;    # a negative number
			next if $text eq '=' && $i >= 2 && $t[ $i - 2 ][1] =~ /\A(?:SET|LOCAL)\z/;
			$say->($line, 'PS001', "'$text'") unless $secure;
		}
		next unless $kind =~ /[wq]/;
		if ($text eq 'CASE' && $kind eq 'w' && $after->[1] ne 'WHEN' && $before->[1] ne 'END')
		{
			$say->($line, 'PS009', "CASE $after->[1]") unless $secure;
		}
		if ($kind eq 'w' && !$secure
			&& ($WORD_OPERATOR{$text} && $before->[1] ne '.'
				|| $text eq 'IN' && $after->[1] eq '(' && $before->[1] ne 'TAG'
				|| words($t[$i], $after) eq 'DISTINCT FROM' && $before->[1] =~ /\A(?:IS|NOT)\z/))
		{
			$say->($line, 'PS001', $text);
		}
		if ($is_name && $after->[1] eq '(' && !$SYNTAX{$text} && !$WORD_OPERATOR{$text} && !$secure)
		{
			# column lists of an alias or a constraint, PARTITION BY RANGE
			next if $kind eq 'w' && $before->[1] =~ /\A(?:\)|CONSTRAINT|AS|BY|RECURSIVE)\z/;
			$say->($line, 'PS016', $text);
		}
		next if $secure;
		if ($before->[1] eq '::' && $is_name && !is_qualified(\@t, $i))
		{
			$say->($line, 'PS017', "::$text");
		}
		my $wants = $before->[0] eq 'w' ? $before->[1] : '';
		$wants = 'FROM' if $wants =~ /\A(?:JOIN|ONLY|INTO|UPDATE|REFERENCES)\z/;
		$wants = '' if $i >= 2 && $t[ $i - 2 ][1] =~ /\A(?:FOR|BEFORE|AFTER|OR|DISTINCT|OF)\z/
		  && $before->[1] =~ /\A(?:UPDATE|FROM)\z/;
		$wants = '' if $what =~ /\A(?:REVOKE|GRANT)\b/ || ($before->[1] eq 'INTO' && $what =~ /\ADO\b|plpgsql/i);
		if ($wants eq 'FROM' && $is_name && !is_qualified(\@t, $i) && !$with{$text} && $after->[1] ne '('
			&& $text !~ /\A(?:ONLY|LATERAL|ROWS|SELECT|UNNEST|STDIN|STDOUT|OR|DELETE|TRUNCATE|OF)\z/)
		{
			$say->($line, 'PS017', $text);
		}
		# CAST (x AS type)
		if ($before->[1] eq 'AS' && $is_name && !is_qualified(\@t, $i) && cast_before(\@t, $i - 1))
		{
			$say->($line, 'PS017', "CAST AS $text");
		}
	}
	return;
}

# Does the AS at $i belong to a CAST?
sub cast_before
{
	my ($t, $i) = @_;
	my $depth = 0;

	for (my $j = $i - 1; $j > 0; $j--)
	{
		$depth++ if $t->[$j][1] eq ')';
		next unless $t->[$j][1] eq '(';
		return $t->[ $j - 1 ][1] eq 'CAST' if $depth-- == 0;
	}
	return 0;
}

# CREATE, ALTER and DROP: what they are about.
sub check_object
{
	my ($say, @t) = @_;
	my $all = words(@t);
	my $line = $t[0][2];
	my $kinds = 'EVENT TRIGGER|MATERIALIZED VIEW|TABLE|VIEW|INDEX|SEQUENCE|SCHEMA|SERVER|FUNCTION|PROCEDURE|AGGREGATE'
	  . '|TRANSFORM|RULE|TRIGGER|LANGUAGE|COLLATION|TYPE|DOMAIN|OPERATOR|CAST|EXTENSION|ROUTINE';
	my $modifiers = '(?:UNIQUE|TEMP|TEMPORARY|UNLOGGED|TRUSTED|PROCEDURAL|RECURSIVE|CONSTRAINT|DEFAULT)';

	if ($all =~ /\ACREATE OR REPLACE (?:$modifiers )*($kinds)\b/)
	{
		my $kind = $1;
		$say->($line, $kind =~ /FUNCTION|PROCEDURE/ ? 'PS002' : $kind eq 'TRANSFORM' ? 'PS006' : $kind =~ /VIEW/ ? 'PS015'
			: 'PS007', $kind);
	}
	if ($all =~ /\ACREATE (?:$modifiers )*($kinds) (?:CONCURRENTLY )?IF NOT EXISTS\b/)
	{
		my $kind = $1;
		my %rule = (SCHEMA => 'PS010', SEQUENCE => 'PS011', TABLE => 'PS012', SERVER => 'PS013', INDEX => 'PS014');
		$say->($line, $kind eq 'TABLE' && $all =~ /\A[^()]* AS (?:SELECT|WITH)\b/ ? 'PS007' : $rule{$kind} // 'PS007', $kind);
	}
	$say->($line, 'PS008', 'ALTER SEQUENCE') if $all =~ /\AALTER SEQUENCE (?:IF EXISTS )?\S+ (?!\.)/;
	if ($all =~ /\A(?:CREATE|ALTER|DROP) (?:$modifiers )*(TABLE|VIEW|SEQUENCE|TYPE|DOMAIN|FUNCTION|PROCEDURE|AGGREGATE) (?:IF (?:NOT )?EXISTS )?(?:ONLY )?(\S+) (\S)/
		&& $3 ne '.')
	{
		$say->($line, 'PS017', "$1 $2");
	}
	$say->($line, 'PS017', "index or trigger on $1")
	  if $all =~ /\ACREATE (?:UNIQUE |CONSTRAINT )?(?:INDEX|TRIGGER)\b.*? ON (?:ONLY )?(\S+) (?!\.)\S/;
	return;
}

sub check_function
{
	my ($say, @t) = @_;
	my $all = words(@t);
	my $line = $t[0][2];
	my ($language) = $all =~ /\bLANGUAGE (\S+)/;
	my $path = search_path_of(@t);
	my $secure = defined $path && $path =~ $SAFE;
	my ($body) = map { $t[ $_ + 1 ] } grep { $t[$_][1] eq 'AS' && $t[ $_ + 1 ] && $t[ $_ + 1 ][0] eq 's' } 0 .. $#t;

	if ($all =~ /\bSECURITY DEFINER\b/)
	{
		$say->($line, defined $path ? 'PS004' : 'PS003', 'SECURITY DEFINER') unless $secure;
	}
	return unless ($language // 'SQL') =~ /\A(?:SQL|PLPGSQL)\z/;
	$say->($line, 'PS005', $language // 'SQL') unless $secure;
	check_body($say, $secure, $body) if $body;
	return;
}

sub check_body
{
	my ($say, $secure, $body) = @_;
	my @t = tokens(unquoted($body->[1]), $body->[2]);

	check_uses($say, 'plpgsql', $secure, @t);
	return;
}

# A list of "line N: PSnnn what: ..." for a script.
sub script_problems
{
	my ($sql) = @_;
	my (@problems, @statement, $secure);
	my $say = sub { my ($line, $rule, $what) = @_; push @problems, "line $line: $rule $RULES{$rule}: $what" };

	for my $token (tokens($sql, 1), [ 'p', ';', 0 ])
	{
		if ($token->[1] ne ';' || $token->[0] ne 'p')
		{
			push @statement, $token;
			next;
		}
		my @t = @statement;
		@statement = ();
		next unless @t;
		my $all = words(@t);
		my $path = search_path_of(@t);
		my ($setting) = map { unquoted($_->[1]) } grep { $_->[0] eq 's' } @t;

		if (defined $path)
		{
			$say->($t[0][2], 'PS018', $path) if $path =~ /'[^']*,[^']*'/;
			$secure = $path =~ $SAFE if $all =~ /\ASET\b/;
		}
		$secure = uc(join '', (map { unquoted($_->[1]) } grep { $_->[0] eq 's' } @t)[1] =~ /[^ ]/g) =~ $SAFE
		  if $all =~ /\ASELECT PG_CATALOG \. SET_CONFIG \(/i && lc($setting // '') eq 'search_path';
		$secure = 0 if $all =~ /\ARESET SEARCH_PATH\b/;
		if ($all =~ /\ACREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE)\b/) { check_function($say, @t) }
		elsif ($all =~ /\ADO\b/) { check_body($say, $secure, (grep { $_->[0] eq 's' } @t)[0]) }
		check_object($say, @t) if $all =~ /\A(?:CREATE|ALTER|DROP)\b/;
		check_uses($say, $all, $secure, @t) unless $all =~ /\A(?:COMMENT|DO|CREATE (?:OR REPLACE )?TRANSFORM)\b/;
	}
	return @problems;
}

1;

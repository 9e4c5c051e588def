/*
 * unit.c
 *		Runs the tests of the pure core and reports them as TAP.
 *
 * Usage: unit [seed [topic ...]].  A topic is the name of a file without its _test.c.
 * With the same seed, the random tests do the same on every machine.  A failure names
 * the iteration.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "unit.h"

static int	n_tests = 0;
static int	n_failed = 0;
static uint64_t random_state;

bool
ok(bool good, const char *fmt, ...)
{
	va_list		args;

	n_tests++;
	if (!good)
		n_failed++;
	printf("%sok %d - ", good ? "" : "not ", n_tests);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	return good;
}

void
note(const char *fmt, ...)
{
	va_list		args;

	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

bool
is_int(int64_t got, int64_t want, const char *name)
{
	if (!ok(got == want, "%s", name))
		note("got %" PRId64 ", expected %" PRId64, got, want);
	return got == want;
}

bool
is_time(CrTime got, CrTime want, const char *name)
{
	if (!ok(got == want, "%s", name))
	{
		note("got      %s", show_time(got));
		note("expected %s", show_time(want));
	}
	return got == want;
}

bool
same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

bool
is_text(const char *got, const char *want, const char *name)
{
	bool		good = same_text(got, want);

	if (!ok(good, "%s", name))
		note("got %s, expected %s", got ? got : "NULL", want ? want : "NULL");
	return good;
}

void
random_seed(uint64_t seed)
{
	random_state = seed;
}

/* splitmix64 */
uint64_t
random_bits(void)
{
	uint64_t	z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int64_t
random_between(int64_t low, int64_t high)
{
	return low + (int64_t) (random_bits() % ((uint64_t) (high - low) + 1));
}

bool
one_in(int n)
{
	return random_between(1, n) == 1;
}

static bool
is_wanted(const char *topic, int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
	{
		if (strcmp(argv[i], topic) == 0)
			return true;
	}
	return argc <= 2;
}

int
main(int argc, char **argv)
{
	static const struct
	{
		const char *name;
		void		(*run) (void);
	}			topics[] = {
		{"names", test_names},
		{"period", test_period},
		{"rules", test_rules},
		{"levels", test_levels},
		{"plan", test_plan_change},
		{"due", test_due},
		{"due_random", test_due_random},
		{"lots", test_lists},
		{"refund", test_refunds},
		{"lots_random", test_lists_random},
		{"undo_import_close", test_undo_import_close},
		{"replay", test_replay},
		{"property", test_property},
		{"misplaced_rows", test_misplaced_rows},
		{"chain", test_chain},
		{"tree", test_tree},
	};
	uint64_t	seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 20260131;

	setvbuf(stdout, NULL, _IOLBF, 0);
	note("seed %" PRIu64, seed);
	for (int i = 0; i < lengthof(topics); i++)
	{
		if (!is_wanted(topics[i].name, argc, argv))
			continue;
		note("%s", topics[i].name);
		random_seed(seed);
		topics[i].run();
	}
	ok(n_tests > 0, "there are tests of these topics");
	printf("1..%d\n", n_tests);
	if (n_failed > 0)
		note("%d of %d failed", n_failed, n_tests);
	return n_failed > 0;
}

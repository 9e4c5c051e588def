# credits: build with PGXS.
#
#   make && make install        build and install the extension (needs pg_config)
#   make installcheck           regression tests against a running server, as a superuser of it
#                               (on Debian: runuser -u postgres -- make installcheck)
#   make demo                   see it work, on a private throw-away server
#   make test                   every test suite, on private servers
#   make test SUITES="unit tap" some of them: checkver build lint unit regress isolation pgtap tap orms
#   make check-one T=deduct     the tests of that name, in seconds: CONTRIBUTING.md
#   make check-one-psql         psql on check-one's server
#   make check-one-stop         end check-one's server
#   make test-majors            the same on Debian's other PostgreSQLs, in chroots (root)
#   make coverage               the same, and which lines of src/ no test ran
#   make asan                   the regression tests under AddressSanitizer and UBSan
#   make valgrind               ... on a server with assertions, and under valgrind (slow)
#   make adorned                ... on that server, with what apps and DBAs add on every table
#   make fuzz                   libFuzzer over the pure core (clang); FUZZ_SECONDS a target
#   make mutation               are deliberate faults noticed? FAULTS="a b": some of them
#   make torture                many clients, faults and crashes, and a check of every row: test/torture
#   make bench                  compare with what one would write instead: bench/README.md
#   make unit                   the pure core's tests alone; no PostgreSQL needed;
#                               UNIT="period due": some of test/unit/*_test.c
#   make checkver               the version is the same wherever it is written
#   make deps                   install what demo and test need (Debian, as root)
#
# WERROR=1 turns warnings into errors; KEEP=1 keeps the working directory of
# demo and test.  ASSERTIONS=1 has test and torture run on a server with assertions,
# which is in VALGRIND_DIR or built there.

EXTENSION = credits
EXTVERSION = 1.0.0

# Regression tests, in the order in which they run: sql/NAME.sql and
# expected/NAME.out.  Install scripts, which live in sql/ too, have "--" in
# their names; tests do not.
REGRESS = setup install plan open deduct deduct_many idempotency purchase adjust set_plan \
	freeze reset_edge reset_run history balance_view quote levels notices end_user usage usage_by live_lists metrics erase guards drop_guard acl \
	constraints dba_additions adorned bad_input read_only calls_in_one_statement parallel \
	hot_update maintenance verify verify_scale verify_grants_holds verify_record grant hold \
	refund chargeback overdraft cycle anchor undo grant_many import transfer_close explain \
	archive report_totals known_complaints entitlement restart capture_over paid_grant transfer_recent cycles

MODULE_big = $(EXTENSION)
DATA = $(sort $(wildcard sql/$(EXTENSION)--*.sql))
CORE_SRCS = $(sort $(wildcard src/core/*.c))
SRCS = $(sort $(wildcard src/*.c src/*/*.c))
OBJS = $(SRCS:.c=.o)
HDRS = $(wildcard src/*/*.h)

REGRESS_OPTS = --encoding=UTF8 --no-locale
# Who runs installcheck (on Debian, the user postgres) need not own the tree.
ifneq ($(filter installcheck,$(MAKECMDGOALS)),)
ifneq ($(shell test -w . && echo yes),yes)
RESULTS := $(shell mktemp -d "$${TMPDIR:-/tmp}/credits-installcheck.XXXXXX")
REGRESS_OPTS += --outputdir=$(RESULTS)
endif
endif

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

# PostgreSQL's own headers are not clean under -Wextra.  Taken as system
# headers they do not warn, so nothing has to be switched off for our code.
PG_CPPFLAGS = -Isrc -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS = -Wall -Wextra
ifeq ($(WERROR),1)
PG_CFLAGS += -Werror
endif

EXTRA_CLEAN = results regression.diffs regression.out output_iso tmp_check log

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
# What the server itself is linked with: SHA-256.
SHLIB_LINK += $(filter -lcrypto, $(LIBS))
$(OBJS) $(OBJS:.o=.bc): $(HDRS)

# With options of its own, pg_regress looks for another server than psql.
ifeq ($(strip $(EXTRA_REGRESS_OPTS)),)
installcheck: can-installcheck
endif
can-installcheck:
	@test/run/can-installcheck.sh "$(bindir)" "$(EXTVERSION)"
.PHONY: can-installcheck
else
all install installcheck clean:
	@echo "$@: no server headers found by '$(PG_CONFIG) --pgxs'; install postgresql-server-dev, or set PG_CONFIG" >&2
	@exit 1
endif

# The core must compile and work with no PostgreSQL header in sight.
UNIT_SRCS = $(sort $(wildcard test/unit/*.c)) $(CORE_SRCS)
UNIT_CFLAGS = -std=c11 -O1 -g -Wall -Wextra -Werror -Isrc \
	-fsanitize=address,undefined -fno-sanitize-recover=undefined
UNIT_SEED = 20260131

unit:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	printf '%s\n' $(UNIT_SRCS) | \
	xargs -P2 -I{} sh -c '$(CC) $(UNIT_CFLAGS) -c {} -o "$$0/$$(basename {} .c).o"' "$$dir" && \
	$(CC) $(UNIT_CFLAGS) "$$dir"/*.o -lcrypto -o "$$dir/unit" && "$$dir/unit" $(UNIT_SEED) $(UNIT)

checkver deps demo test fuzz mutation torture:
	@test/run/$@.sh

check-one:
	@test/run/check-one.sh run

check-one-psql check-one-stop:
	@test/run/check-one.sh $(@:check-one-%=%)

coverage:
	@COVERAGE=$${COVERAGE:-95} test/run/test.sh

asan valgrind adorned:
	@test/memory/$@.sh

test-majors:
	@test/majors/run.sh

bench:
	@bench/run.sh

.PHONY: unit checkver deps demo test check-one check-one-psql check-one-stop coverage test-majors asan valgrind adorned fuzz mutation torture bench

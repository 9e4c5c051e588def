/*
 * counters.c
 *		Counters in shared memory.
 *
 * Each database that uses the ledger has a place.  A place has several stripes, and each
 * backend adds to one of them, so backends seldom write to the same cache line.  Adding
 * takes no lock.  A reader sums the stripes.
 *
 * The sums are written to a file when the server is shut down, and read when it starts.
 * After a crash they begin at 0, like PostgreSQL's own statistics.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "live/counters.h"

#define STRIPES	  8
#define FILE_NAME PGSTAT_STAT_PERMANENT_DIRECTORY "/credits.stat"

typedef struct Stripe
{
	pg_atomic_uint64 numbers[COUNTED_NUMBERS];
} Stripe;

typedef struct Place
{
	pg_atomic_uint32 database; /* InvalidOid: the place is free */
	TimestampTz stats_reset;
	Stripe stripes[STRIPES];
} Place;

typedef struct Shared
{
	LWLock *lock;			/* for taking, freeing, resetting and reading a place */
	pg_atomic_uint32 freed; /* how often a place was freed */
	bool is_used;			/* a backend has changed a place since the file was read */
	int n_places;
	Place places[FLEXIBLE_ARRAY_MEMBER];
} Shared;

static Shared *shared = NULL;
static Stripe *own_stripe = NULL; /* of this backend, in its database's place */

/* There was no place for this backend's database when so many had been freed. */
static bool was_refused = false;
static uint32 refused_at;

static Size
shared_size(void)
{
	return add_size(offsetof(Shared, places),
					mul_size(sizeof(Place), settings_counted_databases()));
}

/* Sets a place to what a file has, or, if counted is NULL, to 0. */
static void
set_place(Place *place, const Counted *counted)
{
	for (int s = 0; s < STRIPES; s++)
	{
		for (int i = 0; i < COUNTED_NUMBERS; i++)
			pg_atomic_write_u64(&place->stripes[s].numbers[i],
								counted && s == 0 ? counted->numbers[i] : 0);
	}
	place->stats_reset = counted ? counted->stats_reset : GetCurrentTimestamp();
}

static void
init_place(Place *place)
{
	pg_atomic_init_u32(&place->database, InvalidOid);
	for (int s = 0; s < STRIPES; s++)
	{
		for (int i = 0; i < COUNTED_NUMBERS; i++)
			pg_atomic_init_u64(&place->stripes[s].numbers[i], 0);
	}
}

/*
 * Reads the file, which is of use once.  A file of a library that counts other things is
 * left out.
 */
static void
load(void)
{
	FILE *file = AllocateFile(FILE_NAME, PG_BINARY_R);
	Counted *counted;
	uint32 layout = 0;
	int n = 0;

	if (file == NULL)
		return;
	counted = palloc(sizeof(Counted));
	if (fread(&layout, sizeof(layout), 1, file) == 1 && layout == counted_layout())
	{
		while (n < shared->n_places && fread(counted, sizeof(Counted), 1, file) == 1)
		{
			set_place(&shared->places[n], counted);
			pg_atomic_write_u32(&shared->places[n++].database, counted->database);
		}
	}
	pfree(counted);
	FreeFile(file);
	(void) unlink(FILE_NAME);
}

/* The sums of a place.  False if it is free. */
static bool
sum_place(Place *place, Counted *counted)
{
	memset(counted, 0, sizeof(*counted));
	counted->database = pg_atomic_read_u32(&place->database);
	counted->stats_reset = place->stats_reset;
	if (!OidIsValid(counted->database))
		return false;
	for (int s = 0; s < STRIPES; s++)
	{
		for (int i = 0; i < COUNTED_NUMBERS; i++)
			counted->numbers[i] += pg_atomic_read_u64(&place->stripes[s].numbers[i]);
	}
	return true;
}

static bool
write_places(FILE *file)
{
	Counted *counted = palloc(sizeof(Counted));
	uint32 layout = counted_layout();
	bool good = fwrite(&layout, sizeof(layout), 1, file) == 1;

	for (int i = 0; good && i < shared->n_places; i++)
	{
		if (sum_place(&shared->places[i], counted))
			good = fwrite(counted, sizeof(Counted), 1, file) == 1;
	}
	pfree(counted);
	return good;
}

/*
 * The postmaster has ended all other processes, and ends itself or, after a crash, makes
 * shared memory anew.  A server that could not start has counted nothing, and writes back
 * what it has read.
 */
static void
save(int code, Datum arg)
{
	FILE *file;
	bool good = false;

	(void) arg;
	if (shared == NULL || (code != 0 && shared->is_used))
		return;
	file = AllocateFile(FILE_NAME ".tmp", PG_BINARY_W);
	if (file)
	{
		good = write_places(file);
		good = FreeFile(file) == 0 && good;
	}
	if (good)
		(void) durable_rename(FILE_NAME ".tmp", FILE_NAME, LOG);
	else
	{
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not write file \"%s\": %m", FILE_NAME ".tmp")));
		(void) unlink(FILE_NAME ".tmp");
	}
}

static shmem_startup_hook_type next_startup_hook = NULL;

static void
start_up(void)
{
	bool found;

	if (next_startup_hook)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("credits counters", shared_size(), &found);
	if (!found)
	{
		shared->lock = &GetNamedLWLockTranche("credits counters")->lock;
		pg_atomic_init_u32(&shared->freed, 0);
		shared->is_used = false;
		shared->n_places = settings_counted_databases();
		for (int i = 0; i < shared->n_places; i++)
			init_place(&shared->places[i]);
	}
	LWLockRelease(AddinShmemInitLock);
	if (!IsUnderPostmaster)
		on_shmem_exit(save, (Datum) 0);
	if (!found)
		load();
}

static CompatRequest next_request = NULL;

static void
request(void)
{
	if (next_request)
		next_request();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche("credits counters", 1);
}

/* Called when the library is loaded. */
void
counters_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_request = compat_request_shmem(request);
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_up;
}

bool
counters_are_on(void)
{
	return shared != NULL;
}

static Place *
find_place(Oid database)
{
	for (int i = 0; i < shared->n_places; i++)
	{
		if (pg_atomic_read_u32(&shared->places[i].database) == database)
			return &shared->places[i];
	}
	return NULL;
}

static Place *
find_or_take_place(void)
{
	Place *place = find_place(MyDatabaseId);

	if (place == NULL && (place = find_place(InvalidOid)) != NULL)
	{
		set_place(place, NULL);
		pg_write_barrier();
		pg_atomic_write_u32(&place->database, MyDatabaseId);
	}
	return place;
}

/*
 * The backend's stripe; NULL if more databases use the ledger than there are places.  It
 * looks for a place again when one was freed, and not at each call, because that takes
 * the lock.  A place that another backend of the database has taken is found without the
 * lock, so that nobody waits for a worker (notifier.c) that was stopped while it had it.
 * This is also called while an error is handled, so it must raise none.
 */
static Stripe *
get_stripe(void)
{
	Place *place;

	if (own_stripe || shared == NULL || !OidIsValid(MyDatabaseId) ||
		(was_refused && refused_at == pg_atomic_read_u32(&shared->freed)))
		return own_stripe;
	place = find_place(MyDatabaseId);
	pg_read_barrier();
	if (place == NULL)
	{
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		place = find_or_take_place();
		was_refused = place == NULL;
		refused_at = pg_atomic_read_u32(&shared->freed);
		LWLockRelease(shared->lock);
	}
	if (place == NULL)
		return NULL;
	shared->is_used = true;
	own_stripe = &place->stripes[MyProcPid % STRIPES];
	return own_stripe;
}

static void
add(Stripe *stripe, int number, int64 more)
{
	(void) pg_atomic_fetch_add_u64(&stripe->numbers[number], more);
}

/* A call ended, in so many microseconds. */
void
counters_call(CountedCall call, int result, uint64 microseconds)
{
	Stripe *stripe = get_stripe();
	int bucket = 0;

	if (stripe == NULL)
		return;
	while (bucket < TIME_BUCKETS - 1 && microseconds > counted_time_bounds[bucket])
		bucket++;
	add(stripe, COUNTED_BUCKET(call, result, bucket), 1);
	add(stripe, COUNTED_TIME(call, result), (int64) microseconds);
}

/* Adds what a transaction did, which is committed. */
void
counters_add(const int64 *totals)
{
	Stripe *stripe = get_stripe();

	for (int i = 0; stripe && i < TOTAL_COUNT; i++)
	{
		if (totals[i] != 0)
			add(stripe, COUNTED_TOTAL(i), totals[i]);
	}
}

void
counters_add_one(CountedTotal total, uint64 number)
{
	Stripe *stripe = number > 0 ? get_stripe() : NULL;

	if (stripe)
		add(stripe, COUNTED_TOTAL(total), (int64) number);
}

/* How many places there are. */
int
counters_databases(void)
{
	return shared ? shared->n_places : 0;
}

/*
 * The sums of the nth place.  False if it is free.  Counting goes on meanwhile, but no
 * other database gets the place.
 */
bool
counters_read(int nth, Counted *counted)
{
	bool is_taken;

	LWLockAcquire(shared->lock, LW_SHARED);
	is_taken = sum_place(&shared->places[nth], counted);
	LWLockRelease(shared->lock);
	return is_taken;
}

/* Sets the counters of a database to 0. */
void
counters_reset(Oid database)
{
	Place *place;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	place = find_place(database);
	if (place)
	{
		set_place(place, NULL);
		shared->is_used = true;
	}
	LWLockRelease(shared->lock);
}

/* Frees the place of a database that is gone, and so has no backends. */
void
counters_free(Oid database)
{
	Place *place;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	place = find_place(database);
	if (place)
	{
		pg_atomic_write_u32(&place->database, InvalidOid);
		(void) pg_atomic_fetch_add_u32(&shared->freed, 1);
		shared->is_used = true;
	}
	LWLockRelease(shared->lock);
}

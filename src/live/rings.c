/*
 * rings.c
 *		Committed changes of accounts, on their way to the worker that tells them.
 *
 * Each database that uses the ledger has a ring of bytes in shared memory.  A session that
 * commits writes its accounts into the ring; the database's worker, of which there is at
 * most one, reads them.  If there is no room, or the session does not know the accounts,
 * the ring owes a resync instead: those who listen are told to read everything anew.
 *
 * No session that commits ever waits for the launcher or a worker, wherever they were
 * stopped, because the locks are taken only by sessions that commit.  Between these and
 * the worker there are atomics and barriers:
 *
 *	- head, how many bytes were ever written, is set after the bytes were written, and tail,
 *	  how many were ever read, after they were read.
 *	- Who is about to wait says in wake_at from which head on it wants to be woken, and then
 *	  looks at the ring once more.  Who writes looks at wake_at after that.  One of the two
 *	  sees what the other did.
 *	- While a ring has no worker, it is the launcher that is woken, and starts one.
 *	- A worker sets has_untold before it takes anything out of the ring, and resets it when
 *	  all of that has been told.  So the next worker knows whether something was lost.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "base/settings.h"
#include "live/counters.h"
#include "live/rings.h"

#define RING_BYTES		(256 * 1024)
#define WAKE_NEVER		PG_UINT64_MAX
#define WAKE_ALWAYS		0 /* also for a resync */
#define RESYNC_INTERVAL INT64_C(1000000)
#define ABSENT_INTERVAL INT64_C(60000000)
#define AWAY_INTERVAL	INT64_C(6000000) /* PostgreSQL waits for sessions to end for 5 s */
#define TRANCHE			"credits changes"

/* What is written into the ring before the bytes of the user's id. */
typedef struct Entry
{
	int64 seq;
	uint16 length;
} Entry;

#define ENTRY_BYTES (offsetof(Entry, length) + sizeof(uint16))

/* Times are in microseconds of a clock that is never set; 0: never. */
struct Ring
{
	pg_atomic_uint32 database; /* InvalidOid: the ring is free */
	LWLock *lock;			   /* for writing into it */
	pg_atomic_uint32 owes_resync;
	pg_atomic_uint64 sent_away_at; /* the database is to have no sessions */

	/* Written by sessions that commit. */
	char pad_1[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 head;

	/* Written by who is to be woken. */
	char pad_2[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 wake_at;
	pg_atomic_uint32 sleeper; /* the worker, as number_of_own gives it; 0: the launcher */

	/* Written by the worker. */
	char pad_3[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 tail;
	pg_atomic_uint32 worker; /* its pid; 0: there is none */
	pg_atomic_uint32 has_untold;
	pg_atomic_uint64 told_at;
	pg_atomic_uint64 resync_at;
	pg_atomic_uint64 absent_at; /* the database was found to have no extension */

	char pad_4[PG_CACHE_LINE_SIZE];
	char bytes[RING_BYTES];
};

typedef struct Shared
{
	LWLock *lock;				/* for taking a ring */
	pg_atomic_uint32 freed;		/* how often a ring was freed */
	pg_atomic_uint32 refused;	/* a database has ever found no free ring */
	pg_atomic_uint32 is_missed; /* ... and the launcher has not looked for one yet */
	pg_atomic_uint32 launcher;	/* as number_of_own gives it; 0: it does not run */
	int n_rings;
	Ring rings[FLEXIBLE_ARRAY_MEMBER];
} Shared;

static Shared *shared = NULL;
static Ring *own_ring = NULL; /* of this session's database */

/* There was no ring for this session's database when so many had been freed. */
static bool was_refused = false;
static uint32 refused_at;

static Size
shared_size(void)
{
	return add_size(offsetof(Shared, rings),
					mul_size(sizeof(Ring), settings_counted_databases()));
}

static void
init_ring(Ring *ring, LWLock *lock)
{
	pg_atomic_init_u32(&ring->database, InvalidOid);
	ring->lock = lock;
	pg_atomic_init_u32(&ring->owes_resync, 0);
	pg_atomic_init_u64(&ring->sent_away_at, 0);
	pg_atomic_init_u64(&ring->head, 0);
	pg_atomic_init_u64(&ring->wake_at, WAKE_ALWAYS);
	pg_atomic_init_u32(&ring->sleeper, 0);
	pg_atomic_init_u64(&ring->tail, 0);
	pg_atomic_init_u32(&ring->worker, 0);
	pg_atomic_init_u32(&ring->has_untold, 0);
	pg_atomic_init_u64(&ring->told_at, 0);
	pg_atomic_init_u64(&ring->resync_at, 0);
	pg_atomic_init_u64(&ring->absent_at, 0);
}

static shmem_startup_hook_type next_startup_hook = NULL;

static void
start_up(void)
{
	bool found;

	if (next_startup_hook)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("credits changes", shared_size(), &found);
	if (!found)
	{
		LWLockPadded *locks = GetNamedLWLockTranche(TRANCHE);

		shared->n_rings = settings_counted_databases();
		shared->lock = &locks[shared->n_rings].lock;
		pg_atomic_init_u32(&shared->freed, 0);
		pg_atomic_init_u32(&shared->refused, 0);
		pg_atomic_init_u32(&shared->is_missed, 0);
		pg_atomic_init_u32(&shared->launcher, 0);
		for (int i = 0; i < shared->n_rings; i++)
			init_ring(&shared->rings[i], &locks[i].lock);
	}
	LWLockRelease(AddinShmemInitLock);
}

static CompatRequest next_request = NULL;

static void
request(void)
{
	if (next_request)
		next_request();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche(TRANCHE, settings_counted_databases() + 1);
}

/* Called when the library is loaded. */
void
rings_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_request = compat_request_shmem(request);
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_up;
}

static int64
now(void)
{
	instr_time time;

	INSTR_TIME_SET_CURRENT(time);
	return (int64) INSTR_TIME_GET_MICROSEC(time);
}

/* How much of the interval since then is left. */
static int64
rest_of(int64 interval, pg_atomic_uint64 *since)
{
	int64 start = (int64) pg_atomic_read_u64(since);

	return start == 0 ? 0 : Max(0, start + interval - now());
}

/* A number for the calling process, which is to be woken.  0 is none. */
static uint32
number_of_own(void)
{
	return (uint32) (MyProc - ProcGlobal->allProcs) + 1;
}

/* If it has ended, another process may have its number, which is then woken in vain. */
static void
wake_process(uint32 number)
{
	if (number > 0)
		SetLatch(&ProcGlobal->allProcs[number - 1].procLatch);
}

static void
wake_launcher(void)
{
	wake_process(pg_atomic_read_u32(&shared->launcher));
}

/* Wakes the worker, or the launcher, if it wants to be woken at this head. */
static void
wake(Ring *ring, uint64 head)
{
	uint32 sleeper;

	pg_memory_barrier();
	if (head < pg_atomic_read_u64(&ring->wake_at) ||
		pg_atomic_exchange_u64(&ring->wake_at, WAKE_NEVER) == WAKE_NEVER)
		return;
	sleeper = pg_atomic_read_u32(&ring->sleeper);
	wake_process(sleeper > 0 ? sleeper : pg_atomic_read_u32(&shared->launcher));
}

static Ring *
find_ring(Oid database)
{
	for (int i = 0; i < shared->n_rings; i++)
	{
		if (pg_atomic_read_u32(&shared->rings[i].database) == database)
			return &shared->rings[i];
	}
	return NULL;
}

/*
 * Those who have come too late for a ring have told nothing.  One of them may be the one
 * that gets this ring.
 */
static void
take_ring(Ring *ring)
{
	pg_atomic_write_u32(&ring->owes_resync, pg_atomic_read_u32(&shared->refused));
	pg_atomic_write_u64(&ring->sent_away_at, 0);
	pg_atomic_write_u32(&ring->has_untold, 0);
	pg_atomic_write_u64(&ring->told_at, 0);
	pg_atomic_write_u64(&ring->resync_at, 0);
	pg_atomic_write_u64(&ring->absent_at, 0);
	pg_atomic_write_u32(&ring->sleeper, 0);
	pg_atomic_write_u64(&ring->wake_at, WAKE_ALWAYS);
	pg_write_barrier();
	pg_atomic_write_u32(&ring->database, MyDatabaseId);
}

static Ring *
find_or_take_ring(void)
{
	Ring *ring = find_ring(MyDatabaseId);

	if (ring)
		return ring;
	ring = find_ring(InvalidOid);
	if (ring)
		take_ring(ring);
	else
	{
		pg_atomic_write_u32(&shared->refused, 1);
		pg_atomic_write_u32(&shared->is_missed, 1);
		pg_memory_barrier();
		wake_launcher();
	}
	return ring;
}

/*
 * The ring of this database; NULL if more databases use the ledger than there are rings.
 * It raises no error.
 */
static Ring *
get_ring(void)
{
	if (own_ring || shared == NULL || !OidIsValid(MyDatabaseId) ||
		(was_refused && refused_at == pg_atomic_read_u32(&shared->freed)))
		return own_ring;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	refused_at = pg_atomic_read_u32(&shared->freed);
	own_ring = find_or_take_ring();
	was_refused = own_ring == NULL;
	LWLockRelease(shared->lock);
	return own_ring;
}

static uint64
put(Ring *ring, uint64 at, const void *bytes, Size length)
{
	Size start = at % RING_BYTES;
	Size first = Min(length, RING_BYTES - start);

	memcpy(ring->bytes + start, bytes, first);
	memcpy(ring->bytes, (const char *) bytes + first, length - first);
	return at + length;
}

static uint64
get(const Ring *ring, uint64 at, void *bytes, Size length)
{
	Size start = at % RING_BYTES;
	Size first = Min(length, RING_BYTES - start);

	memcpy(bytes, ring->bytes + start, first);
	memcpy((char *) bytes + first, ring->bytes, length - first);
	return at + length;
}

static uint64
put_all(Ring *ring, uint64 at, const Changes *changes)
{
	for (const Change *change = changes->newest; change; change = change->older)
	{
		Entry entry = {change->seq, change->length};

		at = put(ring, at, &entry, ENTRY_BYTES);
		at = put(ring, at, change->user_id, change->length);
	}
	return at;
}

/* The head after writing, or 0 if there is no room. */
static uint64
write_changes(Ring *ring, const Changes *changes)
{
	Size size = 0;
	uint64 head;

	for (const Change *change = changes->newest; change; change = change->older)
		size += ENTRY_BYTES + change->length;
	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	head = pg_atomic_read_u64(&ring->head);
	if (head + size - pg_atomic_read_u64(&ring->tail) > RING_BYTES)
		head = 0;
	else
	{
		head = put_all(ring, head, changes);
		pg_write_barrier();
		pg_atomic_write_u64(&ring->head, head);
	}
	LWLockRelease(ring->lock);
	return head;
}

/* If the ring owes a resync already, that one is still to come. */
void
ring_owe_resync(Ring *ring)
{
	if (pg_atomic_read_u32(&ring->owes_resync) == 0)
		pg_atomic_write_u32(&ring->owes_resync, 1);
	wake(ring, WAKE_ALWAYS);
}

/*
 * This session's transaction is committed, and changed these accounts.  As in all of what
 * follows a commit, there must be no error.  If the database has no ring, the one that it
 * gets later begins with a resync.
 */
void
rings_push(const Changes *changes)
{
	Ring *ring = get_ring();
	uint64 head = ring && !changes->too_many ? write_changes(ring, changes) : 0;

	if (head > 0)
	{
		wake(ring, head);
		return;
	}
	counters_add_one(TOTAL_LOST, changes->count);
	if (ring)
		ring_owe_resync(ring);
}

/*
 * Can what this transaction does matter to those who listen?  Not in a database without the
 * extension: it shall take no ring from one that needs it.
 */
bool
rings_are_wanted(void)
{
	Ring *ring = shared ? find_ring(MyDatabaseId) : NULL;

	if (ring && pg_atomic_read_u64(&ring->absent_at) == 0)
		return true;
	return shared && OidIsValid(get_extension_oid("credits", true));
}

/*
 * Accounts of this database have changed, and it is not known which.  The database has the
 * extension, also if it had none before.
 */
void
rings_owe_resync(void)
{
	Ring *ring = get_ring();

	if (ring == NULL)
		return;
	pg_atomic_write_u64(&ring->absent_at, 0);
	ring_owe_resync(ring);
}

/*
 * The database's worker is to end, because a statement needs that the database has no
 * sessions.  Until it is called back there is no other one; nor, if the session that wants
 * this comes to a sudden end, for longer than such a statement takes.
 */
void
rings_send_away(Oid database)
{
	Ring *ring = shared ? find_ring(database) : NULL;

	if (ring == NULL)
		return;
	pg_atomic_write_u64(&ring->sent_away_at, (uint64) now());
	pg_memory_barrier();
	wake_process(pg_atomic_read_u32(&ring->sleeper));
}

void
rings_call_back(Oid database)
{
	Ring *ring = shared ? find_ring(database) : NULL;

	if (ring == NULL)
		return;
	pg_atomic_write_u64(&ring->sent_away_at, 0);
	pg_memory_barrier();
	wake_launcher();
}

int
rings_count(void)
{
	return shared->n_rings;
}

Ring *
rings_nth(int nth)
{
	return &shared->rings[nth];
}

/* The calling process is the launcher.  It is to be woken. */
void
rings_launch(bool is_running)
{
	pg_atomic_write_u32(&shared->launcher, is_running ? number_of_own() : 0);
	pg_memory_barrier();
}

/* A database found no free ring since this was last asked. */
bool
rings_are_missed(void)
{
	return pg_atomic_exchange_u32(&shared->is_missed, 0) != 0;
}

Oid
ring_database(Ring *ring)
{
	return pg_atomic_read_u32(&ring->database);
}

bool
ring_has_worker(Ring *ring)
{
	return pg_atomic_read_u32(&ring->worker) != 0;
}

static bool
is_empty(Ring *ring)
{
	return pg_atomic_read_u64(&ring->head) == pg_atomic_read_u64(&ring->tail);
}

/* How long to wait until accounts may be told. */
int64
ring_accounts_delay(Ring *ring)
{
	return rest_of(settings_notify_interval(), &ring->told_at);
}

/* How long to wait until the resync that is owed may be told; RING_NEVER: none is owed. */
int64
ring_resync_delay(Ring *ring)
{
	if (pg_atomic_read_u32(&ring->owes_resync) == 0)
		return RING_NEVER;
	return Max(ring_accounts_delay(ring), rest_of(RESYNC_INTERVAL, &ring->resync_at));
}

static int64
absence_delay(Ring *ring)
{
	return rest_of(ABSENT_INTERVAL, &ring->absent_at);
}

/* How long there must be no worker in the database. */
static int64
away_delay(Ring *ring)
{
	return rest_of(AWAY_INTERVAL, &ring->sent_away_at);
}

bool
ring_is_sent_away(Ring *ring)
{
	return away_delay(ring) > 0;
}

/*
 * How long to wait until a worker has something to do; RING_NEVER: it has nothing to do.
 * In a database without the extension, which may have commits of logical replication all
 * the time, it waits for a change that a call made.
 */
int64
ring_delay(Ring *ring)
{
	if (!is_empty(ring))
		return Max(ring_accounts_delay(ring), away_delay(ring));
	if (pg_atomic_read_u32(&ring->has_untold))
		pg_atomic_write_u32(&ring->owes_resync, 1);
	if (pg_atomic_read_u32(&ring->owes_resync) == 0)
		return RING_NEVER;
	if (absence_delay(ring) == 0)
		return Max(ring_resync_delay(ring), away_delay(ring));
	pg_atomic_write_u64(&ring->wake_at, pg_atomic_read_u64(&ring->tail) + 1);
	pg_memory_barrier();
	return is_empty(ring) ? absence_delay(ring) : 0;
}

/* The database is gone, and so has no sessions. */
void
ring_free(Ring *ring)
{
	pg_atomic_write_u64(&ring->tail, pg_atomic_read_u64(&ring->head));
	pg_write_barrier();
	pg_atomic_write_u32(&ring->database, InvalidOid);
	(void) pg_atomic_fetch_add_u32(&shared->freed, 1);
}

/* The worker ends.  Who writes now wakes the launcher; who has written may not have. */
static void
detach(int code, Datum arg)
{
	Ring *ring = (Ring *) DatumGetPointer(arg);

	(void) code;
	pg_atomic_write_u32(&ring->sleeper, 0);
	pg_write_barrier();
	pg_atomic_write_u64(&ring->wake_at, WAKE_ALWAYS);
	pg_atomic_write_u32(&ring->worker, 0);
	pg_memory_barrier();
	if (!is_empty(ring) || pg_atomic_read_u32(&ring->owes_resync) ||
		pg_atomic_read_u32(&ring->has_untold))
		wake_launcher();
}

/* The calling process is the worker of its database.  NULL: there is one already. */
Ring *
ring_attach(void)
{
	Ring *ring = find_ring(MyDatabaseId);
	uint32 none = 0;

	if (ring == NULL || !pg_atomic_compare_exchange_u32(&ring->worker, &none, MyProcPid))
		return NULL;
	before_shmem_exit(detach, PointerGetDatum(ring));
	pg_atomic_write_u64(&ring->wake_at, WAKE_NEVER);
	pg_atomic_write_u32(&ring->sleeper, number_of_own());
	pg_memory_barrier();
	if (pg_atomic_read_u32(&ring->has_untold))
		pg_atomic_write_u32(&ring->owes_resync, 1);
	return ring;
}

/* Something was written into the ring since this was last asked. */
bool
ring_moves(Ring *ring)
{
	static uint64 last = 0;
	uint64 head = pg_atomic_read_u64(&ring->head);
	bool moves = head != last;

	last = head;
	return moves;
}

bool
ring_is_half_full(Ring *ring)
{
	return pg_atomic_read_u64(&ring->head) - pg_atomic_read_u64(&ring->tail) >= RING_BYTES / 2;
}

/* Takes everything out of the ring. */
void
ring_read(Ring *ring, RingReader reader)
{
	uint64 head = pg_atomic_read_u64(&ring->head);
	uint64 at = pg_atomic_read_u64(&ring->tail);

	if (at == head)
		return;
	pg_atomic_write_u32(&ring->has_untold, 1);
	pg_read_barrier();
	while (at < head)
	{
		Entry entry;
		char user_id[PG_UINT8_MAX + 1];

		at = get(ring, at, &entry, ENTRY_BYTES);
		at = get(ring, at, user_id, entry.length);
		user_id[entry.length] = '\0';
		reader(user_id, entry.seq);
	}
	pg_memory_barrier();
	pg_atomic_write_u64(&ring->tail, at);
}

/* The worker is about to tell the resync that is owed. */
void
ring_take_resync(Ring *ring)
{
	pg_atomic_write_u32(&ring->has_untold, 1);
	pg_memory_barrier();
	pg_atomic_write_u32(&ring->owes_resync, 0);
	pg_memory_barrier();
}

/* All that was taken out of the ring is told. */
void
ring_is_told(Ring *ring, bool with_resync)
{
	pg_atomic_write_u64(&ring->told_at, (uint64) now());
	if (with_resync)
		pg_atomic_write_u64(&ring->resync_at, (uint64) now());
	pg_atomic_write_u64(&ring->absent_at, 0);
	pg_atomic_write_u32(&ring->has_untold, 0);
}

/* There is nobody to tell what was taken out of the ring. */
void
ring_has_no_extension(Ring *ring)
{
	pg_atomic_write_u64(&ring->absent_at, (uint64) now());
	pg_atomic_write_u32(&ring->has_untold, 0);
}

/*
 * The worker waits for so many microseconds, or until it has something to do.  If it has
 * accounts to tell, it only has to empty the ring in time.  If it has none, the first one
 * wakes it; a resync does so, too, unless one is owed already.
 */
void
ring_wait(Ring *ring, bool has_accounts, int64 at_most)
{
	uint64 tail = pg_atomic_read_u64(&ring->tail);
	bool owes = pg_atomic_read_u32(&ring->owes_resync) != 0;
	uint64 wake_at = has_accounts || !is_empty(ring) ? tail + RING_BYTES / 2
		: owes										 ? tail + 1
													 : WAKE_ALWAYS;

	pg_atomic_write_u64(&ring->wake_at, wake_at);
	pg_memory_barrier();
	if (pg_atomic_read_u64(&ring->head) < Max(wake_at, tail + 1) &&
		(owes || pg_atomic_read_u32(&ring->owes_resync) == 0))
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 at_most / 1000 + 1, PG_WAIT_EXTENSION);
	pg_atomic_write_u64(&ring->wake_at, WAKE_NEVER);
	ResetLatch(MyLatch);
}

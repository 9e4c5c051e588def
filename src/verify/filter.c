/*
 * filter.c
 *		Verifying many accounts while the history is read once.
 *
 * The rows of one account are scattered over the whole table.  So the table is read from
 * front to back, and the state of every account is kept in memory.  The judge's own
 * function checks each row, so the filter accepts nothing that the judge would not
 * accept.  The opposite is allowed: an account with anything unusual only becomes a
 * suspect.  The judge then reads the suspect's history by index and says what is wrong,
 * or that nothing is.
 *
 * The rows of an account are almost in order, but not quite: each session fills pages of
 * its own, and space that VACUUM freed is used again.  A row that comes too early is kept
 * until the rows before it have come, if there is memory for it.
 *
 * If the states of all accounts do not fit into memory, the table is read again for the
 * rest.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "common/hashfn.h"
#include "lib/pairingheap.h"
#include "lib/simplehash.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "store/columns.h"
#include "store/relations.h"
#include "tables/rows.h"
#include "verify/filter.h"
#include "verify/findings.h"
#include "verify/judge.h"
#include "verify/progress.h"

/* A row that came before an older row of its account. */
typedef struct Early
{
	pairingheap_node node;
	int64 seq;
	HeapTuple tuple;
} Early;

typedef struct User
{
	CrAccount acc;		/* after the rows that were checked so far */
	pairingheap *early; /* NULL: none yet */
	int64 purchases;
	bool suspect;
	char user_id[FLEXIBLE_ARRAY_MEMBER];
} User;

typedef struct UserEntry
{
	const char *user_id; /* points into its User */
	uint32 hash;
	char status;
} UserEntry;

#define SH_PREFIX			 users
#define SH_ELEMENT_TYPE		 UserEntry
#define SH_KEY_TYPE			 const char *
#define SH_KEY				 user_id
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), (int) strlen(key))
#define SH_EQUAL(tb, a, b)	 (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE		   static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define USER_OF(entry) ((User *) ((entry)->user_id - offsetof(User, user_id)))
#define BLOCK_SIZE	   (256 * 1024)
#define ENTRY_SIZE	   (2 * sizeof(UserEntry)) /* includes the free places of the hash table */

#define ROWS_AHEAD	   8
#define CACHE_LINE	   64
#if defined(__GNUC__)
#define prefetch(address) __builtin_prefetch(address)
#else
#define prefetch(address) ((void) (address))
#endif

typedef struct Filter
{
	const Share *share;
	Snapshot snapshot;
	uint32 pass;
	uint32 passes;
	MemoryContext memory; /* of one pass */
	users_hash *users;
	char *block; /* the place for the next User */
	size_t block_left;
	size_t early_room; /* bytes that are left for rows that came too early */
	TupleTableSlot *early_slot;
	Judge judge;
	bool orphans;
} Filter;

uint64
share_hash(const Share *share, const char *user_id, size_t len)
{
	return hash_bytes_extended((const unsigned char *) user_id, (int) len, share->seed);
}

/*
 * The upper half of the hash decides which share the account is in.  The lower half
 * decides whether it is in the sample.
 */
bool
share_has(const Share *share, uint64 hash)
{
	return ((hash >> 32) * share->shares) >> 32 == share->mine &&
		(share->sample >= 1 || (uint32) hash < share->sample * 4294967296.0);
}

/*
 * Is the account in this process's share, and in the part of the share that this pass
 * checks?
 */
static inline bool
is_wanted(const Filter *f, uint64 hash)
{
	uint64 place = (hash >> 32) * f->share->shares;

	return place >> 32 == f->share->mine &&
		((uint64) (uint32) place * f->passes) >> 32 == f->pass;
}

/*
 * The user_id as it is stored in the row, without NUL at its end.  NULL if the row is not
 * for this process.  With many processes most rows are not, and no other column of those
 * is read.
 */
static text *
wanted_user(Filter *f, TupleTableSlot *slot, AttrNumber column, uint64 *hash)
{
	bool isnull;
	Datum value = heap_getattr(ExecFetchSlotHeapTuple(slot, false, NULL), column,
							   slot->tts_tupleDescriptor, &isnull);
	text *user_id;

	if (isnull)
	{
		f->orphans = true;
		return NULL;
	}
	user_id = DatumGetTextPP(value);
	*hash = share_hash(f->share, VARDATA_ANY(user_id), VARSIZE_ANY_EXHDR(user_id));
	return is_wanted(f, *hash) ? user_id : NULL;
}

static User *
find_user(Filter *f, const char *user_id, uint64 hash)
{
	UserEntry *entry = users_lookup_hash(f->users, user_id, (uint32) hash);

	return entry ? USER_OF(entry) : NULL;
}

static size_t
user_size(size_t name_len)
{
	return MAXALIGN(offsetof(User, user_id) + name_len + 1);
}

static void
add_user(Filter *f, const text *user_id, uint64 hash)
{
	size_t len = VARSIZE_ANY_EXHDR(user_id);
	size_t size = user_size(len);
	User *user;
	bool found;

	if (size > f->block_left)
	{
		f->block_left = Max(size, BLOCK_SIZE);
		f->block = MemoryContextAlloc(f->memory, f->block_left);
	}
	user = (User *) f->block;
	f->block += size;
	f->block_left -= size;
	memcpy(user->user_id, VARDATA_ANY(user_id), len);
	user->user_id[len] = '\0';
	judge_start(&user->acc, user->user_id);
	user->early = NULL;
	user->purchases = 0;
	user->suspect = false;
	users_insert_hash(f->users, user->user_id, (uint32) hash, &found);
	if (found)
		find_user(f, user->user_id, hash)->suspect = true;
}

static TableScanDesc
begin_scan(StoreTable table, Snapshot snapshot, Relation *rel, TupleTableSlot **slot)
{
	*rel = table_open(store_table(table), AccessShareLock);
	*slot = table_slot_create(*rel, NULL);
	/*
	 * starts at the first page, because rows are expected in the order in which they were
	 * written
	 */
	return table_beginscan_strat(*rel, snapshot, 0, NULL, true, false);
}

static void
end_scan(TableScanDesc scan, Relation rel, TupleTableSlot *slot)
{
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, NoLock);
}

/*
 * Adds the accounts of a pass to the table of users.  If there is no table yet, only adds
 * up the memory that the accounts will need.
 */
static void
load_accounts(Filter *f, size_t *size)
{
	Relation rel;
	TupleTableSlot *slot;
	TableScanDesc scan = begin_scan(TABLE_ACCOUNT, f->snapshot, &rel, &slot);
	MemoryContext old = MemoryContextSwitchTo(f->judge.row_memory);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		uint64 hash;
		text *user_id = wanted_user(f, slot, ACC_USER_ID, &hash);

		CHECK_FOR_INTERRUPTS();
		if (user_id)
		{
			if (f->users)
				add_user(f, user_id, hash);
			else
				*size += user_size(VARSIZE_ANY_EXHDR(user_id)) + ENTRY_SIZE;
		}
		MemoryContextReset(f->judge.row_memory);
	}
	MemoryContextSwitchTo(old);
	end_scan(scan, rel, slot);
}

/*
 * Makes users with archived rows suspects.  The judge knows how to continue from their
 * checkpoints.
 */
static void
suspect_archived(Filter *f)
{
	Relation rel;
	TupleTableSlot *slot;
	TableScanDesc scan = begin_scan(TABLE_CHECKPOINT, f->snapshot, &rel, &slot);
	MemoryContext old = MemoryContextSwitchTo(f->judge.row_memory);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		uint64 hash;
		text *user_id = wanted_user(f, slot, ACC_USER_ID, &hash);
		User *user = user_id ? find_user(f, text_to_cstring(user_id), hash) : NULL;

		CHECK_FOR_INTERRUPTS();
		if (user)
			user->suspect = true;
		MemoryContextReset(f->judge.row_memory);
	}
	MemoryContextSwitchTo(old);
	end_scan(scan, rel, slot);
}

static int
compare_early(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64 x = ((const Early *) a)->seq;
	int64 y = ((const Early *) b)->seq;

	(void) arg;
	return x < y ? 1 : x > y ? -1 : 0; /* the row with the lowest seq is on top */
}

static size_t
early_size(const Early *early)
{
	return sizeof(Early) + sizeof(HeapTupleData) + early->tuple->t_len;
}

static HeapTuple
take_early(Filter *f, User *user)
{
	Early *early = (Early *) pairingheap_remove_first(user->early);
	HeapTuple tuple = early->tuple;

	f->early_room += early_size(early);
	pfree(early);
	return tuple;
}

/* Makes an account a suspect.  From now on only the judge checks it. */
static void
suspect(Filter *f, User *user)
{
	user->suspect = true;
	while (user->early && !pairingheap_is_empty(user->early))
		heap_freetuple(take_early(f, user));
}

/* Keeps a row that came too early. */
static void
keep_early(Filter *f, User *user, TupleTableSlot *slot, int64 seq)
{
	MemoryContext old = MemoryContextSwitchTo(f->memory);
	Early *early = palloc(sizeof(Early));

	early->seq = seq;
	early->tuple = ExecCopySlotHeapTuple(slot);
	if (user->early == NULL)
		user->early = pairingheap_allocate(compare_early, NULL);
	MemoryContextSwitchTo(old);
	if (early_size(early) > f->early_room)
	{
		heap_freetuple(early->tuple);
		pfree(early);
		suspect(f, user);
		return;
	}
	f->early_room -= early_size(early);
	pairingheap_add(user->early, &early->node);
}

static void
check_row(Filter *f, User *user, const CrRow *row)
{
	if (judge_row(&f->judge, &user->acc, row) != NULL)
		suspect(f, user);
	else
		user->purchases += is_new_payment(row);
}

/* Checks kept rows as soon as all rows before them have come. */
static void
check_early(Filter *f, User *user)
{
	while (!pairingheap_is_empty(user->early) &&
		   ((Early *) pairingheap_first(user->early))->seq == user->acc.history_seq + 1)
	{
		CrRow row;

		ExecForceStoreHeapTuple(take_early(f, user), f->early_slot, true);
		row_borrow(&row, f->early_slot, &f->judge.arena);
		check_row(f, user, &row);
		ExecClearTuple(f->early_slot);
	}
}

static void
take_row(Filter *f, TupleTableSlot *slot, uint64 hash)
{
	User *user;
	CrRow row;

	row_borrow(&row, slot, &f->judge.arena);
	user = find_user(f, row.user_id ? row.user_id : slot_text(slot, HIST_USER_ID), hash);
	if (user == NULL)
		f->orphans = true;
	else if (user->suspect)
		;
	else if (row.malformed == NULL && row.seq > user->acc.history_seq + 1)
		keep_early(f, user, slot, row.seq);
	else
	{
		check_row(f, user, &row);
		if (user->early)
			check_early(f, user);
	}
}

/*
 * The next rows, which are read ahead.  The states of the accounts do not fit into the
 * processor's caches, and checking a row takes hardly longer than one access to memory.
 * So the state is fetched into the cache some rows before it is needed.
 */
typedef struct Ahead
{
	int count;
	uint64 hashes[ROWS_AHEAD];
	HeapTupleData tuples[ROWS_AHEAD];
	TupleTableSlot *slots[ROWS_AHEAD];
} Ahead;

/*
 * Adds a row.  The header of the tuple is copied, because the scan's slot changes with
 * its next row.
 */
static void
add_ahead(Ahead *ahead, TupleTableSlot *slot, uint64 hash)
{
	int i = ahead->count++;

	ahead->hashes[i] = hash;
	ahead->tuples[i] = *ExecFetchSlotHeapTuple(slot, false, NULL);
	ExecStoreBufferHeapTuple(&ahead->tuples[i], ahead->slots[i],
							 ((BufferHeapTupleTableSlot *) slot)->buffer);
}

/* The place of a user's entry, or a place a few before it. */
static inline UserEntry *
place_of(Filter *f, uint64 hash, uint32 nth)
{
	return &f->users->data[((uint32) hash + nth) & f->users->sizemask];
}

/*
 * Must be inlined.  Otherwise gcc thinks that the function has no effect, and removes it.
 */
static pg_attribute_always_inline void
prefetch_user(Filter *f, uint64 hash)
{
	for (uint32 i = 0; i < CACHE_LINE / sizeof(UserEntry) * 2; i++)
	{
		UserEntry *entry = place_of(f, hash, i);

		if (entry->user_id == NULL)
			return;
		if (entry->hash == (uint32) hash)
		{
			for (size_t at = 0; at < user_size(32); at += CACHE_LINE)
				prefetch((char *) USER_OF(entry) + at);
			return;
		}
	}
}

static void
take_rows(Filter *f, Ahead *ahead)
{
	for (int i = 0; i < ahead->count; i++)
		prefetch_user(f, ahead->hashes[i]);
	for (int i = 0; i < ahead->count; i++)
	{
		take_row(f, ahead->slots[i], ahead->hashes[i]);
		MemoryContextReset(f->judge.row_memory);
	}
	ahead->count = 0;
}

static void
read_history(Filter *f)
{
	Relation rel;
	TupleTableSlot *slot;
	TableScanDesc scan = begin_scan(TABLE_HISTORY, f->snapshot, &rel, &slot);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);
	Ahead ahead = {0};
	uint64 hash;
	MemoryContext old;

	for (int i = 0; i < ROWS_AHEAD; i++)
		ahead.slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel),
												  &TTSOpsBufferHeapTuple);
	f->early_slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	old = MemoryContextSwitchTo(f->judge.row_memory);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		progress_at(f->pass, f->passes, ItemPointerGetBlockNumber(&slot->tts_tid), blocks);
		if (!wanted_user(f, slot, HIST_USER_ID, &hash))
			continue;
		prefetch(place_of(f, hash, 0));
		add_ahead(&ahead, slot, hash);
		if (ahead.count == ROWS_AHEAD)
			take_rows(f, &ahead);
	}
	take_rows(f, &ahead);
	MemoryContextSwitchTo(old);
	ExecDropSingleTupleTableSlot(f->early_slot);
	for (int i = 0; i < ROWS_AHEAD; i++)
		ExecDropSingleTupleTableSlot(ahead.slots[i]);
	end_scan(scan, rel, slot);
}

/* Makes an account a suspect if its history does not end where the account says. */
static void
compare_heads(Filter *f)
{
	Relation rel;
	TupleTableSlot *slot;
	TableScanDesc scan = begin_scan(TABLE_ACCOUNT, f->snapshot, &rel, &slot);
	MemoryContext old = MemoryContextSwitchTo(f->judge.row_memory);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		uint64 hash;
		text *user_id = wanted_user(f, slot, ACC_USER_ID, &hash);
		CrAccount stored;
		User *user;

		CHECK_FOR_INTERRUPTS();
		if (user_id)
		{
			user = find_user(f, text_to_cstring(user_id), hash);
			slot_getallattrs(slot);
			if (user == NULL)
				elog(ERROR, "an account appeared in a snapshot");
			if (account_read(&stored, slot->tts_values, slot->tts_isnull) != NULL ||
				cr_compare_head(&stored, &user->acc) != NULL ||
				(user->early && !pairingheap_is_empty(user->early)))
				suspect(f, user);
		}
		MemoryContextReset(f->judge.row_memory);
	}
	MemoryContextSwitchTo(old);
	end_scan(scan, rel, slot);
}

/* Counts the accounts that passed.  The judge checks the others. */
static void
judge_suspects(Filter *f, Findings *findings, Totals *totals)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext,
												 "credits verify account",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	users_iterator iterator;
	UserEntry *entry;

	users_start_iterate(f->users, &iterator);
	while ((entry = users_iterate(f->users, &iterator)) != NULL)
	{
		User *user = USER_OF(entry);

		CHECK_FOR_INTERRUPTS();
		if (!user->suspect)
		{
			totals->accounts++;
			totals->rows += user->acc.history_seq;
			totals->purchases += user->purchases;
			continue;
		}
		if (!judge_user(&f->judge, findings, user->user_id))
			findings_report(findings, "credit_account", user->user_id, 0,
							"the index of the accounts does not find it");
		MemoryContextReset(memory);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);
}

/*
 * Verifies the accounts of a share in about the given memory.  At least a part of it is
 * left for rows that come too early.
 */
void
filter_accounts(const Share *share, Snapshot snapshot, int64 memory, Findings *findings,
				Totals *totals)
{
	Filter *f = palloc0(sizeof(Filter));
	size_t size = 0;
	int64 for_users = memory - memory / 8;
	MemoryContext old;

	f->share = share;
	f->snapshot = snapshot;
	f->passes = 1;
	judge_begin(&f->judge, snapshot);
	load_accounts(f, &size);
	f->passes = size / for_users + 1;
	f->memory = AllocSetContextCreate(CurrentMemoryContext, "credits verify users",
									  ALLOCSET_DEFAULT_SIZES);
	for (f->pass = 0; f->pass < f->passes; f->pass++)
	{
		old = MemoryContextSwitchTo(f->memory);
		f->users = users_create(f->memory, size / f->passes / user_size(20), NULL);
		f->block_left = 0;
		f->early_room = Max(memory - (int64) (size / f->passes), memory / 8);
		MemoryContextSwitchTo(old);
		load_accounts(f, &size);
		suspect_archived(f);
		read_history(f);
		compare_heads(f);
		judge_suspects(f, findings, totals);
		MemoryContextReset(f->memory);
	}
	totals->accounts += f->judge.n_accounts;
	totals->rows += f->judge.n_rows;
	totals->orphans |= f->orphans;
	totals->purchases += f->judge.n_purchases;
	judge_end(&f->judge);
	MemoryContextDelete(f->memory);
	pfree(f);
}

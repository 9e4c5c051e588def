/*
 * archive_partitions.c
 *		The archive: its partitions, and finding rows in them.
 *
 * A partition has the rows of one year of created_at, in UTC.  Partitions are made when
 * they are needed, and are removed after they were exported and dropped.  So they do not
 * belong to the extension.  A table that a DBA attaches is also a partition.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/own_sql.h"
#include "store/relations.h"
#include "tables/archive_partitions.h"
#include "tables/rows.h"

#define PREFIX ARCHIVE_NAME "_"

Oid
archive_parent(void)
{
	Oid relid = get_relname_relid(ARCHIVE_NAME, store_schema());

	if (!OidIsValid(relid))
		error_corrupted(ARCHIVE_NAME, "it does not exist");
	return relid;
}

/* Compares partitions by their names. */
static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(get_rel_name(lfirst_oid(a)), get_rel_name(lfirst_oid(b)));
}

List *
archive_partitions(void)
{
	List *list = find_inheritance_children(archive_parent(), AccessShareLock);

	list_sort(list, compare_names);
	return list;
}

char *
archive_name(int year)
{
	return psprintf(PREFIX "%d", year);
}

/* The year of a time, in UTC. */
int
archive_year_of(CrTime at)
{
	struct pg_tm tm;
	fsec_t fraction;

	if (timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	return tm.tm_year;
}

/* The year in the name of a partition.  0: the name is not one of ours. */
int
archive_year(Oid partition)
{
	const char *name = get_rel_name(partition);

	if (name == NULL || strncmp(name, PREFIX, strlen(PREFIX)) != 0 ||
		strspn(name + strlen(PREFIX), "0123456789") != strlen(name) - strlen(PREFIX))
		return 0;
	return atoi(name + strlen(PREFIX));
}

/* Is it where, and called what, the partition of a year is? */
bool
archive_is_year(Oid partition)
{
	return archive_year(partition) != 0 && get_rel_namespace(partition) == store_schema();
}

static bool
has_key(Relation partition)
{
	Relation key;
	bool good;

	list_free(RelationGetIndexList(partition));
	if (partition->rd_rel->relkind != RELKIND_RELATION || !OidIsValid(partition->rd_pkindex))
		return false;
	key = index_open(partition->rd_pkindex, AccessShareLock);
	good = key->rd_index->indnkeyatts >= 2 &&
		key->rd_index->indkey.values[0] == HIST_USER_ID &&
		key->rd_index->indkey.values[1] == HIST_SEQ;
	index_close(key, AccessShareLock);
	return good;
}

/*
 * Why the archive or one of its partitions cannot be read.  NULL: it can be read.
 * Columns are read by number, but PostgreSQL also attaches a table with another order of
 * columns, so the columns are checked.  Rows are found by the primary key, so there must
 * be one.
 */
const char *
archive_problem(Relation rel)
{
	if (!store_has_columns(rel, TABLE_HISTORY))
		return STORE_WRONG_COLUMNS;
	if (rel->rd_rel->relispartition && !has_key(rel))
		return "the partition has no primary key (user_id, seq)";
	return NULL;
}

/* Raises UC008 if it cannot be read. */
void
archive_check(Relation rel)
{
	const char *problem = archive_problem(rel);

	if (problem)
		error_corrupted(RelationGetRelationName(rel), problem);
}

/* Revokes all rights that default privileges gave on a new partition. */
static void
revoke_all(const char *table)
{
	uint64 count;
	SPITupleTable *found;

	own_sql_execute(psprintf(
		"SELECT DISTINCT CASE WHEN x.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'"
		" ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)::pg_catalog.text) END"
		" FROM pg_catalog.pg_class r, pg_catalog.aclexplode(r.relacl) x"
		" WHERE r.oid OPERATOR(pg_catalog.=) %s::pg_catalog.regclass"
		" AND x.grantee OPERATOR(pg_catalog.<>) r.relowner",
		quote_literal_cstr(table)));
	count = SPI_processed;
	found = SPI_tuptable;
	for (uint64 i = 0; i < count; i++)
		own_sql_execute(psprintf("REVOKE ALL ON TABLE %s FROM %s", table,
								 SPI_getvalue(found->vals[i], found->tupdesc, 1)));
}

/*
 * Makes a partition as the owner, because a role that may archive need not have the right
 * to make tables.
 */
static void
make_partition(int year)
{
	const char *schema = quote_identifier(store_schema_name());
	char *table = psprintf("%s.%s", schema, archive_name(year));
	OwnSql own;

	own_sql_begin_as_owner(&own, archive_parent());
	SPI_connect();
	own_sql_execute(psprintf("CREATE TABLE %s (LIKE %s." ARCHIVE_NAME
							 " INCLUDING ALL EXCLUDING INDEXES, PRIMARY KEY (user_id, seq))",
							 table, schema));
	own_sql_execute(
		psprintf("CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON %s"
				 " FOR EACH STATEMENT EXECUTE FUNCTION %s.credits_guard()",
				 table, schema));
	own_sql_execute(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER credits_guard", table));
	own_sql_execute(psprintf("COMMENT ON TABLE %s IS 'Archived history rows created in %d.'",
							 table, year));
	revoke_all(table);
	own_sql_execute(
		psprintf("ALTER TABLE %s." ARCHIVE_NAME " ATTACH PARTITION %s"
				 " FOR VALUES FROM ('%04d-01-01 00:00:00+00') TO ('%04d-01-01 00:00:00+00')",
				 schema, table, year, year + 1));
	SPI_finish();
	own_sql_end(&own);
}

/* Checks the archive's columns: a new partition gets the same columns in the same order. */
static void
check_parent(void)
{
	Relation parent = table_open(archive_parent(), AccessShareLock);

	archive_check(parent);
	table_close(parent, NoLock);
}

/* The partition of a year.  InvalidOid: there is none. */
Oid
archive_partition(int year)
{
	Oid parent = archive_parent();
	Oid relid = get_relname_relid(archive_name(year), store_schema());

	if (OidIsValid(relid) && has_superclass(relid) &&
		list_member_oid(find_inheritance_children(parent, NoLock), relid))
		return relid;
	return InvalidOid;
}

/*
 * Locks the archive, so that a partition can be made.  Does not wait: false if another
 * transaction is changing the archive.
 */
bool
archive_try_lock(void)
{
	Oid parent = archive_parent();
	Oid others = get_default_partition_oid(parent);

	if (!ConditionalLockRelationOid(parent, ShareUpdateExclusiveLock) ||
		(OidIsValid(others) && !ConditionalLockRelationOid(others, AccessExclusiveLock)))
		return false;
	AcceptInvalidationMessages();
	return true;
}

/*
 * Makes the partition of a year.  The caller has the archive locked.  The table is made
 * by itself and then attached.  CREATE TABLE ... PARTITION OF would need a lock that has
 * to wait for all sessions that read the archive.
 */
void
archive_make(int year)
{
	check_parent();
	make_partition(year);
}

/* Locks all existing partitions. */
void
archive_lock(LOCKMODE mode)
{
	list_free(find_inheritance_children(archive_parent(), mode));
}

/*
 * Opens all existing partitions, once.  A partition that cannot be read is left out, and
 * verify_archive reports it.
 */
void
archived_open(Archived *archived, Snapshot snapshot)
{
	List *partitions = archive_partitions();
	ListCell *cell;

	archived->snapshot = snapshot;
	archived->n_parts = 0;
	archived->at = -1;
	archived->parts = palloc0(sizeof(ArchivePart) * Max(list_length(partitions), 1));
	foreach(cell, partitions)
	{
		ArchivePart *part = &archived->parts[archived->n_parts];
		Relation heap = table_open(lfirst_oid(cell), AccessShareLock);

		if (archive_problem(heap))
		{
			table_close(heap, NoLock);
			continue;
		}
		part->year = archive_year(lfirst_oid(cell));
		lookup_in(&part->rows, heap, index_open(heap->rd_pkindex, AccessShareLock),
				  table_slot_create(heap, NULL), snapshot);
		part->rows.owns_relations = true;
		archived->n_parts++;
	}
}

void
archived_close(Archived *archived)
{
	for (int i = 0; i < archived->n_parts; i++)
		lookup_end(&archived->parts[i].rows);
}

/* Starts to read the rows of a user, in the order of seq. */
void
archived_user(Archived *archived, const char *user_id)
{
	for (int i = 0; i < archived->n_parts; i++)
	{
		ArchivePart *part = &archived->parts[i];

		lookup_again(&part->rows);
		lookup_text_key(&part->rows, 1, user_id);
		part->count = 0;
		part->more = lookup_next(&part->rows, ForwardScanDirection);
	}
	archived->at = -1;
}

/* The next row of the user, from any partition.  NULL: there are no more. */
TupleTableSlot *
archived_next(Archived *archived)
{
	ArchivePart *first = NULL;
	int64 first_seq = 0;

	if (archived->at >= 0)
	{
		ArchivePart *last = &archived->parts[archived->at];

		last->more = lookup_next(&last->rows, ForwardScanDirection);
	}
	archived->at = -1;
	for (int i = 0; i < archived->n_parts; i++)
	{
		ArchivePart *part = &archived->parts[i];
		bool isnull;
		int64 seq;

		if (!part->more)
			continue;
		seq = DatumGetInt64(slot_getattr(part->rows.slot, HIST_SEQ, &isnull));
		if (first && seq >= first_seq)
			continue;
		first = part;
		first_seq = seq;
		archived->at = i;
	}
	if (first == NULL)
		return NULL;
	first->count++;
	return first->rows.slot;
}

ArchivePart *
archived_part(Archived *archived, int year)
{
	for (int i = 0; i < archived->n_parts; i++)
	{
		if (archived->parts[i].year == year)
			return &archived->parts[i];
	}
	return NULL;
}

/* Finds one row by its number.  The row may be malformed. */
bool
archived_row(Archived *archived, const char *user_id, int64 seq, CrRow *row)
{
	for (int i = 0; i < archived->n_parts; i++)
	{
		Lookup lookup;
		ArchivePart *part = &archived->parts[i];
		bool found;

		lookup_in(&lookup, part->rows.heap, part->rows.index,
				  table_slot_create(part->rows.heap, NULL), archived->snapshot);
		lookup_text_key(&lookup, 1, user_id);
		lookup_key(&lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
		found = lookup_next(&lookup, ForwardScanDirection);
		if (found)
			row_read(row, lookup.slot);
		lookup_end(&lookup);
		if (found)
			return true;
	}
	return false;
}

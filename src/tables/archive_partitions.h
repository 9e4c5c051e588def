/*
 * archive_partitions.h
 *		The archive: its partitions, and finding rows in them.
 */
#ifndef CREDITS_TABLES_ARCHIVE_PARTITIONS_H
#define CREDITS_TABLES_ARCHIVE_PARTITIONS_H

#include "postgres.h"

#include "storage/lockdefs.h"

#include "core/core.h"
#include "store/lookup.h"

#define ARCHIVE_NAME "credit_history_archive"

/* One open partition. */
typedef struct ArchivePart
{
	int year;	 /* 0: the name is not one of ours */
	Lookup rows; /* the rows of one user, by seq */
	bool positioned;
	bool more;	 /* rows is positioned at a row */
	int64 count; /* rows of the current user so far */
} ArchivePart;

typedef struct Archived
{
	Snapshot snapshot;
	ArchivePart *parts;
	int n_parts;
	int at; /* the partition of the row that was returned last; -1: none */
} Archived;

extern int archive_year_of(CrTime at);
extern Oid archive_parent(void);
extern List *archive_partitions(void);
extern int archive_year(Oid partition);
extern bool archive_is_year(Oid partition);
extern char *archive_name(int year);
extern const char *archive_problem(Relation rel);
extern void archive_check(Relation rel);
extern Oid archive_partition(int year);
extern bool archive_try_lock(void);
extern void archive_make(int year);
extern void archive_lock(LOCKMODE mode);

extern void archived_open(Archived *archived, Snapshot snapshot);
extern void archived_user(Archived *archived, const char *user_id);
extern TupleTableSlot *archived_next(Archived *archived);
extern ArchivePart *archived_part(Archived *archived, int year);
extern bool archived_row(Archived *archived, const char *user_id, int64 seq, CrRow *row);
extern void archived_close(Archived *archived);

#endif

/*
 * writer.h
 *		The one file that writes table rows.
 */
#ifndef CREDITS_STORE_WRITER_H
#define CREDITS_STORE_WRITER_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"

#include "store/columns.h"
#include "store/relations.h"

/*
 * A table prepared for writing: everything that does not change from call to
 * call, kept until the table or any function changes.
 */
typedef struct Writer
{
	MemoryContext memory;		/* this struct and all that it points to */
	MemoryContext use_memory;	/* lasts as long as whoever uses it now */
	StoreTable	table;
	Oid			relid;
	Relation	rel;			/* open while in use; indexes when they are needed */
	EState	   *estate;
	ResultRelInfo *rri;
	Oid		   *indexes;
	AttrNumber *wants;			/* of an index: the column whose NULLs it leaves out; 0: none */
	TupleTableSlot *slot;		/* the row to write */
	struct Queue *queue;		/* rows that writer_queue took; NULL: none ever */
	struct ExprState **defaults;	/* of columns that a DBA added; may be NULL */
	bool		has_triggers;	/* a DBA's AFTER ROW triggers */
	bool		hides_rows;		/* from a caller who may not read the table */
	bool		has_foreign_code;	/* functions that are not PostgreSQL's own */
	bool		waited;			/* the last update, for whoever had the row locked */
	bool		kept;			/* in the cache, else freed by writer_end */
	int			nest_level;		/* of the transaction that uses it; 0: none */
} Writer;

extern void writer_check_allowed(const char *function);
extern Writer *writer_begin(StoreTable table, MemoryContext memory);
extern Writer *writer_begin_partition(Oid relid, MemoryContext memory);
extern void writer_copy_to(Writer *writer, TupleTableSlot *row);
extern Relation writer_index(Writer *writer, StoreIndex index);
extern TupleTableSlot *writer_read_slot(Writer *writer);
extern void writer_clear(Writer *writer);
extern void writer_copy(Writer *writer, TupleTableSlot *old);
extern void writer_insert(Writer *writer);
extern void writer_queue(Writer *writer);
extern bool writer_can_race(const Writer *writer);
extern bool writer_try_update(Writer *writer, TupleTableSlot *old);
extern void writer_update(Writer *writer, TupleTableSlot *locked);
extern void writer_delete(Writer *writer, TupleTableSlot *locked);
extern void writer_end(Writer *writer);

#endif

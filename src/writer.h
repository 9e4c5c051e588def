/*
 * writer.h
 *		The one file that writes table rows.
 */
#ifndef CREDITS_WRITER_H
#define CREDITS_WRITER_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"

#include "store.h"

struct Checks;

typedef struct Writer
{
	Relation	rel;
	struct Checks *checks;
	EState	   *estate;
	ResultRelInfo *rri;
	TupleTableSlot *slot;		/* the row to write */
} Writer;

extern void writer_check_allowed(const char *function);
extern void writer_begin(Writer *writer, StoreTable table);
extern void writer_clear(Writer *writer);
extern void writer_insert(Writer *writer);
extern void writer_update(Writer *writer, TupleTableSlot *locked);
extern void writer_delete(Writer *writer, TupleTableSlot *locked);
extern void writer_end(Writer *writer);

#endif

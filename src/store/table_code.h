/*
 * table_code.h
 *		Code in the database that runs when a table is written.
 */
#ifndef CREDITS_STORE_TABLE_CODE_H
#define CREDITS_STORE_TABLE_CODE_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "utils/relcache.h"

extern bool code_has_triggers(Relation rel);
extern ExprState **code_checks(Relation rel);
extern ExprState **code_defaults(Relation rel, int ours, bool *is_foreign);
extern bool code_is_foreign(const ResultRelInfo *rri);
extern void code_fire_deferred(void);

#endif

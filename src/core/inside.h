/*
 * inside.h
 *		What the core's files share and nobody else needs.
 */
#ifndef CREDITS_CORE_INSIDE_H
#define CREDITS_CORE_INSIDE_H

#include "core/core.h"

/* rules.c */
extern bool cr_credit(CrAccount *acc, int64_t *bucket, int64_t *owed, int64_t amount);
extern CrVerdict cr_may_spend(const CrAccount *acc, int64_t amount);
extern void cr_spend(CrAccount *acc, int64_t amount, bool every_source);

/* open.c */
extern void cr_parts_begin(CrOpen *open);
extern void cr_parts_add(CrOpen *open, int64_t source, int64_t credits);
extern void cr_parts_to_row(const CrOpen *open, CrRow *row);
extern void cr_burn(CrAccount *acc, int64_t credits);
extern CrGrant *cr_grant_open_at(const CrAccount *acc, int64_t seq, CrTime at,
								 bool at_its_end);
extern CrHold *cr_next_hold_end(const CrAccount *acc);
extern CrGrant *cr_next_grant_end(const CrAccount *acc);

#endif

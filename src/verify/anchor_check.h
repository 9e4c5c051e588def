/*
 * anchor_check.h
 *		Verifying anchors and their leaves, and that each history continues from its
 *		leaves.
 */
#ifndef CREDITS_VERIFY_ANCHOR_CHECK_H
#define CREDITS_VERIFY_ANCHOR_CHECK_H

#include "postgres.h"

#include "core/core.h"
#include "verify/findings.h"

typedef struct AnchorCheck AnchorCheck;

extern AnchorCheck *anchor_check_begin(Findings *findings, const CrAnchor *kept);
extern void anchor_check_users(AnchorCheck *check, Findings *findings, const char *after,
							   const char *upto);
extern void anchor_check_end(AnchorCheck *check, Findings *findings);
extern void verify_anchors(Findings *findings, const CrAnchor *kept);

#endif

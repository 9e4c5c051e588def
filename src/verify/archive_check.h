/*
 * archive_check.h
 *		Verifying what of the archive is not about one account's rows.
 */
#ifndef CREDITS_VERIFY_ARCHIVE_CHECK_H
#define CREDITS_VERIFY_ARCHIVE_CHECK_H

#include "postgres.h"

#include "verify/findings.h"

extern void verify_archive(Findings *findings);

#endif

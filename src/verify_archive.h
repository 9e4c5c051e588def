/*
 * verify_archive.h
 *		Verifying what of the archive is not about one account's rows.
 */
#ifndef CREDITS_VERIFY_ARCHIVE_H
#define CREDITS_VERIFY_ARCHIVE_H

#include "postgres.h"

#include "verify_findings.h"

extern void verify_archive(Findings *findings);

#endif

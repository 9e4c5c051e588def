/*
 * utc.h
 *		Times as text, as receipts and DETAILs show them: UTC, ISO 8601.
 */
#ifndef CREDITS_BASE_UTC_H
#define CREDITS_BASE_UTC_H

#include "core/core.h"

#define UTC_TEXT_SIZE 48

extern bool utc_is_ordinary(CrTime at);
extern bool utc_parse_iso(const char *text, CrTime *at, bool *is_instant);
extern bool utc_parse(const char *text, CrTime *at);
extern char *utc_text(CrTime at, char text[UTC_TEXT_SIZE]);

#endif

/*
 * dump_customizations.h
 *		What a DBA has added to the extension's tables.
 */
#ifndef CREDITS_ADMIN_DUMP_CUSTOMIZATIONS_H
#define CREDITS_ADMIN_DUMP_CUSTOMIZATIONS_H

extern bool archive_is_customized(void);

#endif

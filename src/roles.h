/*
 * roles.h
 *		Presets of rights.
 */
#ifndef CREDITS_ROLES_H
#define CREDITS_ROLES_H

#include "postgres.h"

extern void roles_check_owner(const char *function);

#endif

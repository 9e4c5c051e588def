/*
 * roles.h
 *		Which role has which preset.
 */
#ifndef CREDITS_ADMIN_ROLES_H
#define CREDITS_ADMIN_ROLES_H

#include "postgres.h"

extern void roles_check_owner(const char *function);

#endif

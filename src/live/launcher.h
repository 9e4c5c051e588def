/*
 * launcher.h
 *		The background worker that starts the others.
 */
#ifndef CREDITS_LIVE_LAUNCHER_H
#define CREDITS_LIVE_LAUNCHER_H

extern void launcher_init(void);

#endif

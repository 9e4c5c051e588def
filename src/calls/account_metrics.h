/*
 * account_metrics.h
 *		The samples of credits_metrics for which all accounts are read.
 */
#ifndef CREDITS_CALLS_ACCOUNT_METRICS_H
#define CREDITS_CALLS_ACCOUNT_METRICS_H

#include "live/metric_rows.h"

extern void account_metrics_put(MetricRows *rows);

#endif

/*
 * run_metrics.h
 *		The samples of credits_metrics about sweeps, bulk runs and verifications.
 */
#ifndef CREDITS_CALLS_RUN_METRICS_H
#define CREDITS_CALLS_RUN_METRICS_H

#include "live/metric_rows.h"

extern void run_metrics_put(MetricRows *rows);

#endif

/*
 * counter_metrics.h
 *		The counters of this database as samples of credits_metrics.
 */
#ifndef CREDITS_LIVE_COUNTER_METRICS_H
#define CREDITS_LIVE_COUNTER_METRICS_H

#include "live/metric_rows.h"

extern void counter_metrics_put(MetricRows *rows);

#endif

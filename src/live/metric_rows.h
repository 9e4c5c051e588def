/*
 * metric_rows.h
 *		The rows of credits_metrics: samples as Prometheus has them.
 *
 * A caller gives a sample its labels with metric_label(), and then puts it.
 */
#ifndef CREDITS_LIVE_METRIC_ROWS_H
#define CREDITS_LIVE_METRIC_ROWS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/execnodes.h"

#include "base/json.h"

#define METRIC_GAUGE	 "gauge"
#define METRIC_COUNTER	 "counter"
#define METRIC_HISTOGRAM "histogram"

/* 1970, which metric_time() puts as 0 */
#define METRIC_TIME_ZERO \
	((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC)

typedef struct MetricRows
{
	ReturnSetInfo *rsinfo;
	Object labels; /* of the sample that is put next */
} MetricRows;

extern void metric_rows_begin(MetricRows *rows, FunctionCallInfo fcinfo);
extern void metric_label(MetricRows *rows, const char *key, const char *value);
extern void metric_put(MetricRows *rows, const char *type, const char *name, double value,
					   const char *help);
extern void metric_gauge(MetricRows *rows, const char *name, int64 value, const char *help);
extern void metric_time(MetricRows *rows, const char *name, CrTime at, const char *help);

#endif

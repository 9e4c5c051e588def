/*
 * metric_rows.c
 *		The rows of credits_metrics: samples as Prometheus has them.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "live/metric_rows.h"

void
metric_rows_begin(MetricRows *rows, FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, 0);
	rows->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	object_begin(&rows->labels);
}

/* The key and the value have to last until the sample is put. */
void
metric_label(MetricRows *rows, const char *key, const char *value)
{
	object_text(&rows->labels, key, value);
}

/* Samples of one name have the same type and help, and follow each other. */
void
metric_put(MetricRows *rows, const char *type, const char *name, double value,
		   const char *help)
{
	Datum values[] = {
		CStringGetTextDatum(name), object_end(&rows->labels), Float8GetDatum(value),
		CStringGetTextDatum(type), CStringGetTextDatum(help),
	};
	bool nulls[lengthof(values)] = {0};

	tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc, values, nulls);
	object_begin(&rows->labels);
}

void
metric_gauge(MetricRows *rows, const char *name, int64 value, const char *help)
{
	metric_put(rows, METRIC_GAUGE, name, (double) value, help);
}

/* In seconds since 1970. */
void
metric_time(MetricRows *rows, const char *name, CrTime at, const char *help)
{
	metric_put(rows, METRIC_GAUGE, name, (double) (at - METRIC_TIME_ZERO) / USECS_PER_SEC,
			   help);
}

// SPDX-License-Identifier: BSD-3-Clause
/* Daemon log on standard error, with the "<N>" priority prefix that journald reads. Never in the data path. */
#pragma once

#include <syslog.h>

[[gnu::format(printf, 2, 3)]] void log_at(int priority, const char *fmt, ...);

#define log_err(...)   log_at(LOG_ERR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARNING, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* Messages less important than @priority are dropped; LOG_INFO until set. */
void log_set_level(int priority);
